"""How the tests of a run stand, by what pytest says of their phases."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Optional

from .identity import Identity, hash_of

# How much of an error is sent, in bytes: as much as Runcast keeps.
MAX_ERROR_BYTES = 16 * 1024

# How much of that is the message, which comes first: lists show its first line.
MAX_MESSAGE_BYTES = 4 * 1024

_RANK = {"passed": 0, "skipped": 1, "failed": 2, "error": 3}

# What plugins call the outcome of an attempt that another follows: pytest-rerunfailures, pytest-retry.
_RETRIED = ("rerun", "retried")


@dataclass
class Test:
    """A test, or one of several of the same node id."""

    #: What every update says of it.
    said: dict[str, Any]
    #: Which worker of xdist runs it, as far as it is known.
    node: Optional[object] = None
    attempt: int = 1
    is_running: bool = False
    status: str = "passed"
    error: Optional[str] = None
    seconds: float = 0.0
    #: Whether the present attempt has said anything yet.
    is_fresh: bool = True
    #: Whether it was run, but for the teardown.
    is_called: bool = False

    def worsen(self, status: str, error: Optional[str]) -> None:
        """Takes what a phase says, where that is worse than what others said."""
        if _RANK[status] > _RANK[self.status]:
            self.status, self.error = status, error

    def ran_on(self, node: Optional[object]) -> None:
        """A worker of xdist has told of it; which one that is, is told with its end."""
        self.node = node
        worker = getattr(getattr(node, "gateway", None), "id", None)
        if worker is not None:
            self.said["labels"] = {**self.said.get("labels", {}), "worker": str(worker)}

    def begin_again(self) -> None:
        """Another attempt follows."""
        self.attempt += 1
        self.status, self.error, self.seconds = "passed", None, 0.0
        self.is_running, self.is_fresh, self.is_called = False, True, False
        self.node = None

    @property
    def is_retried(self) -> bool:
        """Whether nothing was heard yet of an attempt that is not the first."""
        return self.is_fresh and self.attempt > 1


@dataclass
class _Named:
    """The tests of one node id: more than one where it was collected twice."""

    open: list[Test] = field(default_factory=list)
    count: int = 0


class Tests:
    """The tests of a run. Whatever changes of one is sent."""

    def __init__(self, identity: Identity, send: Callable[[dict[str, Any]], None]) -> None:
        self._identity = identity
        self._send = send
        self._named: dict[str, _Named] = {}
        #: How many ended as failed or error.
        self.failed = 0

    def announce(self, node_id: str, location: Optional[Location] = None) -> None:
        """A test is going to be run."""
        self._tell(self._new(node_id, location), "waiting")

    def begin(self, node_id: str, location: Optional[Location]) -> None:
        """A test is running now; also where that was told before."""
        named = self._named.setdefault(node_id, _Named())
        # One that waits; or that a worker takes over from one that crashed; or collected twice.
        waiting = (test for test in named.open if not test.is_running or test.is_retried)
        test = next(waiting, None) or self._new(node_id, location)
        self._place(test, location)
        self._run(test)

    def report(self, report: Any) -> None:
        """Takes a report of a phase."""
        test = self._of(report)
        outcome, when = report.outcome, report.when
        is_subtest = getattr(report, "context", None) is not None
        if not is_subtest:
            test.seconds += getattr(report, "duration", 0) or 0
        if outcome == "passed":
            pass
        elif outcome == "failed" or outcome in _RETRIED:
            test.worsen("failed" if when == "call" else "error", error_of(report))
        elif outcome == "skipped" and not is_subtest:
            test.worsen("skipped", reason_of(report))
        elif outcome != "skipped":
            test.worsen("error", f"pytest says {outcome!r}")
        is_teardown = when == "teardown"
        if outcome in _RETRIED:
            self._tell_end(test, willRetry=True)
            test.begin_again()
            self._run(test)
        elif is_teardown and test.is_retried:
            # Of the attempt that has ended.
            test.seconds = 0.0
        elif is_teardown or when not in ("setup", "call"):
            # xdist tells that a worker crashed in a report that is of no phase.
            self._end(report.nodeid, test)
        else:
            test.is_fresh = False
            test.is_called |= when == "call" and not is_subtest

    def collected(self, report: Any) -> None:
        """Takes a report of a module, or the like, that has no tests as it failed, or was skipped."""
        if report.outcome not in ("failed", "skipped") or report.nodeid in self._named:
            return
        test = self._new(report.nodeid or "collection", None)
        is_failed = report.outcome == "failed"
        test.worsen("error" if is_failed else "skipped", (error_of if is_failed else reason_of)(report))
        self._end(report.nodeid or "collection", test, is_timed=False)

    def end(self) -> None:
        """No test is run any more: those that have no outcome yet are cancelled."""
        for node_id, named in self._named.items():
            for test in list(named.open):
                # xdist ends at `-x` before it has heard of the teardown.
                if not test.is_called and test.status == "passed":
                    test.status = "cancelled"
                self._end(node_id, test, is_timed=test.status != "cancelled")

    def _new(self, node_id: str, location: Optional[Location]) -> Test:
        named = self._named.setdefault(node_id, _Named())
        named.count += 1
        parts = [self._identity.run_id, node_id]
        if self._identity.shard:
            parts.append(f"shard {self._identity.shard[0]}")
        if named.count > 1:
            parts.append(str(named.count))
        file, separator, name = node_id.partition("::")
        said: dict[str, Any] = {
            "kind": "test",
            "id": hash_of(*parts),
            "runId": self._identity.run_id,
            "name": cut(name or node_id, 512),
        }
        if separator or file.endswith(".py"):
            said["file"] = cut(file, 512)
        if separator:
            said["suite"] = said["file"]
        labels = dict(self._identity.labels)
        if self._identity.shard:
            labels["shard"] = "{}/{}".format(*self._identity.shard)
        if labels:
            said["labels"] = labels
        test = Test(said)
        self._place(test, location)
        named.open.append(test)
        return test

    def _of(self, report: Any) -> Test:
        """The test that a report is about."""
        node = getattr(report, "node", None)
        open_tests = self._named.setdefault(report.nodeid, _Named()).open
        # That of the worker, or one that no worker has yet.
        for wanted in (node, None):
            for test in open_tests:
                if test.node is wanted:
                    test.ran_on(node)
                    return test
        test = self._new(report.nodeid, getattr(report, "location", None))
        test.ran_on(node)
        return test

    @staticmethod
    def _place(test: Test, location: Optional[Location]) -> None:
        # Of a crash, xdist knows the file only.
        if location and location[1] is not None and "line" not in test.said:
            test.said["file"] = cut(location[0], 512)
            test.said["line"] = location[1] + 1

    def _run(self, test: Test) -> None:
        if not test.is_running:
            test.is_running = True
            self._tell(test, "running")

    def _end(self, node_id: str, test: Test, is_timed: bool = True) -> None:
        if test.status in ("failed", "error"):
            self.failed += 1
        self._tell_end(test, is_timed=is_timed)
        self._named[node_id].open.remove(test)

    def _tell_end(self, test: Test, is_timed: bool = True, **more: Any) -> None:
        if is_timed:
            more["durationMs"] = round(test.seconds * 1000)
        self._tell(test, test.status, error=test.error, **more)

    def _tell(self, test: Test, status: str, **more: Any) -> None:
        more.update(test.said)
        more["status"] = status
        if test.attempt > 1:
            more["attempt"] = test.attempt
        self._send(more)


Location = tuple[str, Optional[int], str]


def error_of(report: Any) -> Optional[str]:
    """What pytest says of a failure: its message first, then where it came from."""
    longrepr = report.longrepr
    crash = getattr(longrepr, "reprcrash", None)
    message = cut(crash.message, MAX_MESSAGE_BYTES) if crash is not None else None
    text = str(report.longreprtext) if longrepr else ""
    parts = [part for part in (message, text) if part]
    return cut("\n\n".join(parts), MAX_ERROR_BYTES) if parts else None


def reason_of(report: Any) -> Optional[str]:
    """Why a test was skipped, or expected to fail."""
    expected = getattr(report, "wasxfail", None)
    if expected is not None:
        return cut(f"xfail: {expected}".rstrip(": "), MAX_ERROR_BYTES)
    longrepr = report.longrepr
    if isinstance(longrepr, tuple):
        reason = str(longrepr[-1])
        begin = "Skipped: "
        return cut(reason[len(begin) :] if reason.startswith(begin) else reason, MAX_ERROR_BYTES)
    return cut(str(longrepr), MAX_ERROR_BYTES) if longrepr else None


def cut(text: str, max_bytes: int) -> str:
    """The beginning of a text, with a mark where more was there."""
    if len(text) * 4 <= max_bytes:
        return text
    data = text[: max_bytes + 1].encode("utf-8", "replace")
    if len(data) <= max_bytes:
        return text
    return data[: max_bytes - 3].decode("utf-8", "ignore") + "…"
