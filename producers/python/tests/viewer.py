"""Who watches a project on its streams, and notes what comes, and when."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections import defaultdict
from typing import Any, Callable, Optional
from urllib.parse import urlsplit

from .stack import Stack

State = dict[str, Any]
ENDED = {"completed", "passed", "failed", "error", "cancelled", "skipped"}
PATIENCE = 20.0


class Viewer:
    """Watches the runs and tests of a project, each on a stream."""

    def __init__(
        self, stack: Stack, project: str, functions: tuple[str, ...] = ("job-status", "test-status")
    ) -> None:
        self._changed = threading.Condition()
        self._seen: list[tuple[float, State]] = []
        self._open = 0
        self._sockets: list[socket.socket] = []
        for function in functions:
            path = f"/api/{function}/events?projectId={project}"
            threading.Thread(target=self._read, args=(stack, path), daemon=True).start()
        with self._changed:
            assert self._changed.wait_for(lambda: self._open == len(functions), PATIENCE), "no streams"

    def _read(self, stack: Stack, path: str) -> None:
        address = urlsplit(stack.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=100)
        connection.request("GET", path, headers={"Authorization": f"Bearer {stack.read_token}"})
        self._sockets.append(connection.sock)
        stream = connection.getresponse()
        event, data = "message", ""
        while line := stream.readline():
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                event = value
            elif field == "data":
                data = value
            elif not field and data:
                self._take(event, json.loads(data))
                event, data = "message", ""

    def _take(self, event: str, data: State) -> None:
        with self._changed:
            if event == "message":
                self._seen.append((time.time(), data))
            self._open += event == "stream"
            self._changed.notify_all()

    def close(self) -> None:
        for it in self._sockets:
            it.shutdown(socket.SHUT_RDWR)

    def seen(self) -> list[tuple[float, State]]:
        """All that came, in order, each with when it did."""
        with self._changed:
            return list(self._seen)

    def histories(self, kind: str) -> dict[str, list[State]]:
        """The states of each execution, in the order they came."""
        histories: dict[str, list[State]] = defaultdict(list)
        for _, state in self.seen():
            if state["kind"] == kind:
                histories[state["testId" if kind == "test" else "runId"]].append(state)
        return dict(histories)

    def wait(self, condition: Callable[[], bool]) -> bool:
        with self._changed:
            return self._changed.wait_for(condition, PATIENCE)

    def ended(self, run_id: Optional[str] = None) -> Run:
        """Waits until the one run there is, and its tests, have ended; each state came once."""

        def is_over() -> bool:
            run = self._last(run_id)
            if run is None or run["status"] not in ENDED:
                return False
            tests = self.histories("test").values()
            last = [history[-1] for history in tests if history[-1]["runId"] == run["runId"]]
            counted = (run["tests"] or {}).get("total", 0)
            return len(last) == counted and all(test["status"] in ENDED for test in last)

        assert self.wait(is_over), [self._last(run_id), self.histories("test")]
        return self.run(run_id)

    def run(self, run_id: Optional[str] = None) -> Run:
        """How the one run there is stands, and its tests."""
        runs = self.histories("job")
        assert run_id or len(runs) == 1, list(runs)
        history = runs[run_id or next(iter(runs))]
        is_of_run = {
            test_id: states
            for test_id, states in self.histories("test").items()
            if states[0]["runId"] == history[0]["runId"]
        }
        for states in (history, *is_of_run.values()):
            assert [state["seq"] for state in states] == [*range(1, len(states) + 1)]
        return Run(history, [*is_of_run.values()])

    def _last(self, run_id: Optional[str]) -> Optional[State]:
        runs = self.histories("job")
        history = runs.get(run_id) if run_id else next(iter(runs.values()), None)
        return history[-1] if history else None


class Run:
    """A run, and its tests, as they were seen."""

    def __init__(self, history: list[State], tests: list[list[State]]) -> None:
        self.history = history
        self.state = history[-1]
        self.histories = tests
        self.tests = [states[-1] for states in tests]

    def test(self, name: str) -> State:
        """The last state of the one test of that name."""
        (state,) = (state for state in self.tests if state["name"] == name)
        return state

    def statuses(self, name: str) -> list[str]:
        """The statuses of the one test of that name, in order."""
        (states,) = (states for states in self.histories if states[0]["name"] == name)
        return [state["status"] for state in states]

    def counts(self) -> dict[str, int]:
        """What the server counts, but for what is 0."""
        return {word: count for word, count in (self.state["tests"] or {}).items() if count}
