"""What ten thousand tests cost."""

from __future__ import annotations

import json

from .project import Project

# Measures what the plugin takes of the main thread, in its hooks, and its own thread, in seconds; and the
# floor: an id and a line for each of the updates.
MEASURED = """
import hashlib, json, os, threading, time
from pytest_runcast.tests import Tests

taken = [0.0]

def measured(hook):
    def call(self, *arguments, **named):
        began = time.thread_time()
        try:
            return hook(self, *arguments, **named)
        finally:
            taken[0] += time.thread_time() - began
    return call

for name in ("announce", "begin", "report", "end"):
    setattr(Tests, name, measured(getattr(Tests, name)))

def pytest_sessionfinish():
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "runcast")
    sending = time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
    began = time.thread_time()
    for index in range(30_000):
        id = hashlib.sha256(b"test %d" % index).hexdigest()
        update = {"eventId": id, "kind": "test", "id": id, "runId": "run", "status": "passed"}
        json.dumps({**update, "name": "test[%d]" % index, "file": "test_many.py", "line": index})
    floor = time.thread_time() - began
    with open("taken.json", "w") as file:
        json.dump({"hooks": taken[0], "sending": sending, "floor": floor}, file)
"""

MANY = "import pytest\n@pytest.mark.parametrize('n', range(10_000))\ndef test(n): assert n % 1000"


def test_ten_thousand_tests_take_some_times_their_lines(project: Project) -> None:
    # What pytest does besides is not measured here.
    quick = ["-q", "--tb=no", "-rN", *(f"-pno:{it}" for it in ("xdist", "rerunfailures", "logging"))]
    viewer = project.write(conftest=MEASURED, test_many=MANY).watch("job-status")
    result = project.pytest(*quick)
    viewer.wait(lambda: any(state["status"] == "failed" for _, state in viewer.seen()))
    viewer.close()
    state = viewer.seen()[-1][1]
    counts = {word: count for word, count in state["tests"].items() if count}
    assert counts == {"total": 10_000, "passed": 9990, "failed": 10}
    assert "runcast: " not in result.output
    assert result.waited < 2.5
    taken = json.loads((project.folder / "taken.json").read_text())
    # Some 7 times, where this was written.
    assert taken["hooks"] + taken["sending"] < 12 * taken["floor"], taken
