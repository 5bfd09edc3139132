from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from .project import Project
from .stack import Stack
from .viewer import Viewer

collect_ignore = ["suites"]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("stack") / "up.log")
    yield stack
    stack.end()


@pytest.fixture
def project(stack: Stack, tmp_path: Path) -> Project:
    return Project(stack, f"p{secrets.token_hex(6)}", tmp_path / "project")


@pytest.fixture
def viewer(project: Project) -> Iterator[Viewer]:
    viewer = project.watch()
    yield viewer
    viewer.close()
