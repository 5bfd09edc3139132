"""The real stack: `runcast up`, and its tokens."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
RUNCAST = Path(os.environ.get("RUNCAST_BIN") or ROOT / "target/debug/runcast").absolute()


class Stack:
    """A stack of its own, on a free port; it ends when this process does."""

    def __init__(self, log_file: Path, **variables: str) -> None:
        arguments = ["up", "--port", "0", "--end-with-stdin"]
        with log_file.open("wb") as log:
            self._process = subprocess.Popen(
                [RUNCAST, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(UPDATES_PER_MINUTE=1_000_000, CONNECTS_PER_MINUTE=10_000, **variables),
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, log_file.read_text()
        ready = json.loads(line)
        self.url: str = ready["url"]
        self.read_token: str = ready["token"]

    def write_token(self, project: str) -> str:
        """A machine's token: for writing only, for one project."""
        request = {"org": "demo", "projects": [project], "scope": ["status:write"]}
        body = json.dumps({**request, "ttlSeconds": 600}).encode()
        address = urllib.request.Request(
            f"{self.url}/_local/token", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(address) as answer:
            token = json.load(answer)["token"]
        assert isinstance(token, str)
        return token

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def environment(**variables: Any) -> dict[str, str]:
    """The environment of a process that is started here: nothing of the CI's, or of pytest's own."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, **{name: str(value) for name, value in variables.items()}}
