"""Which run this is: as it is named, else as the CI says, else a new one.

The rules are those of `runcast run`; `producers/identity.json` holds both to them.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Optional

Shard = tuple[int, int]

# How long an id is made of what a CI says; longer ones end with a hash.
_MAX_ID_LENGTH = 80


@dataclass(frozen=True)
class Identity:
    """A run, as its producer knows it."""

    run_id: str
    job_id: Optional[str] = None
    name: Optional[str] = None
    url: Optional[str] = None
    labels: dict[str, str] = field(default_factory=dict)
    #: The run that this one repeats.
    rerun_of: Optional[str] = None
    #: Which part of it this is, from 1, and of how many.
    shard: Optional[Shard] = None

    @classmethod
    def of(cls, environment: Mapping[str, str], shard: Optional[Shard] = None) -> Identity:
        """The run that these variables say; `shard` is what the tool itself says of its part."""
        variables = _Variables(environment)
        said = _said(variables)
        identity = _of_ci(replace(said, shard=shard or said.shard)) if said else cls(run_id="", shard=shard)
        named = variables.get("RUNCAST_RUN_ID")
        if named:
            # A name of one's own may be the same for the re-run: nobody knows which it repeats.
            return replace(identity, run_id=named, rerun_of=None, shard=shard or identity.shard)
        if not identity.run_id:
            return replace(identity, run_id=f"local-{secrets.token_hex(8)}")
        return identity

    def of_run(self) -> dict[str, Any]:
        """What the updates of the run say of it."""
        said = {
            "kind": "job",
            "id": self.run_id,
            "jobId": self.job_id,
            "name": self.name,
            "url": self.url,
            "labels": self.labels or None,
            "rerunOf": self.rerun_of,
            "shard": {"index": self.shard[0], "total": self.shard[1]} if self.shard else None,
        }
        return {member: value for member, value in said.items() if value is not None}


def shard_of(text: str) -> Shard:
    """Reads `2/8`; raises ValueError where that is no part of a run."""
    index, slash, total = text.strip().partition("/")
    if slash and index.isdecimal() and total.isdecimal() and 1 <= int(index) <= int(total) <= 1000:
        return int(index), int(total)
    raise ValueError(f"a shard is the number of a part and of how many, like 2/8; not {text!r}")


def id_of(text: str) -> str:
    """An id of any text: `-` for what no id has, and a hash where that, or its end, was lost."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "-", text)[:_MAX_ID_LENGTH]
    if plain == text and plain:
        return plain
    return f"{plain}-{hash_of(text)[:8]}".lstrip("-")


def hash_of(*parts: str) -> str:
    """128 bits of what these parts are, and of where each ends."""
    data = [part.encode("utf-8", "backslashreplace") for part in parts]
    marked = b"".join([b"%d:%b" % (len(part), part) for part in data])
    return hashlib.sha256(marked).hexdigest()[:32]


@dataclass
class _Said:
    """What a CI says of a run. A re-run is a run of its own, with `rerunOf`."""

    ci: str
    #: What is the same for all parts of one run, and for no other run.
    run: list[str]
    name: list[str]
    url: Optional[str]
    branch: Optional[str]
    commit: Optional[str]
    pull_request: Optional[str]
    #: How often it was run, from 1.
    attempt: Optional[int] = None
    #: What follows the attempt in its id.
    job: Optional[str] = None
    shard: Optional[Shard] = None


def _of_ci(said: _Said) -> Identity:
    is_again = said.attempt is not None and said.attempt > 1
    # What is run again of a run in parts is a run of its own: the others are not.
    part = said.shard if is_again else None

    def run_of(attempt: Optional[int]) -> str:
        parts = [said.ci, *said.run]
        if attempt is not None and attempt > 1:
            parts.append(str(attempt))
            if part:
                parts.append(str(part[0]))
        if said.job is not None:
            parts.append(said.job)
        return id_of("-".join(parts))

    name = " / ".join(said.name)
    labels = {
        "ci": said.ci,
        "branch": said.branch,
        "commit": said.commit,
        "pr": said.pull_request,
    }
    return Identity(
        run_id=run_of(said.attempt),
        rerun_of=run_of(said.attempt - 1) if said.attempt is not None and is_again else None,
        job_id=id_of(name) if name else None,
        name=name or None,
        url=said.url,
        labels={label: value for label, value in labels.items() if value is not None},
        shard=None if part else said.shard,
    )


