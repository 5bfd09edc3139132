"""Sends updates to Runcast, beside whatever else the process does."""

from __future__ import annotations

import atexit
import base64
import json
import os
import random
import re
import secrets
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional

from . import sockets  # noqa: F401 (what it keeps, it keeps from here on)
from .identity import hash_of
from .outbox import Outbox, Waiting
from .spool import Spool

if TYPE_CHECKING:
    from .connection import Answer, Connection

# The most updates of one request, and of how many bytes: the server takes 1,000, and 5 MB unpacked.
MAX_BATCH = 1000
MAX_BATCH_BYTES = 4_400_000

# How long an update waits for others to go with it, in seconds.
GATHER = 0.1

# How long to wait after a request that failed: twice as long each time, in seconds.
FIRST_DELAY = 0.2
MAX_DELAY = 10.0

# After so many failures nobody waits for another.
HOPELESS_AFTER = 3

# How often a sign of life is sent, and for how long the run may be silent, in seconds.
ALIVE_EVERY = 30.0
TIMEOUT_SECONDS = 120

# How long `close` takes at most, in seconds.
PATIENCE = 1.5

_PASSING = ("waiting", "running")


class _Clock:
    """Time as it is, also while a test has replaced it."""

    _wall = time.time
    _steady = time.monotonic

    def __init__(self) -> None:
        self._offset = _Clock._wall() - _Clock._steady()

    @staticmethod
    def steady() -> float:
        return _Clock._steady()

    def milliseconds(self) -> int:
        """Since 1970."""
        return int((self._offset + _Clock._steady()) * 1000)


@dataclass(frozen=True)
class Outcome:
    """What became of the updates of a reporter."""

    accepted: int = 0
    #: Those that can never succeed, and why the first one cannot.
    rejected: int = 0
    reason: Optional[str] = None
    #: Those that were given up as too many waited.
    dropped: int = 0
    #: Those that could not be sent, why, and the file that has them.
    unsent: int = 0
    why: Optional[str] = None
    kept_in: Optional[Path] = None

    def lines(self) -> list[str]:
        """What a person should know; nothing where all went well."""
        lines = []
        if self.unsent:
            line = f"{_updates(self.unsent)} could not be sent: {self.why}"
            if self.kept_in:
                line += f"; they are in {self.kept_in}: the next run sends them, or `runcast import`"
            lines.append(line)
        if self.dropped:
            lines.append(f"{_updates(self.dropped)} given up, as too many waited")
        if self.rejected:
            lines.append(f"{_updates(self.rejected)} rejected: {self.reason}")
        return lines


def _updates(count: int) -> str:
    return "1 update" if count == 1 else f"{count:,} updates"


