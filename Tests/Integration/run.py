#!/usr/bin/env python3
"""Runs all integration tests, as many files at once as there are processors, beside those that only wait; arguments select
them as `python3 -m unittest` takes them, for example `test_resume`, and are run one after the other.

Each file is a process of its own, with scratch folders of its own. What it prints comes when it ends. `DROVER_TEST_JOBS=1`
runs one file at a time. Ends with the files that took longest and a last line `N passed, N failed`; the exit code is 0 only if
all passed.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
COUNTS = re.compile(rb"^(\d+) passed, (\d+) failed$")
# Those that wait for other programs' clocks, and take no processor from the rest.
WAITING = ("test_slurm",)
# Those that take longest begin first, so that none is left over at the end.
LONGEST = (
    "test_archive_damage", "test_labs", "test_archive_scale", "test_archive_resume", "test_packaging",
    "test_hostile_headers", "test_archive_roundtrip", "test_limits", "test_random_chains", "test_crash_matrix", "test_qcow2",
    "test_resume", "test_uml_guest", "test_in_place", "test_remote", "test_make", "test_fleet",
)


class CountingResult(unittest.TextTestResult):
    """Counts the tests that passed; one with a failed part did not."""

    passed = 0

    def _exc_info_to_string(self, error, test):
        """Of what the machine lacks one line says all."""
        kind, reason, _ = error
        return f"{reason}\n" if kind.__name__ == "Missing" else super()._exc_info_to_string(error, test)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1


def run_here(names):
    """Runs the named tests in this process."""
    # What nohup or a shell's background job has ignored would be ignored by every Drover of the tests, too.
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path.insert(0, str(HERE))
    # For the processes that a test starts, too.
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(HERE.parent.parent / ".build" / "pycache")
    tests = unittest.TestLoader().loadTestsFromNames(names)
    result = unittest.TextTestRunner(verbosity=2, resultclass=CountingResult).run(tests)
    broken = {test.id().split(" ")[0] for test, _ in result.failures + result.errors}
    failed = len(broken) + len(result.skipped) + len(result.unexpectedSuccesses)
    print(f"{result.passed} passed, {failed} failed", flush=True)
    return 0 if failed == 0 and result.passed else 1


class FileRuns:
    """Files that are run, each in a process; what they counted, and how long they took."""

    def __init__(self):
        self.passed = self.failed = 0
        self.seconds = {}
        self.lock = threading.Lock()

    def run(self, name):
        began = time.monotonic()
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                [sys.executable, __file__, name], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            _, status, usage = os.wait4(process.pid, 0)
            code = process.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            text = output.read()
        counts = COUNTS.match(text.splitlines()[-1]) if text.strip() else None
        passed, failed = (int(counts[1]), int(counts[2])) if counts else (0, 0)
        if code != 0 and failed == 0:
            failed = 1
        with self.lock:
            self.passed += passed
            self.failed += failed
            self.seconds[name] = (time.monotonic() - began, usage.ru_utime + usage.ru_stime)
            sys.stdout.buffer.write(text)
            sys.stdout.buffer.flush()

    def begin(self, names, jobs):
        """Runs `jobs` of the names at a time; returns the threads that do."""
        left = list(reversed(names))

        def work():
            while True:
                with self.lock:
                    if not left:
                        return
                    name = left.pop()
                self.run(name)

        workers = [threading.Thread(target=work) for _ in range(jobs)]
        for worker in workers:
            worker.start()
        return workers


def main(names):
    if names:
        return run_here(names)
    files = [path.stem for path in sorted(HERE.glob("test_*.py"))]
    first = WAITING + LONGEST
    missing = [name for name in first if name not in files]
    assert not missing, f"there is no {missing}"
    files.sort(key=lambda name: first.index(name) if name in first else len(first))
    jobs = int(os.environ.get("DROVER_TEST_JOBS") or os.cpu_count())
    waiting = [] if jobs == 1 else list(WAITING)
    runs = FileRuns()
    for worker in runs.begin(waiting, len(waiting)) + runs.begin([name for name in files if name not in waiting], jobs):
        worker.join()
    longest = sorted(runs.seconds.items(), key=lambda item: -item[1][0])[:12]
    print("longest: " + ", ".join(f"{name} {took:.0f} s ({used:.0f} of a processor)" for name, (took, used) in longest))
    print(f"{runs.passed} passed, {runs.failed} failed", flush=True)
    return 0 if runs.failed == 0 and runs.passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
