"""Where it has nothing to say, it says nothing."""

from __future__ import annotations

import pytest

from .project import Project
from .stack import RUNCAST
from .viewer import Viewer

SUITE = "def test(): pass\ndef test_fails(): assert False"


@pytest.mark.parametrize(
    ("variables", "header"),
    [
        ({"RUNCAST_URL": None, "RUNCAST_TOKEN": None}, None),
        (
            {"RUNCAST_URL": "https://status.example.com", "RUNCAST_TOKEN": None},
            "runcast: not active: RUNCAST_TOKEN is not set",
        ),
        ({"RUNCAST_URL": None}, "runcast: not active: RUNCAST_URL is not set"),
    ],
)
def test_without_address_and_token(variables: dict[str, str | None], header: str, project: Project) -> None:
    result = project.write(test_a=SUITE).pytest(**variables)
    lines = [line for line in result.output.splitlines() if line.startswith("runcast")]
    assert (result.code, lines) == (1, [header] if header else [])
    assert not project.spool.exists()


def test_the_stack_on_this_machine_gives_a_token_itself(project: Project, viewer: Viewer) -> None:
    result = project.write(test_a=SUITE).pytest(RUNCAST_TOKEN=None)
    assert viewer.ended().counts() == {"total": 2, "passed": 1, "failed": 1}
    assert "runcast: not active" not in result.output


def test_a_pytest_within_a_test_is_no_run(project: Project, viewer: Viewer) -> None:
    project.write(
        test_outer="import subprocess, sys\ndef test_outer():\n"
        "    assert subprocess.run([sys.executable, '-m', 'pytest', 'inner.py']).returncode == 1\n",
        inner=SUITE,
    )
    result = project.pytest(RUNCAST_RUN_ID=project.run("outer"))
    assert result.code == 0
    run = viewer.ended()
    assert [(test["name"], test["status"]) for test in run.tests] == [("test_outer", "passed")]
    assert [state["status"] for state in run.history] == ["running"] * (len(run.history) - 1) + ["passed"]


def test_a_child_that_a_test_forks_says_nothing(project: Project, viewer: Viewer) -> None:
    forks = (
        "import os, sys\ndef test_forks():\n    child = os.fork()\n"
        "    if child == 0: sys.exit(3)\n    assert os.waitpid(child, 0)[1] >> 8 != 0\n"
    )
    result = project.write(test_forks=forks).pytest()
    assert result.code == 0, result.output
    run = viewer.ended()
    assert (run.state["status"], run.counts()) == ("passed", {"total": 1, "passed": 1})
    # Nor does it keep what it was given with its parent's memory.
    assert not project.spool.exists()


def test_under_runcast_run_the_end_is_not_its_own(project: Project, viewer: Viewer) -> None:
    # The same run, twice pytest: the first must not end it.
    project.write(test_a="def test_a(): assert False", test_b="def test_b(): pass")
    before = (
        str(RUNCAST),
        "run",
        "--name",
        "Both",
        "--",
        "sh",
        "-c",
        '"$0" "$@" test_a.py; "$0" "$@" test_b.py',
    )
    result = project.pytest(before=before)
    assert result.code == 0
    run = viewer.ended()
    assert (run.state["status"], run.state["name"]) == ("passed", "Both")
    assert run.counts() == {"total": 2, "passed": 1, "failed": 1}
    assert [state["status"] for state in run.history][-2:] == ["running", "passed"]
    assert result.output.count(f"runcast: watch this run at {project.stack.url}/#/runs/") == 2


def test_what_tests_replace_does_not_matter(project: Project, viewer: Viewer) -> None:
    replaces = """
import http.client, json, random, socket, threading, time, pytest

@pytest.fixture(scope="module", autouse=True)
def replaced():
    with pytest.MonkeyPatch.context() as patch:
        for module, name in [(time, "time"), (time, "monotonic"), (http.client, "HTTPConnection")]:
            patch.setattr(module, name, lambda *_, **__: 1 / 0)
        yield

def test_seeded():
    random.seed(4)
    time.sleep(0.4)
    assert random.random() == random.Random(4).random()

def test_after(): time.sleep(0.4)
"""
    result = project.write(test_replaces=replaces).pytest()
    run = viewer.ended()
    assert (result.code, run.counts()) == (0, {"total": 2, "passed": 2}), result.output
    seen = [(state["name"], state["status"]) for _, state in viewer.seen() if state["kind"] == "test"]
    assert seen.index(("test_seeded", "passed")) < seen.index(("test_after", "passed"))
