"""What waits to be sent, bounded."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import NamedTuple

# How many updates wait at most, and of how many bytes.
MAX_WAITING = 50_000
MAX_WAITING_BYTES = 64 * 1024 * 1024


class Waiting(NamedTuple):
    """An update, as JSON."""

    line: bytes
    #: Whether another will say more: where there is no room, it goes first.
    is_passing: bool


class Outbox:
    """The updates that wait, in order, and those that are on their way.

    Where there is no room, the oldest passing one goes, or else the oldest. Its owner holds a lock.
    """

    def __init__(self, max_waiting: int = MAX_WAITING, max_bytes: int = MAX_WAITING_BYTES) -> None:
        self._max_waiting = max_waiting
        self._max_bytes = max_bytes
        self._waiting: OrderedDict[int, Waiting] = OrderedDict()
        self._passing: deque[int] = deque()
        self._on_the_way: list[Waiting] = []
        self._next_number = 0
        self._bytes = 0
        #: How many were dropped, as there was no room.
        self.dropped = 0

    def __len__(self) -> int:
        """How many wait, but for those on their way."""
        return len(self._waiting)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits, and nothing is on its way."""
        return not self._waiting and not self._on_the_way

    def put(self, update: Waiting) -> None:
        """Adds an update; drops others where there is no room."""
        self._waiting[self._next_number] = update
        if update.is_passing:
            self._passing.append(self._next_number)
        self._next_number += 1
        self._bytes += len(update.line)
        while len(self._waiting) > self._max_waiting or self._bytes > self._max_bytes:
            self._drop_one()

    def _drop_one(self) -> None:
        number = next(iter(self._waiting))
        while self._passing:
            passing = self._passing.popleft()
            if passing in self._waiting:
                number = passing
                break
        self._bytes -= len(self._waiting.pop(number).line)
        self.dropped += 1

    def take(self, at_most: int, at_most_bytes: int) -> list[bytes]:
        """The next ones, one at least where any waits; they are on their way until `arrived`."""
        taken_bytes = 0
        while self._waiting and len(self._on_the_way) < at_most:
            number, update = next(iter(self._waiting.items()))
            taken_bytes += len(update.line) + 1
            if self._on_the_way and taken_bytes > at_most_bytes:
                break
            del self._waiting[number]
            self._bytes -= len(update.line)
            self._on_the_way.append(update)
        if not self._waiting:
            self._passing.clear()
        return [update.line for update in self._on_the_way]

    def arrived(self) -> None:
        """What was on its way need not be sent again."""
        self._on_the_way = []

    def clear(self) -> list[bytes]:
        """Whatever has not arrived for certain, in order; it waits no longer."""
        rest = [update.line for update in (*self._on_the_way, *self._waiting.values())]
        self._on_the_way = []
        self._waiting.clear()
        self._passing.clear()
        self._bytes = 0
        return rest
