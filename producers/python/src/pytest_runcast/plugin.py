"""The plugin: tells Runcast how a run of pytest and its tests stand, while it runs."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Any, Optional

import pytest

from .identity import Identity, shard_of
from .reporter import TIMEOUT_SECONDS, Reporter, is_local
from .tests import Tests

# How many tests are told as waiting once they are collected; others are when they begin.
MAX_ANNOUNCED = 5000

# https://docs.pytest.org/en/stable/reference/exit-codes.html
_ENDS = {0: "passed", 1: "failed", 5: "completed"}
_INTERRUPTED = 2


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the one option."""
    group = parser.getgroup("runcast", "live status in Runcast")
    group.addoption(
        "--runcast-shard",
        metavar="INDEX/TOTAL",
        help="Which part of the run this is, as 2/8; without, RUNCAST_SHARD, or what the CI says",
    )


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Begins to report, where RUNCAST_URL and RUNCAST_TOKEN say where to."""
    shard = config.getoption("runcast_shard") or os.environ.get("RUNCAST_SHARD")
    try:
        part = shard_of(shard) if shard else None
    except ValueError as error:
        if config.getoption("runcast_shard"):
            raise pytest.UsageError(f"--runcast-shard: {error}") from None
        part = None
    if not _is_wanted(config):
        return
    url, token = (os.environ.get(name, "").strip() for name in ("RUNCAST_URL", "RUNCAST_TOKEN"))
    if not url or not (token or is_local(url)):
        # Without both nobody wants it; with one, somebody did.
        if url or token:
            missing = "RUNCAST_TOKEN" if url else "RUNCAST_URL"
            config.pluginmanager.register(_Inactive(f"{missing} is not set"))
        return
    try:
        config.pluginmanager.register(Reporting(config, part), "runcast-reporting")
    except Exception as error:
        config.pluginmanager.register(_Inactive(f"{type(error).__name__}: {error}"))


def _is_wanted(config: pytest.Config) -> bool:
    """Whether this pytest is the one that runs a suite's tests."""
    # xdist's controller tells what its workers do.
    is_worker = hasattr(config, "workerinput") or "PYTEST_XDIST_WORKER" in os.environ
    # A test that runs pytest is one test: what runs in it is no part of this run.
    is_within_test = "PYTEST_CURRENT_TEST" in os.environ
    is_run = not config.getoption("collectonly", False) and not config.getoption("looponfail", False)
    return is_run and not is_worker and not is_within_test


class _Inactive:
    """Says why nothing is reported."""

    def __init__(self, why: str) -> None:
        self._why = why

    def pytest_report_header(self) -> str:
        return f"runcast: not active: {self._why}"


class _Guard:
    """Keeps from the tests whatever goes wrong within it."""

    def __init__(self) -> None:
        self.error: Optional[str] = None

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Optional[BaseException], traceback: Any) -> bool:
        if isinstance(error, Exception):
            self.error = self.error or f"{type(error).__name__}: {error}"
        return isinstance(error, Exception)


class Reporting:
    """The hooks, while it reports."""

    def __init__(self, config: pytest.Config, shard: Optional[tuple[int, int]]) -> None:
        identity = Identity.of(os.environ, shard)
        if identity.name is None:
            identity = replace(identity, name=f"pytest: {config.rootpath.name}")
        self._identity = identity
        self._config = config
        self._reporter = Reporter(folder=config.rootpath / ".runcast")
        self._tests = Tests(identity, self._reporter.send)
        # `runcast run` tells the run itself, and its end.
        self._is_ours = os.environ.get("RUNCAST_RUN_BY") != "runcast-run"
        self._is_begun = False
        self._is_announced = False
        self._is_interrupted = False
        self._guard = _Guard()
        self._details: Optional[str] = None

    def pytest_report_header(self) -> str:
        return f"runcast: watch this run at {self._reporter.page_of(self._identity.run_id)}"

    # Not at the session's start: `pytest --fixtures` has one, too.
    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        with self._guard:
            self._is_begun = True
            if self._is_ours:
                self._tell_run("running")
                self._reporter.keep_alive(self._identity.run_id)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        with self._guard:
            if self._is_begun:
                self._tests.collected(report)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        with self._guard:
            if self._is_begun:
                for item in session.items[:MAX_ANNOUNCED]:
                    self._tests.announce(item.nodeid, item.location)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: object, ids: list[str]) -> None:
        with self._guard:
            # Each worker has collected the same.
            if not self._is_announced:
                self._is_announced = True
                for node_id in ids[:MAX_ANNOUNCED]:
                    self._tests.announce(node_id)

    def pytest_runtest_logstart(self, nodeid: str, location: Any) -> None:
        with self._guard:
            self._tests.begin(nodeid, location)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        with self._guard:
            self._tests.report(report)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        with self._guard:
            error = excinfo.value
            if type(error).__name__ == "Interrupted":
                # By nobody: pytest's own, as modules could not be collected, and xdist's, at -x.
                self._details = str(error)
                return
            self._is_interrupted = True
            self._details = ": ".join(part for part in (type(error).__name__, str(error)) if part)

    def pytest_internalerror(self, excrepr: object, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        with self._guard:
            self._details = f"pytest's own error: {excinfo.exconly()}\n\n{excrepr}"

    # Outermost, as others may yet change how it ended.
    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Any:
        yield
        with self._guard:
            self._finish(int(session.exitstatus))

    def _finish(self, exit_status: int) -> None:
        if self._is_begun:
            self._tests.end()
            if self._is_ours:
                self._tell_run(self._end_of(exit_status), errorDetails=self._details)

    def _end_of(self, exit_status: int) -> str:
        if self._is_interrupted:
            return "cancelled"
        if exit_status == _INTERRUPTED:
            return "failed" if self._tests.failed else "cancelled"
        return _ENDS.get(exit_status, "error")

    def pytest_unconfigure(self) -> None:
        lines: list[str] = []
        with self._guard:
            lines += self._reporter.close().lines()
        if self._guard.error:
            lines.append(f"a mistake of pytest-runcast's, of no effect on the tests: {self._guard.error}")
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        for line in lines:
            if terminal is not None:
                terminal.write_line(f"runcast: {line}")
            else:
                print(f"runcast: {line}", file=sys.stderr)

    def _tell_run(self, status: str, **more: Any) -> None:
        self._reporter.send(
            {**self._identity.of_run(), "status": status, "timeoutSeconds": TIMEOUT_SECONDS, **more}
        )
