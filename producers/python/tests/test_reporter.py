"""The reporter by itself, as whoever writes a producer uses it."""

from __future__ import annotations

import http.client
import json
import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_runcast import Reporter, reporter, spool
from pytest_runcast.outbox import Outbox, Waiting

from .gate import Gate
from .project import Project
from .stack import Stack, environment
from .viewer import Viewer

NOBODY = "http://127.0.0.1:9"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def gate(stack: Stack) -> Iterator[Gate]:
    gate = Gate(stack)
    yield gate
    gate.open()
    gate.close()


def a_reporter(project: Project, url: str | None = None) -> Reporter:
    token = project.variables["RUNCAST_TOKEN"]
    return Reporter(url or project.stack.url, token, folder=project.spool)


def job(project: Project, **more: Any) -> dict[str, Any]:
    return {"kind": "job", "id": project.run("job"), **more}


@pytest.mark.parametrize(("given", "sent"), [(TRACEPARENT, TRACEPARENT), ("", None), ("not\none", None)])
def test_what_is_sent_is_of_the_trace_of_its_process(
    project: Project, gate: Gate, monkeypatch: pytest.MonkeyPatch, given: str, sent: str | None
) -> None:
    monkeypatch.setenv("TRACEPARENT", given)
    it = a_reporter(project, gate.url)
    it.send(job(project, status="passed"))
    assert it.close().accepted == 1
    assert gate.traceparents == [sent]


def test_many_are_sent_in_order_a_thousand_at_once(project: Project, viewer: Viewer, gate: Gate) -> None:
    it = a_reporter(project, gate.url)
    for number in range(1, 2501):
        it.send(job(project, status="running", progress={"completed": number, "total": 2500}))
    assert it.flush(20)
    it.send(job(project, status="passed"))
    outcome = it.close()
    assert (outcome.accepted, outcome.lines()) == (2501, [])
    assert len(gate.requests) <= 5
    run = viewer.ended()
    # Each that was seen came after the one before; what came in one batch may be seen as one.
    seen = [state["progress"]["completed"] for state in run.history]
    assert seen == sorted(seen)
    assert seen[-1] == 2500


def test_no_request_is_larger_than_the_server_takes(project: Project, gate: Gate) -> None:
    it = a_reporter(project, gate.url)
    for number in range(12):
        message = "x" * 900_000
        it.send({"kind": "job", "id": project.run(f"{number}"), "status": "passed", "name": message})
    outcome = it.close(20)
    assert (outcome.accepted, outcome.rejected, outcome.unsent) == (12, 0, 0)
    assert len(gate.requests) >= 3


def test_one_that_is_too_large_holds_up_no_other(project: Project) -> None:
    it = a_reporter(project)
    for size in (10, 2_000_000, 20, 6_000_000, 30):
        it.send({"kind": "job", "id": project.run(f"{size}"), "status": "passed", "name": "x" * size})
    it.send({"kind": "job", "id": project.run("none"), "status": {1, 2}})
    outcome = it.close(20)
    assert (outcome.accepted, outcome.rejected, outcome.unsent) == (3, 3, 0)


def test_where_there_is_no_room_the_oldest_goes_that_another_follows() -> None:
    outbox = Outbox(max_waiting=4, max_bytes=100)
    for line, is_passing in [(b"1", False), (b"2", True), (b"3", True), (b"4", False), (b"5", True)]:
        outbox.put(Waiting(line, is_passing))
    assert outbox.take(1, 100) == [b"1"]
    outbox.arrived()
    outbox.put(Waiting(b"6", False))
    outbox.put(Waiting(b"7", False))
    outbox.put(Waiting(b"8", False))
    outbox.put(Waiting(b"9" * 98, False))
    assert (outbox.clear(), outbox.dropped) == ([b"7", b"8", b"9" * 98], 5)


def test_what_waits_is_bounded_and_what_was_dropped_is_told(project: Project) -> None:
    it = a_reporter(project, NOBODY)
    for number in range(10_000):
        it.send({"kind": "test", "id": f"t{number}", "status": "failed", "error": "x" * 16_000})
    outcome = it.close()
    assert outcome.unsent + outcome.dropped == 10_000
    assert outcome.kept_in is not None
    assert 60_000_000 < outcome.kept_in.stat().st_size < 72_000_000
    assert outcome.lines()[-1] == f"{outcome.dropped:,} updates given up, as too many waited"


