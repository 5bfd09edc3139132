"""Several pytests that are parts of one run."""

from __future__ import annotations

from .project import Project
from .viewer import Viewer

PARTS = """
import os, pytest, time
index = int(os.environ["PART"])
@pytest.mark.parametrize("n", range(5))
def test_of_part(n): assert (index, n) != (3, 2)
def test_of_each(): pass
"""


def test_eight_at_once_are_one_run(project: Project, viewer: Viewer) -> None:
    project.write(test_part=PARTS)
    run_id = project.run("shards")
    parts = [
        project.start(
            *(["--runcast-shard=8/8"] if part == 8 else []),
            PART=part,
            RUNCAST_RUN_ID=run_id,
            RUNCAST_SHARD=f"{min(part, 7)}/8",
        )
        for part in range(1, 9)
    ]
    codes = [project.result(part).code for part in parts]
    assert codes == [0, 0, 1, 0, 0, 0, 0, 0]
    run = viewer.ended(run_id)
    assert run.state["status"] == "failed"
    assert run.state["shards"] == {"total": 8, "ended": 8}
    # Also the test that each of them runs is one for each.
    assert run.counts() == {"total": 48, "passed": 47, "failed": 1}
    assert {test["labels"]["shard"] for test in run.tests} == {f"{part}/8" for part in range(1, 9)}
    ends = [state["shards"]["ended"] for state in run.history]
    assert ends == sorted(ends)
    assert all(state["status"] == "running" for state in run.history if state["shards"]["ended"] < 8)


def test_what_is_no_shard_is_told(project: Project) -> None:
    result = project.write(test_a="def test(): pass").pytest("--runcast-shard=9/8")
    assert result.code == 4
    assert "--runcast-shard: a shard is the number of a part and of how many, like 2/8" in result.errors
    # A variable breaks no tests.
    assert project.pytest(RUNCAST_SHARD="9/8").code == 0
