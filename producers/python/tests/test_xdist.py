"""Parallel workers: the controller alone reports."""

from __future__ import annotations

from .junit import check_counts, said_by_pytest, said_by_runcast
from .project import Project
from .viewer import Viewer

CRASHES = """
import os, pytest
def test_before(): pass
def test_kills_its_worker(): os.kill(os.getpid(), 9)
@pytest.mark.parametrize("n", range(6))
def test_beside(n): pass
def test_fails(): assert False
"""

CRASHES_ONCE = """
import os, pathlib
def test_crashes_once():
    life = pathlib.Path(os.environ["LIVES"], "once")
    if not life.exists():
        life.write_text("")
        os._exit(7)
def test_beside(): pass
"""


def test_every_test_ends_as_pytest_says(project: Project, viewer: Viewer) -> None:
    result = project.use("outcomes").pytest("-n2", "--deselect", "test_outcomes.py::test_of_many")
    run = viewer.ended()
    assert (result.code, run.state["status"]) == (1, "failed")
    said, seen = said_by_pytest(project.report), said_by_runcast(run)
    assert said.pop("test_outcomes.test_with_parts_that_pass") == "skipped"
    assert seen.pop("test_outcomes.test_with_parts_that_pass") == "passed"
    assert seen == said
    check_counts(run)
    flaky = run.test("test_passes_at_last")
    assert (flaky["status"], flaky["attempt"], flaky["flaky"]) == ("passed", 3, True)
    assert run.test("test_fails")["line"] == 17
    assert {test["labels"]["worker"] for test in run.tests if test["labels"]} == {"gw0", "gw1"}
    assert run.test("test_fails")["labels"]


def test_a_worker_that_is_killed(project: Project, viewer: Viewer) -> None:
    result = project.write(test_crashes=CRASHES).pytest("-n2")
    run = viewer.ended()
    assert (result.code, run.state["status"]) == (1, "failed")
    assert said_by_runcast(run) == said_by_pytest(project.report)
    check_counts(run)
    killed = run.test("test_kills_its_worker")
    assert killed["status"] == "error"
    assert "crashed while running" in killed["error"]
    assert killed["line"] == 4


def test_a_test_that_is_run_again_after_its_worker_crashed(project: Project, viewer: Viewer) -> None:
    result = project.write(test_crashes=CRASHES_ONCE).pytest("-n2", "--reruns", "2")
    run = viewer.ended()
    assert (result.code, run.state["status"]) == (0, "passed"), result.output
    assert run.counts() == {"total": 2, "passed": 2, "flaky": 1}
    crashed = run.test("test_crashes_once")
    assert [attempt["status"] for attempt in crashed["attempts"]] == ["error"]
    assert run.statuses("test_crashes_once") == ["waiting", "running", "waiting", "running", "passed"]


def test_stopped_at_the_first_failure(project: Project, viewer: Viewer) -> None:
    many = "import pytest, time\n@pytest.mark.parametrize('n', range(40))\ndef test(n): "
    result = project.write(test_many=many + "time.sleep(.05); assert n").pytest("-n2", "-x")
    run = viewer.ended()
    assert result.code == 2
    # Nobody has cancelled it.
    assert (run.state["status"], run.state["errorDetails"]) == ("failed", "stopping after 1 failures")
    assert run.counts()["total"] == 40
    assert run.counts()["failed"] == 1
    assert run.counts()["cancelled"] > 20
    seen = said_by_runcast(run)
    said = said_by_pytest(project.report)
    assert {name: seen[name] for name in said} == said


def test_a_module_that_cannot_be_imported(project: Project, viewer: Viewer) -> None:
    project.write(test_good="def test(): pass", test_broken="import no_such_module_here")
    result = project.pytest("-n2")
    run = viewer.ended()
    assert (result.code, run.state["status"]) == (1, "failed"), result.output
    assert run.test("test_broken.py")["status"] == "error"
    assert "No module named 'no_such_module_here'" in run.test("test_broken.py")["error"]
