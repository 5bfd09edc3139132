"""The server is away, or refuses: the tests run as without, and what could be sent was sent once."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .gate import Gate
from .project import Project, Result
from .stack import RUNCAST, Stack, environment
from .viewer import Run, Viewer

SUITE = """
import time, pytest
@pytest.mark.parametrize("n", range(8))
def test(n):
    time.sleep(0.1)
    assert n != 3
"""

# The same run without the plugin, which is the same for all.
WITHOUT: list[Result] = []


@pytest.fixture
def gate(stack: Stack) -> Iterator[Gate]:
    gate = Gate(stack)
    yield gate
    gate.open()
    gate.close()


@pytest.fixture
def slow(project: Project) -> Project:
    return project.write(test_slow=SUITE)


def check_as_without(project: Project, result: Result) -> None:
    """The run was as one without the plugin, but for its own lines, and 2 s."""
    if not WITHOUT:
        WITHOUT.append(project.pytest("-p", "no:runcast"))
    without = WITHOUT[0]
    assert (result.code, result.errors) == (without.code, without.errors)
    # As pytest says; then 2 s, and what a loaded machine needs to end a process.
    assert took(result) < took(without) + 2
    assert result.waited < without.waited + 2.5
    assert told(result) == told(without)


def took(result: Result) -> float:
    (seconds,) = re.findall(r" in ([\d.]+)s ", result.output)
    return float(seconds)


def told(result: Result) -> list[str]:
    """What pytest says itself, as far as it is the same for all."""
    text = re.sub(r"/\S+/project", "project", result.output)
    text = re.sub(r" in [\d.]+s ", " in 0s ", text)
    # The plugin is named among the others.
    return [line for line in text.splitlines() if not line.startswith(("runcast: ", "plugins: "))]


def check_whole(run: Run) -> None:
    assert run.counts() == {"total": 8, "passed": 7, "failed": 1}
    assert run.state["status"] == "failed"
    assert all(test["attempts"] == [] for test in run.tests)


def warnings(result: Result) -> list[str]:
    lines = [line for line in result.output.splitlines() if line.startswith("runcast: ")]
    return lines[1:]  # the first says where to watch


def test_away_for_the_whole_run_and_sent_by_the_next(slow: Project, viewer: Viewer) -> None:
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{it.getsockname()[1]}"
    result = slow.pytest(RUNCAST_URL=nobody)
    check_as_without(slow, result)
    (file,) = slow.spooled()
    count = len(file.read_text().splitlines())
    assert warnings(result) == [
        f"runcast: {count} updates could not be sent: {nobody}: [Errno 111] Connection refused; "
        f"they are in {file}: the next run sends them, or `runcast import`"
    ]
    assert count == 8 * 3 + 2
    assert viewer.seen() == []
    # What is for another server is not sent to this one.
    slow.pytest("-k", "[0]", RUNCAST_RUN_ID=slow.run("other"))
    assert slow.spooled() == [file]
    viewer.ended(slow.run("other"))
    # By hand, as the line says.
    run_id = json.loads(file.read_text().splitlines()[0])["id"]
    answers = [import_file(slow, file) for _ in range(2)]
    check_whole(viewer.ended(run_id))
    assert answers == [
        f"{count} updates accepted, 0 known already, 0 rejected",
        f"0 updates accepted, {count} known already, 0 rejected",
    ]


def import_file(project: Project, file: Path) -> str:
    command: list[str | Path] = [RUNCAST, "import", file]
    variables = {name: value for name, value in project.variables.items() if name.startswith("RUNCAST")}
    output = subprocess.run(command, env=environment(**variables), capture_output=True, check=True)
    return output.stdout.decode().strip()


def test_the_next_run_sends_what_an_earlier_one_kept(slow: Project, viewer: Viewer, gate: Gate) -> None:
    gate.refuse(503)
    slow.pytest(RUNCAST_URL=gate.url, RUNCAST_RUN_ID=slow.run("first"))
    slow.pytest("-k", "[0]", RUNCAST_URL=gate.url, RUNCAST_RUN_ID=slow.run("second"))
    assert len(slow.spooled()) == 2
    assert viewer.seen() == []
    gate.open()
    result = slow.pytest("-k", "[1]", RUNCAST_URL=gate.url, RUNCAST_RUN_ID=slow.run("third"))
    assert warnings(result) == []
    assert slow.spooled() == []
    check_whole(viewer.ended(slow.run("first")))
    assert (
        viewer.ended(slow.run("second")).counts()
        == viewer.ended(slow.run("third")).counts()
        == {"total": 1, "passed": 1}
    )


def test_away_in_the_middle(slow: Project, viewer: Viewer, gate: Gate) -> None:
    process = slow.start(RUNCAST_URL=gate.url)
    assert viewer.wait(lambda: any(state["status"] == "running" for _, state in viewer.seen()))
    gate.refuse(502)
    time.sleep(0.4)
    gate.open()
    result = slow.result(process)
    check_as_without(slow, result)
    check_whole(viewer.ended())
    assert warnings(result) == []
    assert slow.spooled() == []


@pytest.mark.parametrize("status", [503, 429])
def test_who_is_asked_to_wait_waits(status: int, slow: Project, viewer: Viewer, gate: Gate) -> None:
    gate.refuse(status, retry_after=1, times=1)
    result = slow.pytest(RUNCAST_URL=gate.url)
    assert gate.requests[1] - gate.requests[0] >= 1
    assert (result.code, warnings(result)) == (1, [])
    check_whole(viewer.ended())


@pytest.mark.parametrize(
    ("status", "retry_after", "why"),
    [(503, None, "HTTP 503 Service Unavailable"), (429, 60, "HTTP 429 Too Many Requests")],
)
def test_refused_for_the_whole_run(
    status: int, retry_after: int, why: str, slow: Project, gate: Gate
) -> None:
    gate.refuse(status, retry_after)
    result = slow.pytest(RUNCAST_URL=gate.url)
    check_as_without(slow, result)
    assert warnings(result)[0].startswith(f"runcast: 26 updates could not be sent: {why}; they are in ")
    (file,) = slow.spooled()
    assert len(file.read_text().splitlines()) == 26
    # It was not asked more often than it wants.
    assert len(gate.requests) == 1 if retry_after else 2 < len(gate.requests) < 15


def test_a_hanging_server(slow: Project, gate: Gate) -> None:
    gate.hang()
    result = slow.pytest(RUNCAST_URL=gate.url)
    check_as_without(slow, result)
    why = "the server did not answer in time"
    assert warnings(result)[0].startswith(f"runcast: 26 updates could not be sent: {why}; they are in ")
    (file,) = slow.spooled()
    assert len(file.read_text().splitlines()) == 26


def test_a_wrong_token_is_told_once_and_a_right_one_sends(slow: Project, viewer: Viewer) -> None:
    token = slow.variables["RUNCAST_TOKEN"]
    result = slow.pytest(RUNCAST_TOKEN=token[:-6] + "AAAAAA", RUNCAST_RUN_ID=slow.run("first"))
    check_as_without(slow, result)
    (warning,) = warnings(result)
    assert warning.startswith("runcast: 26 updates could not be sent: Unauthorized: ")
    assert token[:-6] not in result.output
    assert str(slow.spooled()[0]) in warning
    second = slow.pytest("-k", "[0]", RUNCAST_RUN_ID=slow.run("second"))
    assert (second.code, warnings(second)) == (0, [])
    check_whole(viewer.ended(slow.run("first")))
    assert slow.spooled() == []


def test_what_is_no_token_or_address_is_told(project: Project) -> None:
    project.write(test_a="def test(): pass")
    for variables, why in {
        ("RUNCAST_TOKEN", "a\nb"): "RUNCAST_TOKEN is no token",
        ("RUNCAST_URL", "status.example.com"): "RUNCAST_URL is no address like https://status.example.com",
        ("RUNCAST_URL", "http://[::1"): "Invalid IPv6 URL",
    }.items():
        name, value = variables
        result = project.pytest(**{name: value})
        assert (result.code, result.errors) == (0, "")
        assert warnings(result)[0].startswith(f"runcast: 5 updates could not be sent: {why}; they are in ")


def test_updates_of_another_project_are_told(project: Project, viewer: Viewer) -> None:
    result = project.write(test_a="def test(): pass").pytest(RUNCAST_PROJECT="anothers")
    (warning,) = warnings(result)
    assert warning.startswith("runcast: 5 updates rejected: ")
    assert result.code == 0
    assert viewer.seen() == []


def test_what_cannot_be_kept_is_told(slow: Project, gate: Gate) -> None:
    gate.refuse(503)
    slow.spool.write_text("a file where the folder should be")
    result = slow.pytest(RUNCAST_URL=gate.url)
    check_as_without(slow, result)
    (warning,) = warnings(result)
    assert "nor kept in" in warning


def test_nothing_of_it_is_a_warning_in_a_test(slow: Project, gate: Gate) -> None:
    gate.refuse(503)
    check_as_without(slow, slow.pytest("-W", "error", RUNCAST_URL=gate.url))