class _Variables:
    """The environment; what is empty is not there."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def get(self, *names: str) -> Optional[str]:
        """The first of these that is there."""
        return next(iter(self.all(*names)), None)

    def all(self, *names: str) -> list[str]:
        """Those that are there."""
        values = (self._environment.get(name) for name in names)
        return [value for value in values if value]

    def has(self, *names: str) -> bool:
        """Whether each of these is there."""
        return len(self.all(*names)) == len(names)

    def number(self, name: str) -> Optional[int]:
        text = self.get(name) or ""
        return int(text) if re.fullmatch(r"\+?[0-9]{1,9}", text, re.ASCII) else None

    def part(self, index: str, first: int, total: str) -> Optional[Shard]:
        """Which part of how many this is, where parts are counted from `first`."""
        at, of = self.number(index), self.number(total)
        if at is None or of is None or at < first:
            return None
        at += 1 - first
        return (at, of) if of > 1 and at <= of else None


def _said(variables: _Variables) -> Optional[_Said]:
    if variables.has("GITHUB_RUN_ID"):
        return _github(variables)
    if variables.has("GITLAB_CI", "CI_PIPELINE_ID"):
        return _gitlab(variables)
    if variables.has("JENKINS_URL", "BUILD_NUMBER"):
        return _jenkins(variables)
    if variables.has("CIRCLECI", "CIRCLE_WORKFLOW_ID"):
        return _circleci(variables)
    if variables.has("BUILDKITE", "BUILDKITE_BUILD_ID"):
        return _buildkite(variables)
    if variables.has("TF_BUILD", "BUILD_BUILDID"):
        return _azure(variables)
    return None


def _github(variables: _Variables) -> _Said:
    """https://docs.github.com/en/actions/reference/workflows-and-actions/variables"""
    run = variables.all("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
    attempt = variables.number("GITHUB_RUN_ATTEMPT")
    url = None
    if len(run) == 3:
        url = "{}/{}/actions/runs/{}/attempts/{}".format(*run, 1 if attempt is None else attempt)
    reference = variables.get("GITHUB_REF") or ""
    pulls = "refs/pull/"
    return _Said(
        ci="github",
        run=variables.all("GITHUB_RUN_ID"),
        attempt=attempt,
        job=variables.get("GITHUB_JOB"),
        name=variables.all("GITHUB_WORKFLOW", "GITHUB_JOB"),
        url=url,
        branch=variables.get("GITHUB_HEAD_REF", "GITHUB_REF_NAME"),
        commit=variables.get("GITHUB_SHA"),
        pull_request=(reference[len(pulls) :].split("/")[0] if reference.startswith(pulls) else None),
    )


def _gitlab(variables: _Variables) -> _Said:
    """https://docs.gitlab.com/ci/variables/predefined_variables/

    A job that is retried has a new `CI_JOB_ID`; the parts of a parallel one have nothing in common
    but the pipeline, and its name without " 1/3".
    """
    shard = variables.part("CI_NODE_INDEX", 1, "CI_NODE_TOTAL")
    job = variables.get("CI_JOB_NAME") or ""
    if shard:
        ending = " {}/{}".format(*shard)
        while job.endswith(ending):
            job = job[: -len(ending)]
        run = [*variables.all("CI_PIPELINE_ID"), job]
    else:
        run = variables.all("CI_PIPELINE_ID", "CI_JOB_ID")
    return _Said(
        ci="gitlab",
        run=run,
        name=[*variables.all("CI_PROJECT_PATH"), job],
        url=variables.get("CI_JOB_URL", "CI_PIPELINE_URL"),
        branch=variables.get("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "CI_COMMIT_REF_NAME"),
        commit=variables.get("CI_COMMIT_SHA"),
        pull_request=variables.get("CI_MERGE_REQUEST_IID"),
        shard=shard,
    )


def _jenkins(variables: _Variables) -> _Said:
    """https://www.jenkins.io/doc/book/pipeline/jenkinsfile/#using-environment-variables"""
    return _Said(
        ci="jenkins",
        run=variables.all("JOB_NAME", "BUILD_NUMBER"),
        name=variables.all("JOB_NAME"),
        url=variables.get("BUILD_URL"),
        branch=variables.get("CHANGE_BRANCH", "GIT_BRANCH"),
        commit=variables.get("GIT_COMMIT"),
        pull_request=variables.get("CHANGE_ID"),
    )


def _circleci(variables: _Variables) -> _Said:
    """https://circleci.com/docs/reference/variables/: a re-run is a new workflow."""
    pull_request = variables.get("CIRCLE_PULL_REQUEST")
    return _Said(
        ci="circleci",
        run=variables.all("CIRCLE_WORKFLOW_ID", "CIRCLE_JOB"),
        name=variables.all("CIRCLE_PROJECT_REPONAME", "CIRCLE_JOB"),
        url=variables.get("CIRCLE_BUILD_URL"),
        branch=variables.get("CIRCLE_BRANCH"),
        commit=variables.get("CIRCLE_SHA1"),
        pull_request=pull_request.rpartition("/")[2] if pull_request else None,
        shard=variables.part("CIRCLE_NODE_INDEX", 0, "CIRCLE_NODE_TOTAL"),
    )


def _buildkite(variables: _Variables) -> _Said:
    """https://buildkite.com/docs/pipelines/configure/environment-variables"""
    retries = variables.number("BUILDKITE_RETRY_COUNT")
    pull_request = variables.get("BUILDKITE_PULL_REQUEST")
    return _Said(
        ci="buildkite",
        run=variables.all("BUILDKITE_BUILD_ID", "BUILDKITE_STEP_ID"),
        attempt=None if retries is None else retries + 1,
        name=variables.all("BUILDKITE_PIPELINE_NAME", "BUILDKITE_LABEL"),
        url=variables.get("BUILDKITE_BUILD_URL"),
        branch=variables.get("BUILDKITE_BRANCH"),
        commit=variables.get("BUILDKITE_COMMIT"),
        pull_request=None if pull_request == "false" else pull_request,
        shard=variables.part("BUILDKITE_PARALLEL_JOB", 0, "BUILDKITE_PARALLEL_JOB_COUNT"),
    )


def _azure(variables: _Variables) -> _Said:
    """https://learn.microsoft.com/azure/devops/pipelines/build/variables"""
    address = variables.all("SYSTEM_COLLECTIONURI", "SYSTEM_TEAMPROJECT", "BUILD_BUILDID")
    url = None
    if len(address) == 3:
        collection, project, build = address
        url = f"{collection}{project.replace(' ', '%20')}/_build/results?buildId={build}"
    return _Said(
        ci="azure",
        run=variables.all("BUILD_BUILDID"),
        attempt=variables.number("SYSTEM_JOBATTEMPT"),
        job=variables.get("SYSTEM_PHASENAME", "SYSTEM_JOBNAME"),
        name=variables.all("BUILD_DEFINITIONNAME", "SYSTEM_PHASENAME"),
        url=url,
        branch=variables.get("SYSTEM_PULLREQUEST_SOURCEBRANCH", "BUILD_SOURCEBRANCHNAME"),
        commit=variables.get("BUILD_SOURCEVERSION"),
        pull_request=variables.get(
            "SYSTEM_PULLREQUEST_PULLREQUESTNUMBER", "SYSTEM_PULLREQUEST_PULLREQUESTID"
        ),
        shard=variables.part("SYSTEM_JOBPOSITIONINPHASE", 1, "SYSTEM_TOTALJOBSINPHASE"),
    )