def test_a_part_of_what_was_kept_is_sent_once(project: Project, gate: Gate) -> None:
    it = a_reporter(project, gate.url)
    gate.refuse(503)
    for number in range(1500):
        it.send(job(project, status="running", progress={"completed": number}))
    assert it.close().unsent == 1500
    # The next one is cut off in the middle: after its own, and the first thousand.
    (file,) = project.spooled()
    gate.open()
    gate.hang(after=2)
    before = len(gate.requests)
    second = a_reporter(project, gate.url)
    second.send({"kind": "job", "id": project.run("second"), "status": "passed"})
    assert not second._flush(1, lambda: len(gate.requests) == before + 4)
    assert len(gate.requests) == before + 3
    assert second.close(0.1).lines() == []
    assert len(file.read_text().splitlines()) == 500
    gate.open()
    third = a_reporter(project, gate.url)
    third.send({"kind": "job", "id": project.run("third"), "status": "passed"})
    outcome = third.close(10)
    assert (outcome.accepted, outcome.rejected) == (501, 0)
    assert project.spooled() == []


def test_signs_of_life(project: Project, viewer: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "ALIVE_EVERY", 0.3)
    it = a_reporter(project)
    it.send(job(project, status="running", timeoutSeconds=1))
    it.keep_alive(project.run("job"))
    time.sleep(3)
    assert [state["stale"] for _, state in viewer.seen()] == [False]
    it.keep_alive(None)
    assert viewer.wait(lambda: any(state["stale"] for _, state in viewer.seen()))
    it.close()


@pytest.mark.parametrize("url", [None, NOBODY])
def test_what_is_not_closed_is_sent_or_kept(url: str | None, project: Project, viewer: Viewer) -> None:
    script = (
        "import pytest_runcast as r; r.Reporter().send({'kind': 'job', 'id': 'ID', 'status': 'passed'})"
    )
    variables = {**project.variables, "RUNCAST_URL": url or project.stack.url}
    command = [sys.executable, "-c", script.replace("ID", project.run("exit"))]
    subprocess.run(command, cwd=project.folder, env=environment(**variables), check=True)
    if url is None:
        assert viewer.ended().state["status"] == "passed"
    else:
        (file,) = project.spooled()
        assert json.loads(file.read_text())["id"] == project.run("exit")
        assert file.stat().st_mode & 0o077 == 0
        assert (file.parent / ".gitignore").read_text() == "*\n"


def test_only_the_last_files_are_kept(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "MAX_FILES", 2)
    files = []
    for number in range(4):
        it = a_reporter(project, NOBODY)
        it.send(job(project, status="running", name=f"{number}"))
        files.append(it.close(0.1).kept_in)
    assert project.spooled() == files[2:]


def test_through_a_proxy(
    project: Project, viewer: Viewer, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", gate.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    it = a_reporter(project, "http://runcast.invalid/")
    it.send(job(project, status="passed"))
    assert it.close().lines() == []
    assert viewer.ended().state["status"] == "passed"
    assert len(gate.requests) == 1


def test_an_answer_of_another_server_is_none(project: Project, gate: Gate) -> None:
    gate.refuse(200)
    it = a_reporter(project, gate.url)
    it.send(job(project, status="passed"))
    outcome = it.close(0.5)
    assert (outcome.unsent, outcome.why) == (1, "HTTP 200 OK")


def test_what_a_test_has_replaced_is_not_used(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """As pytest-socket, vcrpy and freezegun do."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    it = a_reporter(project)
    for module, names in {
        socket: ("socket", "getaddrinfo", "create_connection"),
        http.client: ("HTTPConnection", "HTTPSConnection"),
        time: ("time", "monotonic"),
    }.items():
        for name in names:
            monkeypatch.setattr(module, name, refuse)
    monkeypatch.setattr(random, "random", refuse)
    it.send(job(project, status="passed"))
    outcome = it.close()
    monkeypatch.undo()
    assert (outcome.accepted, outcome.lines()) == (1, [])


def test_an_address_with_a_path() -> None:
    it = Reporter("https://x.example/live/", "a")
    assert it.page_of("r1") == "https://x.example/live/#/runs/r1"
    assert it.close().lines() == []


def test_the_readme_works(project: Project, viewer: Viewer) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.+?)```", readme, re.DOTALL)
    code = code.replace("nightly-17", project.run("readme"))
    subprocess.run(
        [sys.executable, "-c", code], cwd=project.folder, env=environment(**project.variables), check=True
    )
    assert viewer.ended().state["status"] == "passed"
