"""What pytest itself says of a run: its JUnit report."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

from .viewer import Run

_RANK = ("passed", "skipped", "failed", "error")
_ELEMENTS = {"skipped": "skipped", "failure": "failed", "error": "error"}


def said_by_pytest(report: Path) -> dict[str, str]:
    """The status of each test. One that fails, and whose teardown does, comes twice: the worst counts."""
    statuses: dict[str, str] = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}".lstrip(".")
        here = [_ELEMENTS[element.tag] for element in case if element.tag in _ELEMENTS]
        statuses[name] = max([statuses.get(name, "passed"), *here], key=_RANK.index)
    return statuses


def said_by_runcast(run: Run) -> dict[str, str]:
    """The same, of what was seen; the names as pytest's report has them."""
    statuses = {_name(test["suite"], test["name"]): test["status"] for test in run.tests}
    assert len(statuses) == len(run.tests)
    return statuses


def _name(suite: str | None, name: str) -> str:
    """https://github.com/pytest-dev/pytest/blob/main/src/_pytest/junitxml.py: mangle_test_address"""
    name, bracket, parameters = name.partition("[")
    parts = [*([suite] if suite else []), *name.split("::")]
    parts[0] = parts[0].replace("/", ".")
    if parts[0].endswith(".py"):
        parts[0] = parts[0][:-3]
    return ".".join(parts) + bracket + parameters


def check_counts(run: Run) -> None:
    """The server's own counts are those of the tests that were seen."""
    counts = Counter(test["status"] for test in run.tests)
    counts["flaky"] = sum(test["flaky"] for test in run.tests)
    counts["total"] = len(run.tests)
    assert run.counts() == {word: count for word, count in counts.items() if count}
