"""A run of everything: what a viewer saw is what pytest says."""

from __future__ import annotations

import os

from .junit import check_counts, said_by_pytest, said_by_runcast
from .project import Project
from .viewer import Viewer


def test_every_test_ends_as_pytest_says(project: Project, viewer: Viewer) -> None:
    result = project.use("outcomes").pytest()
    run = viewer.ended()
    assert result.code == 1, result.output
    assert run.state["status"] == "failed"
    said = said_by_pytest(project.report)
    # What is not cut: the name of one is longer than a name is here.
    long = next(name for name in said if "xxx" in name)
    assert said.pop(long) == "passed"
    seen = said_by_runcast(run)
    assert seen.pop(next(name for name in seen if "xxx" in name)) == "passed"
    # There it is one, as one of its parts was skipped; pytest's own count has it as passed.
    assert said.pop("test_outcomes.test_with_parts_that_pass") == "skipped"
    assert seen.pop("test_outcomes.test_with_parts_that_pass") == "passed"
    assert seen == said
    check_counts(run)
    assert f"runcast: watch this run at {project.stack.url}/#/runs/{run.state['runId']}" in result.output


def test_attempts_are_attempts(project: Project, viewer: Viewer) -> None:
    project.use("outcomes").pytest("-k", "last or again")
    run = viewer.ended()
    flaky = run.test("test_passes_at_last")
    assert (flaky["status"], flaky["attempt"], flaky["flaky"]) == ("passed", 3, True)
    assert [(it["attempt"], it["status"], it["error"]) for it in flaky["attempts"]] == [
        (1, "failed", "AssertionError: not yet"),
        (2, "failed", "AssertionError: not yet"),
    ]
    failed = run.test("test_fails_again")
    assert (failed["status"], failed["attempt"], failed["flaky"]) == ("failed", 2, False)
    assert failed["error"].startswith("ValueError: for good\n")
    assert run.test("test_is_skipped_at_last")["status"] == "skipped"
    assert run.statuses("test_fails_again") == ["waiting", "running", "waiting", "running", "failed"]


def test_a_viewer_sees_each_test_wait_run_and_end(project: Project, viewer: Viewer) -> None:
    project.use("outcomes").pytest("test_outcomes.py", "-k", "passes or fixture or skips_itself")
    run = viewer.ended()
    for name, end in {
        "test_passes": "passed",
        "test_skips_itself": "skipped",
        "test_of_a_broken_fixture": "error",
        "test_whose_fixture_breaks": "error",
        "test_that_fails_and_whose_fixture_breaks": "error",
    }.items():
        assert run.statuses(name) == ["waiting", "running", end]
    assert [run.history[0]["status"], run.state["status"]] == ["running", "failed"]
    assert run.test("test_whose_fixture_breaks")["error"].startswith("RuntimeError: cannot clean up\n")


def test_what_a_test_is_called_and_where_it_stands(project: Project, viewer: Viewer) -> None:
    ci = {"GITHUB_RUN_ID": 7, "GITHUB_JOB": "unit", "GITHUB_SHA": "c0ffee", "GITHUB_REF_NAME": "main"}
    project.use("outcomes").pytest("-k", "same_title or größe or of_many or to_do or passes", **ci)
    run = viewer.ended()
    assert run.state["runId"] == "github-7-unit"
    labels = {"ci": "github", "branch": "main", "commit": "c0ffee"}
    assert run.state["labels"] == labels
    one, other = (run.test(f"Test{it}::test_same_title") for it in ("One", "Other"))
    assert (one["status"], other["status"]) == ("passed", "failed")
    text = (project.folder / "test_outcomes.py").read_text(encoding="utf-8").splitlines()
    for test in run.tests:
        if test["name"] == "test_of_another_system.py":
            assert (test["file"], test["suite"], test["line"]) == (test["name"], None, None)
            continue
        file = "again/test_outcomes.py" if "again" in test["file"] else "test_outcomes.py"
        assert (test["file"], test["suite"], test["labels"]) == (file, file, labels)
        if file == "test_outcomes.py":
            beside = "\n".join(text[test["line"] - 1 : test["line"] + 3])
            assert test["name"].partition("[")[0].split("::")[-1] in beside
    assert run.test("test_größe_漢字")["status"] == "passed"
    assert run.test(r"test_of_many[gr\xf6\xdfer \u2265 \u6f22\u5b57]")["status"] == "passed"
    (long,) = (test for test in run.tests if "xxx" in test["name"])
    assert len(long["name"].encode()) <= 512
    assert long["name"].endswith("…")


def test_a_megabyte_of_an_error_is_cut(project: Project, viewer: Viewer) -> None:
    project.use("outcomes").pytest("-k", "megabyte")
    error = viewer.ended().test("test_says_a_megabyte")["error"]
    assert error.startswith("ValueError: ééé")
    assert "def test_says_a_megabyte" in error
    assert 15_000 < len(error.encode()) <= 16_384
    assert error.endswith("…")


def test_tests_collected_twice_are_two(project: Project, viewer: Viewer) -> None:
    project.write(test_a="def test_one(): pass").pytest("test_a.py", "test_a.py", "--keep-duplicates")
    run = viewer.ended()
    assert [test["name"] for test in run.tests] == ["test_one", "test_one"]
    assert all(
        [state["status"] for state in states] == ["waiting", "running", "passed"]
        for states in run.histories
    )


def test_each_state_comes_while_the_tests_run(project: Project, viewer: Viewer) -> None:
    slow = "import pytest, time\n@pytest.mark.parametrize('n', range(6))\ndef test(n): time.sleep(0.5)"
    project.write(test_slow=slow).pytest()
    viewer.ended()
    seen = [(at, state) for at, state in viewer.seen() if state["kind"] == "test"]
    came = {(state["name"], state["status"]): at for at, state in seen}
    for number in range(6):
        assert came[f"test[{number}]", "running"] < came[f"test[{number}]", "passed"]
        # Not all at the end, nor one long after the other.
        if number < 5:
            assert came[f"test[{number}]", "passed"] < came[f"test[{number + 1}]", "passed"] - 0.2


def test_what_a_test_prints_is_as_without(project: Project) -> None:
    project.use("outcomes")
    # Times and ids differ from run to run.
    arguments = ("-p", "no:randomly", "-q", "-rN", "--tb=line", "--no-header")
    with_it = project.pytest(*arguments)
    for life in (project.folder / "lives").iterdir():
        life.unlink()
    without = project.pytest(*arguments, "-p", "no:runcast")
    strip = " in ".join
    assert (with_it.code, with_it.errors) == (without.code, without.errors)
    assert strip(with_it.output.split(" in ")[:-1]) == strip(without.output.split(" in ")[:-1])
    assert os.path.exists(project.report)
