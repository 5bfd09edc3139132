"""A folder with tests, and pytest run in it as a user does."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .stack import Stack, environment
from .viewer import Viewer

SUITES = Path(__file__).parent / "suites"


@dataclass
class Result:
    """How a pytest ended."""

    code: int
    output: str
    errors: str
    #: How long the process lived on once pytest itself was through.
    waited: float


class Project:
    """A project, with tests in a folder, and a name of its own in Runcast."""

    def __init__(self, stack: Stack, name: str, folder: Path) -> None:
        self.stack = stack
        self.name = name
        self.folder = folder
        self.report = folder / "junit.xml"
        self.spool = folder / ".runcast"
        (folder / "lives").mkdir(parents=True)
        self.variables: dict[str, Any] = {
            "LIVES": folder / "lives",
            "RUNCAST_URL": stack.url,
            "RUNCAST_TOKEN": stack.write_token(name),
            "RUNCAST_PROJECT": name,
        }

    def use(self, suite: str) -> Project:
        """Takes the tests of a folder of `suites`."""
        shutil.copytree(SUITES / suite, self.folder, dirs_exist_ok=True)
        return self

    def write(self, **files: str) -> Project:
        """Writes modules."""
        for name, text in files.items():
            (self.folder / f"{name}.py").write_text(text, encoding="utf-8")
        return self

    def run(self, name: str) -> str:
        """A run's id that no other project here has."""
        return f"{self.name}-{name}"

    def watch(self, *functions: str) -> Viewer:
        return Viewer(self.stack, self.name, functions or ("job-status", "test-status"))

    def start(
        self, *arguments: str, before: tuple[str, ...] = (), **variables: Any
    ) -> subprocess.Popen[str]:
        wanted = {**self.variables, **variables}
        said = {name: value for name, value in wanted.items() if value is not None}
        report = f"--junit-xml={self.report}"
        pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", report, *arguments]
        return subprocess.Popen(
            [*before, *pytest],
            cwd=self.folder,
            env=environment(**said, PYTHONDONTWRITEBYTECODE=1),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            # A group of its own, as of a terminal, whose Ctrl-C reaches all of it.
            start_new_session=True,
            # These tests may run in the background of a shell, where it is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def pytest(self, *arguments: str, **more: Any) -> Result:
        return self.result(self.start(*arguments, **more))

    def result(self, process: subprocess.Popen[str]) -> Result:
        """Waits for its end."""
        through = time.monotonic()
        assert process.stdout is not None
        assert process.stderr is not None
        errors: list[str] = []
        reading = threading.Thread(target=lambda: errors.extend(process.stderr or ()))
        reading.start()
        output = ""
        for line in process.stdout:
            output += line
            if not line.startswith("runcast: "):
                through = time.monotonic()
        code = process.wait(100)
        reading.join()
        return Result(code, output, "".join(errors), time.monotonic() - through)

    def spooled(self) -> list[Path]:
        return sorted(self.spool.glob("*.jsonl"))
