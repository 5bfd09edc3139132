"""A module that has no tests here."""

import pytest

pytest.importorskip("no_such_module_here")
