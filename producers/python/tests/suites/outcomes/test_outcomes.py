"""Every way for a test to end. Run by the tests of the plugin, not with them."""

import os
import signal
import time
from pathlib import Path

import pytest

LIVES = Path(os.environ.get("LIVES", "."))


def test_passes():
    pass


def test_fails():
    wanted = 200
    assert wanted == 503, "the server is gone"


@pytest.mark.skip(reason="not on this machine")
def test_is_skipped():
    raise AssertionError


def test_skips_itself():
    pytest.skip("no such device")


@pytest.mark.xfail(reason="to do")
def test_to_do():
    raise AssertionError


@pytest.mark.xfail(reason="was to do")
def test_done_unexpectedly():
    pass


@pytest.mark.xfail(reason="must fail", strict=True)
def test_passes_where_it_must_not():
    pass


def test_times_out():
    def give_up(number, frame):
        raise TimeoutError("took more than 0.2 s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        time.sleep(30)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def lives(name):
    """How often this was called, over all processes."""
    with open(LIVES / name, "ab") as file:
        file.write(b".")
        return file.tell()


@pytest.mark.flaky(reruns=2)
def test_passes_at_last():
    assert lives("passes") == 3, "not yet"


@pytest.mark.flaky(reruns=1)
def test_fails_again():
    raise ValueError("for good")


@pytest.mark.flaky(reruns=1)
def test_is_skipped_at_last():
    if lives("skipped") == 1:
        raise AssertionError
    pytest.skip("had enough")


@pytest.mark.parametrize("value", [1, 2, "a/b", "größer ≥ 漢字", "a::b[c]", "\ud800", "", pytest.param(0, id="x" * 600)])
def test_of_many(value):
    assert value != 2


class TestOne:
    def test_same_title(self):
        pass


class TestOther:
    def test_same_title(self):
        raise AssertionError


def test_größe_漢字():
    pass


def test_says_a_megabyte():
    raise ValueError("é" * 500_000 + "\n" + "y" * 500_000)


@pytest.fixture
def broken():
    raise RuntimeError("no database")


@pytest.fixture
def breaks():
    yield
    raise RuntimeError("cannot clean up")


def test_of_a_broken_fixture(broken):
    pass


def test_whose_fixture_breaks(breaks):
    pass


def test_that_fails_and_whose_fixture_breaks(breaks):
    raise AssertionError


def test_with_parts(subtests):
    for number in range(4):
        with subtests.test(number=number):
            assert number != 2
    with subtests.test("skipped"):
        pytest.skip("this part only")


def test_with_parts_that_pass(subtests):
    with subtests.test("one"):
        pass
    with subtests.test("skipped"):
        pytest.skip("this part only")
