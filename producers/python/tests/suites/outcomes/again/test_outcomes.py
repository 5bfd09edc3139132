"""A file of the same name, with a test of the same name."""

import unittest


def test_passes():
    pass


class TestOfUnittest(unittest.TestCase):
    def test_passes(self):
        pass

    @unittest.skip("later")
    def test_is_skipped(self):
        pass

    @unittest.expectedFailure
    def test_to_do(self):
        self.fail()
