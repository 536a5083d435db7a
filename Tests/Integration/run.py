#!/usr/bin/env python3
"""Runs all integration tests; arguments select them as `python3 -m unittest` takes them, for example `test_resume`.

Ends with the lines unittest prints and a last line `N passed, N failed`. The exit code is 0 only if all passed.
"""

import signal
import sys
import unittest
from pathlib import Path

HERE = str(Path(__file__).resolve().parent)


class CountingResult(unittest.TextTestResult):
    """Counts the tests that passed; one with a failed part did not."""

    passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1


def main(names):
    # What nohup or a shell's background job has ignored would be ignored by every Drover of the tests, too.
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path.insert(0, HERE)
    sys.dont_write_bytecode = True
    loader = unittest.TestLoader()
    tests = loader.loadTestsFromNames(names) if names else loader.discover(HERE, top_level_dir=HERE)
    result = unittest.TextTestRunner(verbosity=2, resultclass=CountingResult).run(tests)
    broken = {test.id().split(" ")[0] for test, _ in result.failures + result.errors}
    failed = len(broken) + len(result.skipped) + len(result.unexpectedSuccesses)
    print(f"{result.passed} passed, {failed} failed", flush=True)
    return 0 if failed == 0 and result.passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
