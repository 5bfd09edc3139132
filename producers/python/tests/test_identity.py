"""Which run it is: as `producers/identity.json` says, which holds for `runcast run`, too."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pytest_runcast.identity import Identity, hash_of, id_of, shard_of

from .project import Project
from .stack import RUNCAST, environment
from .viewer import ENDED, Viewer

CASES = json.loads((Path(__file__).parents[2] / "identity.json").read_text(encoding="utf-8"))["cases"]


def matches(run_id: str, wanted: str) -> bool:
    return re.fullmatch(re.escape(wanted).replace(r"\*", "[0-9a-f]{16}"), run_id) is not None


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_run_is_what_the_environment_says(case: dict[str, Any]) -> None:
    shard = case.get("shard")
    identity = Identity.of(case["environment"], tuple(shard) if shard else None)
    wanted = dict(case["identity"])
    assert matches(identity.run_id, wanted.pop("runId"))
    assert {
        "jobId": identity.job_id,
        "name": identity.name,
        "url": identity.url,
        "labels": identity.labels,
        "rerunOf": identity.rerun_of,
        "shard": list(identity.shard) if identity.shard else None,
    } == wanted


def test_runcast_run_says_the_same(project: Project, viewer: Viewer) -> None:
    token = project.variables["RUNCAST_TOKEN"]
    for case in CASES:
        said = {**case["environment"], "RUNCAST_URL": project.stack.url, "RUNCAST_TOKEN": token}
        if "RUNCAST_RUN_ID" in case["environment"]:
            continue
        shard = case.get("shard")
        option = ["--shard", "{}/{}".format(*shard)] if shard else []
        command = [str(RUNCAST), "run", *option, "true"]
        subprocess.run(command, env=environment(**said), check=True, capture_output=True)
    wanted = [case["identity"] for case in CASES if "RUNCAST_RUN_ID" not in case["environment"]]

    def find(identity: dict[str, Any]) -> dict[str, Any] | None:
        runs = (states[-1] for states in viewer.histories("job").values())
        shard = identity["shard"]
        for run in runs:
            is_of_it = matches(run["runId"], identity["runId"])
            if is_of_it and (shard or run["status"] in ENDED):
                return run
        return None

    assert viewer.wait(lambda: all(find(identity) for identity in wanted))
    # Where two are parts of one run, it has what the last of them says.
    last = {identity["runId"]: identity for identity in wanted}
    for identity in last.values():
        run = find(identity)
        assert run is not None
        for member in ("jobId", "name", "url", "rerunOf"):
            assert run[member] == identity[member], identity
        assert (run["labels"] or {}) == identity["labels"]
        total = run["shards"]["total"] if run["shards"] else None
        assert total == (identity["shard"][1] if identity["shard"] else None)


@pytest.mark.parametrize("text", ["a b", "a/b", "ä", "", "a-b", "x" * 300, "-" * 90, "\ud800"])
def test_an_id_of_any_text_is_an_id(text: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,128}", id_of(text))


def test_none_is_anothers() -> None:
    assert id_of("a-b") == "a-b"
    assert len({id_of("a b"), id_of("a/b"), id_of("x" * 300), id_of("x" * 301)}) == 4
    assert hash_of("a", "bc") != hash_of("ab", "c")


def test_a_shard_is_a_part_of_how_many() -> None:
    assert shard_of("2/8") == (2, 8)
    for text in ("", "2", "0/8", "9/8", "1/1001", "a/b", "2/8/1", "-1/2"):
        with pytest.raises(ValueError, match="like 2/8"):
            shard_of(text)
