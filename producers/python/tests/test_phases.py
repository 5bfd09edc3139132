"""What becomes of reports that come in an order that real runs only have at times."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_runcast import tests as told_by
from pytest_runcast.identity import Identity

NODE_ID = "test_a.py::test_one"


def told(*phases: tuple[str, str], is_ended: bool = True) -> list[tuple[str, int, bool]]:
    """The status, attempt, and whether another follows, of what is sent for these reports."""
    sent: list[dict[str, Any]] = []
    tests = told_by.Tests(Identity("r"), sent.append)
    tests.begin(NODE_ID, ("test_a.py", 3, "test_one"))
    for when, outcome in phases:
        location = ("test_a.py", 3, "test_one")
        tests.report(pytest.TestReport(NODE_ID, location, {}, outcome, None, when))  # type: ignore[arg-type]
    if is_ended:
        tests.end()
    return [(it["status"], it.get("attempt", 1), it.get("willRetry", False)) for it in sent[1:]]


def test_the_end_comes_before_the_teardown() -> None:
    """As of xdist at `-x`."""
    assert told() == told(("setup", "passed")) == [("cancelled", 1, False)]
    assert told(("setup", "passed"), ("call", "passed")) == [("passed", 1, False)]
    assert told(("setup", "passed"), ("call", "failed")) == [("failed", 1, False)]
    assert told(("setup", "failed")) == [("error", 1, False)]


def test_the_teardown_comes_after_the_attempt() -> None:
    """As of older versions of pytest-rerunfailures."""
    attempt = [("setup", "passed"), ("call", "rerun"), ("teardown", "passed")]
    again = [("setup", "passed"), ("call", "passed"), ("teardown", "passed")]
    wanted = [("failed", 1, True), ("running", 2, False), ("passed", 2, False)]
    assert told(*attempt, *again, is_ended=False) == wanted


def test_an_attempt_that_was_begun_and_no_more() -> None:
    wanted = [("failed", 1, True), ("running", 2, False), ("cancelled", 2, False)]
    assert told(("setup", "passed"), ("call", "rerun")) == wanted


def test_an_outcome_that_nobody_knows_is_an_error() -> None:
    phases = [("setup", "passed"), ("call", "exploded"), ("teardown", "passed")]
    assert told(*phases, is_ended=False) == [("error", 1, False)]


@pytest.mark.parametrize("text", ["", "short", "é" * 9, "x" * 10, "é" * 300, "漢" * 7 + "x", "\ud800" * 40])
def test_a_text_is_cut_by_bytes(text: str) -> None:
    is_kept = told_by.cut(text, 20)
    assert len(is_kept.encode("utf-8", "replace")) <= 20
    assert is_kept == text or is_kept.endswith("…")
