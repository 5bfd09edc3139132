"""The GitHub action and the GitLab snippet: their own steps, run here against the real stack."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .project import Project
from .stack import ROOT, RUNCAST, Stack, environment
from .viewer import Viewer

ACTION = ROOT / "producers/github/action.yml"
SNIPPET = ROOT / "producers/gitlab/runcast.yml"
GITHUB = {"GITHUB_RUN_ID": "17", "GITHUB_JOB": "unit", "GITHUB_WORKFLOW": "Tests"}

# https://docs.github.com/en/actions/reference/workflows-and-actions/metadata-syntax
STEP = {"id", "if", "name", "run", "shell", "env", "uses", "with", "working-directory", "continue-on-error"}


class Action:
    """Runs the action's own steps, as GitHub's runner does."""

    def __init__(self, folder: Path, path: str) -> None:
        self.folder = folder
        self.document = yaml.safe_load(ACTION.read_text())
        self.summary = folder / "summary.md"
        self._path = path
        self._steps: dict[str, dict[str, str]] = {}

    def run(self, **inputs: str) -> subprocess.CompletedProcess[str]:
        """The last step that ran."""
        known = self.document["inputs"]
        assert set(inputs) <= {name.replace("-", "_") for name in known}
        values = {
            name: inputs.get(name.replace("-", "_"), it.get("default", "")) for name, it in known.items()
        }
        done = None
        for step in self.document["runs"]["steps"]:
            # Where runcast is found, the two that build it are passed over.
            if "if" in step:
                assert step["if"].startswith("steps.find.outputs.path == ''")
                if self._steps["find"]["path"]:
                    continue
            if "uses" in step or "cargo" in step["run"]:
                continue
            done = self._step(step, values)
            if done.returncode != 0:
                break
        assert done is not None
        return done

    def _step(self, step: dict[str, Any], inputs: dict[str, str]) -> subprocess.CompletedProcess[str]:
        output = self.folder / "output"
        output.write_text("")
        said = {name: self._value(value, inputs) for name, value in step.get("env", {}).items()}
        variables = {
            **GITHUB,
            "GITHUB_ACTION_PATH": str(ACTION.parent),
            "GITHUB_OUTPUT": str(output),
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "RUNNER_TEMP": str(self.folder),
            "PATH": self._path,
        }
        script = self.folder / "step.sh"
        script.write_text(step["run"])
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", script],
            cwd=self.folder / self._value(step.get("working-directory", "."), inputs),
            env={**environment(**variables), **said},
            capture_output=True,
            text=True,
        )
        lines = (line.partition("=") for line in output.read_text().splitlines())
        self._steps[step.get("id", "")] = {name: value for name, _, value in lines}
        return done

    def _value(self, text: str, inputs: dict[str, str]) -> str:
        """What an expression is, of those that stand in the action."""

        def value(match: re.Match[str]) -> str:
            expression = match[1]
            if expression.startswith("inputs."):
                return inputs[expression[len("inputs.") :]]
            built = f"{self.folder}/runcast/bin/runcast"
            assert expression.startswith("steps.find.outputs.path || format('{0}/runcast/bin/runcast'")
            return self._steps["find"]["path"] or built

        return re.sub(r"\$\{\{ (.+?) \}\}", value, text)

    def output(self, name: str) -> str:
        expression = self.document["outputs"][name]["value"]
        match = re.fullmatch(r"\$\{\{ steps\.(\w+)\.outputs\.([\w-]+) \}\}", expression)
        assert match is not None
        return self._steps[match[1]].get(match[2], "")


def path_with_runcast() -> str:
    return f"{RUNCAST.parent}:{os.environ['PATH']}"


@pytest.fixture
def action(tmp_path: Path) -> Action:
    return Action(tmp_path, path_with_runcast())


def inputs_of(project: Project) -> dict[str, str]:
    return {"url": project.stack.url, "token": project.variables["RUNCAST_TOKEN"], "run": project.run("ci")}


def test_the_action_is_one() -> None:
    document = yaml.safe_load(ACTION.read_text())
    assert set(document) == {"name", "description", "branding", "inputs", "outputs", "runs"}
    assert set(document["branding"]) == {"icon", "color"}
    for it in document["inputs"].values():
        assert {"description"} <= set(it) <= {"description", "required", "default"}
    for it in document["outputs"].values():
        assert set(it) == {"description", "value"}
    runs = document["runs"]
    assert (set(runs), runs["using"]) == ({"using", "steps"}, "composite")
    for step in runs["steps"]:
        assert set(step) <= STEP
        assert ("run" in step) != ("uses" in step)
        assert ("run" in step) == ("shell" in step)
        # What an input says is never a part of a script, but a variable.
        assert "${{" not in step.get("run", "")
    assert (ROOT / "local/Cargo.toml").read_text().startswith('[package]\nname = "runcast"\n')
    for script in ACTION.parent.glob("*.sh"):
        assert os.access(script, os.X_OK)
        subprocess.run(["bash", "-n", script], check=True)


def test_the_command_is_run_and_shown(action: Action, project: Project, viewer: Viewer) -> None:
    command = 'echo "run $RUNCAST_RUN_ID, key ${RUNCAST_SIGNING_KEY-none}"; false | true'
    done = action.run(command=command, name='It\'s "$(one)"', **inputs_of(project))
    run = viewer.ended()
    # As GitHub's own bash does it: of a pipe, the first that fails.
    assert (done.returncode, run.state["status"], run.state["name"]) == (1, "failed", 'It\'s "$(one)"')
    assert done.stdout == f"run {project.run('ci')}, key none\n"
    page = f"{project.stack.url}/#/runs/{project.run('ci')}"
    assert action.summary.read_text() == f"[Watch this run in Runcast]({page})\n\n"
    assert (action.output("page"), action.output("run-id")) == (page, project.run("ci"))


def test_results_become_tests(action: Action, project: Project, viewer: Viewer) -> None:
    shutil.copy(ROOT / "tests/results/pytest.xml", action.folder / "report.txt")
    command = "cp report.txt report.xml"
    done = action.run(command=command, results="*.xml", shard="1/1", **inputs_of(project))
    assert done.returncode == 0, done.stderr
    run = viewer.ended()
    assert run.state["shards"] == {"total": 1, "ended": 1}
    assert run.counts()["total"] > 3


def test_pytest_within_the_action_is_one_run(action: Action, project: Project, viewer: Viewer) -> None:
    (action.folder / "test_a.py").write_text("def test_one(): pass\ndef test_two(): assert False")
    command = f"{sys.executable} -m pytest -q"
    done = action.run(command=command, shard="1/2", **inputs_of(project))
    assert done.returncode == 1
    again = Action(action.folder, path_with_runcast())
    assert again.run(command=command, shard="2/2", **inputs_of(project)).returncode == 1
    run = viewer.ended()
    assert run.state["shards"] == {"total": 2, "ended": 2}
    # The same tests in both are two each.
    assert run.counts() == {"total": 4, "passed": 2, "failed": 2}


@pytest.mark.parametrize("without", ["token", "runcast"])
def test_without_a_token_or_a_binary_the_command_runs(
    without: str, tmp_path: Path, project: Project
) -> None:
    path = os.environ["PATH"] if without == "runcast" else path_with_runcast()
    action = Action(tmp_path, path)
    inputs = inputs_of(project)
    if without == "token":
        inputs["token"] = ""
    done = action.run(command="echo it runs ${RUNCAST_URL-unwatched}; exit 3", **inputs)
    assert done.returncode == 3
    assert done.stdout.startswith("::notice title=Runcast::")
    assert done.stdout.endswith("it runs unwatched\n")


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, str]]:
    """A stack that takes tokens of a key of its own, and that key."""
    secret = base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
    key = {"kty": "oct", "kid": "ci", "alg": "HS256", "k": secret}
    log = tmp_path_factory.mktemp("signing") / "up.log"
    stack = Stack(log, AUTH_JWKS=json.dumps({"keys": [key]}))
    yield stack, json.dumps(key)
    stack.end()


def test_a_token_is_signed_for_the_run(signing: tuple[Stack, str], action: Action, tmp_path: Path) -> None:
    stack, key = signing
    project = Project(stack, f"p{secrets.token_hex(6)}", tmp_path / "project")
    viewer = project.watch()
    signed = {"signing_key": key, "organization": "demo", "issuer": "runcast-local", "audience": "runcast"}
    inputs = {**inputs_of(project), **signed, "token": "", "project": project.name}
    done = action.run(command="echo $RUNCAST_TOKEN", **inputs)
    assert done.returncode == 0
    mask, token = done.stdout.splitlines()
    assert mask == f"::add-mask::{token}"
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert (claims["scope"], claims["projects"]) == ("status:write", [project.name])
    assert claims["exp"] - claims["iat"] == 7200
    assert viewer.ended().state["status"] == "passed"
    viewer.close()
    # Where it cannot be signed, the command runs.
    inputs["organization"] = ""
    done = action.run(command="echo it runs", **inputs)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "it runs")
    assert "there is no org" in done.stderr


@pytest.mark.parametrize("kty", ["OKP", "EC", "RSA"])
def test_tokens_of_each_kind_of_key(kty: str) -> None:
    """Signed by one, checked by the other: node's own crypto, with the public half."""
    kind = {"OKP": "'ed25519'", "EC": "'ec', {namedCurve: 'P-256'}", "RSA": "'rsa', {modulusLength: 2048}"}[
        kty
    ]
    made = f"import {{generateKeyPairSync as make}} from 'node:crypto'; const p = make({kind}).privateKey;"
    made += "console.log(JSON.stringify(p.export({format: 'jwk'})))"
    key = node(made)
    said = {"ISSUER": "i", "AUDIENCE": "a", "ORGANIZATION": "o", "RUNCAST_PROJECT": "p"}
    token = subprocess.run(
        ["node", ACTION.parent / "token.mjs"],
        env=environment(RUNCAST_SIGNING_KEY=key, **said),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    content, _, signature = token.rpartition(".")
    algorithm = "null" if kty == "OKP" else "'sha256'"
    check = (
        "import {createPublicKey as of, verify} from 'node:crypto';"
        f"const key = of({{key: {key}, format: 'jwk'}});"
        f"console.log(verify({algorithm}, Buffer.from('{content}'), {{key, dsaEncoding: 'ieee-p1363'}},"
        f" Buffer.from('{signature}', 'base64url')))"
    )
    assert node(check) == "true"


def node(script: str) -> str:
    command = ["node", "--input-type=module", "-e", script]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("is_watched", [True, False])
def test_the_gitlab_snippet(is_watched: bool, tmp_path: Path, project: Project, viewer: Viewer) -> None:
    (job,) = yaml.safe_load(SNIPPET.read_text()).values()
    assert set(job) == {"before_script", "artifacts"}
    assert job["artifacts"] == {"when": "always", "reports": {"annotations": "runcast.json"}}
    lines = [*job["before_script"], 'watched sh -c "echo \\"it runs\\"; exit 3"']
    gitlab = {"GITLAB_CI": "true", "CI_PIPELINE_ID": project.name, "CI_JOB_ID": "5", "CI_JOB_NAME": "unit"}
    variables = {**project.variables, **gitlab, "PATH": path_with_runcast()}
    if not is_watched:
        del variables["RUNCAST_TOKEN"]
    # GitLab's runner takes sh where an image has no bash.
    for shell in ("bash", "sh") if is_watched else ("sh",):
        variables["CI_JOB_ID"] = shell
        done = subprocess.run(
            [shell, "-e", "-c", "\n".join(lines)],
            cwd=tmp_path,
            env=environment(**variables),
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout.splitlines()[-1]) == (3, "it runs")
        if not is_watched:
            assert not (tmp_path / "runcast.json").exists()
            continue
        run = viewer.ended(f"gitlab-{project.name}-{shell}")
        assert run.state["status"] == "failed"
        (link,) = json.loads((tmp_path / "runcast.json").read_text())["Runcast"]
        assert link["external_link"]["url"] == f"{project.stack.url}/#/runs/{run.state['runId']}"
