"""How runs end."""

from __future__ import annotations

import os
import signal

import pytest

from .junit import said_by_pytest, said_by_runcast
from .project import Project
from .viewer import Viewer

TEN = """
import pytest, time
@pytest.mark.parametrize("n", range(10))
def test(n):
    assert n not in (2, 5)
"""

SLEEPS = """
import time
def test_first(): pass
def test_sleeps(): time.sleep(60)
def test_never(): pass
"""


def is_running(viewer: Viewer, name: str) -> bool:
    return any((state["name"], state["status"]) == (name, "running") for _, state in viewer.seen())


@pytest.mark.parametrize(
    ("arguments", "failed", "cancelled"), [(["-x"], 1, 7), (["--maxfail=2"], 2, 4), ([], 2, 0)]
)
def test_stopped_at_a_failure(
    arguments: list[str], failed: int, cancelled: int, project: Project, viewer: Viewer
) -> None:
    result = project.write(test_ten=TEN).pytest(*arguments)
    run = viewer.ended()
    assert (result.code, run.state["status"]) == (1, "failed")
    counts = {"total": 10, "passed": 10 - failed - cancelled, "failed": failed, "cancelled": cancelled}
    assert run.counts() == {word: count for word, count in counts.items() if count}


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_interrupted(workers: str, project: Project, viewer: Viewer) -> None:
    process = project.write(test_sleeps=SLEEPS).start(workers)
    assert viewer.wait(lambda: is_running(viewer, "test_sleeps"))
    os.killpg(process.pid, signal.SIGINT)
    result = project.result(process)
    run = viewer.ended()
    assert result.code == 2
    assert (run.state["status"], run.state["errorDetails"]) == ("cancelled", "KeyboardInterrupt")
    assert run.test("test_first")["status"] == "passed"
    assert run.test("test_sleeps")["status"] == "cancelled"
    assert result.waited < 2.5
    if workers == "-n0":
        assert run.statuses("test_never") == ["waiting", "cancelled"]


def test_an_exit_in_a_test(project: Project, viewer: Viewer) -> None:
    exits = "import pytest\ndef test_exits(): pytest.exit('enough', returncode=9)\ndef test_never(): pass"
    result = project.write(test_exits=exits).pytest()
    run = viewer.ended()
    assert result.code == 9
    assert run.state["status"] == "cancelled"
    assert run.state["errorDetails"] == "Exit: enough"
    assert run.counts() == {"total": 2, "cancelled": 2}


def test_a_mistake_of_a_plugin(project: Project, viewer: Viewer) -> None:
    project.write(
        conftest="def pytest_runtest_protocol(item):\n    if item.name == 'test_two': raise KeyError(7)",
        test_a="def test_one(): pass\ndef test_two(): pass\ndef test_three(): pass",
    )
    result = project.pytest()
    run = viewer.ended()
    assert (result.code, run.state["status"]) == (3, "error")
    assert run.state["errorDetails"].startswith("pytest's own error: KeyError: 7\n")
    assert run.counts() == {"total": 3, "passed": 1, "cancelled": 2}


def test_modules_that_cannot_be_collected(project: Project, viewer: Viewer) -> None:
    project.write(test_good="def test(): pass", test_broken="import no_such_module_here")
    project.write(test_worse="def test(:")
    result = project.pytest()
    run = viewer.ended()
    assert result.code == 2
    assert run.state["status"] == "failed"
    assert run.state["errorDetails"] == "2 errors during collection"
    assert [test["status"] for test in run.tests].count("error") == 2
    assert "No module named 'no_such_module_here'" in run.test("test_broken.py")["error"]
    # Both are in pytest's report; the others were never begun.
    errors = {name for name, status in said_by_runcast(run).items() if status == "error"}
    assert {name for name, status in said_by_pytest(project.report).items() if status == "error"} == errors


def test_no_tests(project: Project, viewer: Viewer) -> None:
    result = project.write(test_a="def test(): pass").pytest("-k", "nothing")
    run = viewer.ended()
    assert (result.code, run.state["status"], run.counts()) == (5, "completed", {})


def test_others_may_change_how_it_ends(project: Project, viewer: Viewer) -> None:
    changes = "def pytest_sessionfinish(session): session.exitstatus = 0"
    result = project.write(test_ten=TEN, conftest=changes).pytest()
    assert (result.code, viewer.ended().state["status"]) == (0, "passed")


@pytest.mark.parametrize("arguments", [["--collect-only"], ["--fixtures"], ["--markers"], ["--version"]])
def test_where_nothing_is_run_nothing_is_told(
    arguments: list[str], project: Project, viewer: Viewer
) -> None:
    project.write(test_ten=TEN).pytest(*arguments)
    # A run that is told comes before one that is begun later.
    project.write(test_ten=TEN).pytest(RUNCAST_RUN_ID=project.run("later"))
    viewer.ended(project.run("later"))
    assert list(viewer.histories("job")) == [project.run("later")]