class Reporter:
    """Sends updates in order, in batches, on a thread of its own.

    Nothing here raises, or waits for the server, but `flush` and `close`, which wait for so long as
    they are told. What is not sent in the end is kept in a file, which the next reporter of the same
    folder sends.

    >>> reporter = Reporter()
    >>> reporter.send({"kind": "job", "id": "nightly-17", "status": "running"})
    >>> reporter.send({"kind": "job", "id": "nightly-17", "status": "passed"})
    >>> print(reporter.close())
    """

    def __init__(
        self,
        url: Optional[str] = None,
        token: Optional[str] = None,
        project: Optional[str] = None,
        *,
        folder: Optional[Path] = None,
    ) -> None:
        """Without arguments it takes RUNCAST_URL, RUNCAST_TOKEN and RUNCAST_PROJECT.

        `folder` is where updates are kept that could not be sent: RUNCAST_SPOOL, or `.runcast`. The
        stack on this machine gives a token itself.
        """
        self.url = (url or os.environ.get("RUNCAST_URL", "")).strip().rstrip("/")
        token = (token or os.environ.get("RUNCAST_TOKEN", "")).strip()
        self.project = (project or os.environ.get("RUNCAST_PROJECT", "")).strip() or None
        self.folder = Path(os.environ.get("RUNCAST_SPOOL") or folder or ".runcast").absolute()

        self._clock = _Clock()
        # Not that of `random` itself: a test may have seeded it, and count on what comes next.
        self._jitter = random.Random(secrets.randbits(64))
        self._prefix = secrets.token_hex(12)
        self._count = 0
        self._pid = os.getpid()
        self._thread: Optional[threading.Thread] = None

        self._changed = threading.Condition()
        self._outbox = Outbox()
        self._spool = Spool(self.folder, _destination(self.url, self.project, token))
        self._life: Optional[dict[str, Any]] = None
        self._heard_at = self._clock.steady()
        self._accepted = 0
        self._rejected = 0
        self._reason: Optional[str] = None
        #: Why the last request failed; None after one that did not.
        self._trouble: Optional[str] = None
        self._failures = 0
        #: Until when somebody waits for everything to be sent.
        self._wanted_by: Optional[float] = None
        #: Whether all is over for who waits: the server takes nothing now.
        self._is_hopeless = False
        #: Whether the server takes nothing, ever.
        self._is_refused = False
        self._is_over = False
        #: Whether nothing is left of earlier processes.
        self._is_spool_empty = False
        self._outcome: Optional[Outcome] = None
        self._may_pack = True

        # Who does not report shall not wait for what this imports.
        from .connection import Connection

        try:
            if not self.url or not (token or is_local(self.url)):
                raise ValueError("RUNCAST_URL and RUNCAST_TOKEN are not both set")
            if not re.fullmatch(r"[!-~]*", token):
                raise ValueError("RUNCAST_TOKEN is no token")
            self._connection: Optional[Connection] = Connection(self.url, token, self.project)
        except ValueError as error:
            self._connection = None
            self._is_refused = True
            self._trouble = str(error)

    def page_of(self, run_id: str) -> str:
        """Where a person watches a run."""
        return f"{self.url}/#/runs/{run_id}"

    def send(self, update: Mapping[str, Any]) -> None:
        """Takes an update as docs/events.md has it, to be sent soon.

        `eventId`, `projectId` and `occurredAt` are added where they are absent. What is None is left
        out.
        """
        if os.getpid() != self._pid:
            return  # Of a child that a test has forked: the thread is its parent's.
        status = update.get("status")
        # A status that another is to follow; those of runs are few, and say whose run it is.
        is_passing = status is None or (status in _PASSING and update.get("kind") == "test")
        whole: dict[str, Any] = {"eventId": self._event_id(), "occurredAt": self._clock.milliseconds()}
        if self.project is not None:
            whole["projectId"] = self.project
        for name, value in update.items():
            if value is not None:
                whole[name] = value
        try:
            line = _json(whole)
        except (TypeError, ValueError, RecursionError):
            with self._changed:
                self._reject("it is no JSON")
            return
        with self._changed:
            if self._is_over:
                return
            self._outbox.put(Waiting(line, is_passing))
            if len(self._outbox) in (1, MAX_BATCH):
                self._changed.notify_all()
            if self._thread is None:
                self._start()

    def keep_alive(self, run_id: Optional[str]) -> None:
        """Sends signs of life of this run from now on; of none with None."""
        with self._changed:
            self._life = {"kind": "job", "id": run_id, "alive": True} if run_id else None

    def flush(self, seconds: float = PATIENCE) -> bool:
        """Waits until all was sent, for so long at most; says whether it was."""
        return self._flush(seconds, lambda: self._outbox.is_empty)

    def close(self, seconds: float = PATIENCE) -> Outcome:
        """Sends what waits, for so long at most; keeps the rest in a file; says what became of all."""
        if self._outcome is not None or os.getpid() != self._pid:
            return self._outcome or Outcome()
        self._life = None
        if self._thread is not None:
            # Who presses Ctrl-C does not wait.
            with suppress(KeyboardInterrupt):
                self._flush(seconds, lambda: self._outbox.is_empty and self._is_spool_empty)
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
            rest = self._outbox.clear()
            self._outcome = self._ended(rest)
        atexit.unregister(self.close)
        return self._outcome

    def _ended(self, rest: list[bytes]) -> Outcome:
        kept_in, why = None, self._trouble or "the server did not answer in time"
        try:
            self._spool.close()
            if rest:
                kept_in = self._spool.keep(rest)
        except OSError as error:
            why = f"{why}; nor kept in {self.folder}: {error.strerror or error}"
        return Outcome(
            accepted=self._accepted,
            rejected=self._rejected,
            reason=self._reason,
            dropped=self._outbox.dropped,
            unsent=len(rest),
            why=why if rest else None,
            kept_in=kept_in,
        )

    def _flush(self, seconds: float, is_done: Callable[[], bool]) -> bool:
        def is_over() -> bool:
            return is_done() or self._is_hopeless or self._is_refused or self._is_over

        if os.getpid() != self._pid:
            return False
        with self._changed:
            self._is_hopeless = False
            self._wanted_by = self._clock.steady() + seconds
            self._changed.notify_all()
            self._changed.wait_for(is_over, seconds)
            self._wanted_by = None
            return is_done()

    def _event_id(self) -> str:
        self._count += 1
        return f"{self._prefix}-{self._count}"

    def _start(self) -> None:
        # What was not closed is kept all the same.
        atexit.register(self.close)
        self._thread = threading.Thread(target=self._run, name="runcast", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._is_refused = True
            self._trouble = str(error)

    # What follows runs on the thread.

    def _run(self) -> None:
        try:
            while True:
                batch = self._next()
                if batch is None:
                    break
                lines, arrived = batch
                if not self._deliver(lines):
                    break
                with self._changed:
                    arrived()
                    self._changed.notify_all()
        except BaseException as error:
            # Whatever it is, it is no business of the tests.
            with self._changed:
                self._trouble = f"{type(error).__name__}: {error}"
        with self._changed:
            self._is_refused = True
            self._changed.notify_all()

    def _next(self) -> Optional[tuple[list[bytes], Callable[[], None]]]:
        """What is to be sent next, and what to do once it was; None in the end."""
        with self._changed:
            while not self._is_over:
                if not self._outbox.is_empty:
                    self._wait(GATHER, lambda: len(self._outbox) >= MAX_BATCH or self._is_wanted)
                    batch = self._outbox.take(MAX_BATCH, MAX_BATCH_BYTES)
                    return batch, self._outbox.arrived
                if not self._is_spool_empty:
                    # What an earlier process left, while nothing else waits.
                    left = self._spool.take(MAX_BATCH, MAX_BATCH_BYTES)
                    if left:
                        return left, partial(self._spool.arrived, len(left))
                    self._is_spool_empty = True
                    self._changed.notify_all()
                until_alive = self._heard_at + ALIVE_EVERY - self._clock.steady()
                if until_alive > 0 or self._life is None:
                    self._wait(max(until_alive, 0.1), lambda: not self._outbox.is_empty)
                else:
                    alive = {"eventId": self._event_id(), "projectId": self.project, **self._life}
                    said = {name: value for name, value in alive.items() if value is not None}
                    self._outbox.put(Waiting(_json(said), is_passing=True))
            return None

    @property
    def _is_wanted(self) -> bool:
        return self._wanted_by is not None

    def _wait(self, seconds: float, is_enough: Callable[[], bool]) -> None:
        self._changed.wait_for(lambda: is_enough() or self._is_over, seconds)

    def _deliver(self, lines: list[bytes]) -> bool:
        """Sends updates until they are taken, or never can be; says whether to go on."""
        delay = FIRST_DELAY
        while True:
            answer, trouble, was_packed = self._post(lines)
            status = answer.status if answer else 0
            if status == 200 and answer is not None and self._taken(answer):
                return True
            if status == 400 and was_packed:
                # What stands between took the packed body for text.
                self._may_pack = False
                continue
            if status in (400, 413):
                if len(lines) > 1:
                    half = len(lines) // 2
                    return self._deliver(lines[:half]) and self._deliver(lines[half:])
                with self._changed:
                    self._reject(trouble)
                return True
            # 408 and 5xx are of what stands between, too.
            if status and status not in (408, 429) and status < 500:
                with self._changed:
                    self._trouble = trouble
                return False
            if not self._wait_for_retry(trouble, delay, answer.retry_after if answer else None):
                return False
            delay = min(delay * 2, MAX_DELAY)

    def _post(self, lines: list[bytes]) -> tuple[Optional[Answer], str, bool]:
        if self._connection is None:
            return None, self._trouble or "", False
        body = b'{"updates":[%b]}' % b",".join(lines)
        try:
            answer, was_packed = self._connection.post(body, self._may_pack)
        except Exception as error:
            # As of what a test has put in the place of sockets, or a warning that is an error there.
            return None, f"{self.url}: {_told(error)}", False
        return answer, str(answer), was_packed

    def _taken(self, answer: Answer) -> bool:
        """Counts what was taken; says whether it was Runcast that answered."""
        accepted, rejected = answer.body.get("accepted"), answer.body.get("rejected")
        if not isinstance(accepted, int) or not isinstance(rejected, list):
            return False
        with self._changed:
            self._heard_at = self._clock.steady()
            self._trouble = None
            self._failures = 0
            self._accepted += accepted
            for update in rejected:
                self._reject(str(update.get("reason")))
        return True

    def _reject(self, reason: str) -> None:
        self._rejected += 1
        self._reason = self._reason or reason

    def _wait_for_retry(self, trouble: str, delay: float, retry_after: Optional[float]) -> bool:
        """Waits before the next try; says whether there is one."""
        with self._changed:
            self._trouble = trouble
            self._failures += 1
            now = self._clock.steady()
            not_before = now + (retry_after or 0)
            retry_at = max(not_before, now + delay * self._jitter.uniform(0.5, 1.0))
            if not self._is_wanted:
                self._wait(retry_at - now, lambda: self._is_wanted)
                # Who waits gets a try at once, as far as the server lets.
                retry_at = min(retry_at, max(not_before, self._clock.steady()))
                is_hopeless = False
            else:
                is_hopeless = self._failures > HOPELESS_AFTER
            if self._wanted_by is not None and (is_hopeless or not_before > self._wanted_by):
                self._is_hopeless = True
                self._changed.notify_all()
            self._wait(retry_at - self._clock.steady(), lambda: False)
            return not self._is_over


def is_local(url: str) -> bool:
    """Whether an address is of a stack on this machine, which gives tokens itself."""
    return re.match(r"https?://(localhost|127(\.\d+){3}|\[::1\])(:\d+)?(/|$)", url) is not None


def _told(error: BaseException) -> str:
    return str(error) or type(error).__name__


# In ASCII, so that half a character is no error here. One for all: to make it takes as long as its work.
_encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def _json(update: Mapping[str, Any]) -> bytes:
    return _encoder.encode(update).encode("ascii")


def _destination(url: str, project: Optional[str], token: str) -> str:
    """Names where updates belong, whoever sends them: tokens are renewed."""
    try:
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        owner = [json.dumps(claims.get(claim)) for claim in ("iss", "org", "projects")]
    except (IndexError, ValueError, AttributeError):
        owner = []
    return hash_of(url, project or "", *owner)[:12]
