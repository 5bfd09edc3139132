"""What could not be sent, kept in files until it is: one update a line, as `runcast import` reads."""

from __future__ import annotations

import os
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Optional

# How many files are kept; the oldest go first.
MAX_FILES = 10

# Kept before a test can replace it.
_now = (time.time,)


class Spool:
    """The files in a folder that are for one destination; what is for another is left alone."""

    def __init__(self, folder: Path, destination: str) -> None:
        self._folder = folder
        self._destination = destination
        self._file: Optional[Path] = None
        self._lines: list[bytes] = []
        self._files: Optional[list[Path]] = None
        #: How many of its updates have arrived.
        self.sent = 0

    def keep(self, lines: list[bytes]) -> Path:
        """Writes a file of updates; raises OSError where that does not go."""
        self._folder.mkdir(parents=True, exist_ok=True)
        ignore = self._folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
        name = f"{self._destination}-{_now[0]() * 1000:.0f}-{secrets.token_hex(4)}.jsonl"
        file = self._folder / name
        _write(file, lines)
        for old in self._kept()[:-MAX_FILES]:
            old.unlink(missing_ok=True)
        return file

    def take(self, at_most: int, at_most_bytes: int) -> list[bytes]:
        """The next updates that an earlier process left; none once all are sent."""
        while not self._lines:
            if self._files is None:
                self._files = self._kept()
            if not self._files:
                return []
            self._file = self._files.pop(0)
            # Another process may have sent it.
            with suppress(OSError):
                self._lines = [line for line in self._file.read_bytes().splitlines() if line]
        taken: list[bytes] = []
        taken_bytes = 0
        for line in self._lines[:at_most]:
            taken_bytes += len(line) + 1
            if taken and taken_bytes > at_most_bytes:
                break
            taken.append(line)
        return taken

    def arrived(self, count: int) -> None:
        """The first so many of them are sent; their file goes with its last one."""
        self.sent += count
        self._lines = self._lines[count:]
        if not self._lines and self._file is not None:
            with suppress(OSError):
                self._file.unlink()

    def close(self) -> None:
        """Leaves to the next process what is not sent of a file."""
        if self._lines and self._file is not None and self._file.exists():
            _write(self._file, self._lines)

    def _kept(self) -> list[Path]:
        return sorted(self._folder.glob(f"{self._destination}-*.jsonl"))


def _write(file: Path, lines: list[bytes]) -> None:
    """Whole or not at all, and for its owner only: errors may tell what is not for others."""
    unfinished = file.with_suffix(f".{os.getpid()}.tmp")
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.writelines(line + b"\n" for line in lines)
    unfinished.replace(file)
