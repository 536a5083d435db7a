"""A move that is killed, or whose system calls fail, at every single step: nothing is lost and the next start ends it."""

import errno
import itertools
import os
import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path

from harness import DroverCase, binary, fingerprint, manifest_of, required_tool
from moves import make_image
from reference import open_chain

CHANGING = ("openat", "ftruncate", "fallocate", "pwrite64", "fsync", "fdatasync", "/^rename", "utimensat")
FAILING_WRITES = {"pwrite64": "ENOSPC", "fsync": "EIO", "fdatasync": "EIO", "/^rename": "EIO"}
MOST_STEPS = 120  # of one system call in one thread
CANNOT_LOAD = 127  # the fault hit the dynamic loader


class FaultTests(DroverCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="drover-faults-")).resolve()
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.base, cls.image = make_image(cls.folder, 6)
        cls.expected = open_chain(cls.image).guest()

    def setUp(self):
        super().setUp()
        self.raw = ["convert", "--segment", "1M", self.image, self.path("out.raw")]
        self.cow = ["convert", "--segment", "1M", "-O", "cow", "-B", self.base, self.image, self.path("out.cow")]

    def injected(self, arguments, call, fault, step):
        """Runs Drover with a fault in one of its system calls: the `step`-th such call of some thread."""
        options = ["-f", "-o", self.path("trace"), "-e", f"trace={call}", "-e", f"inject={call}:{fault}:when={step}"]
        command = [required_tool("strace"), *options, binary(), *arguments]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)

    def assert_whole(self, target):
        shown = open_chain(target).guest()
        self.assertTrue(shown == self.expected, f"{target} shows other bytes")
        self.assert_absent(f"{target}.partial")
        self.succeeds("verify", target)

    def assert_recovers(self, arguments):
        """After the fault: no target or all of it; the same command ends the move; the sources are as before."""
        target = arguments[-1]
        if os.path.lexists(target):
            self.assertTrue(open_chain(target).guest() == self.expected, "a target that is not the whole")
        self.succeeds(*arguments)
        self.assert_whole(target)
        for path in (target, manifest_of(target)):
            os.unlink(path)

    def each_step(self, arguments, call, fault, check):
        """Runs with the fault in the 1st, 2nd, ... such call, until a run has no such call any more; `check` judges."""
        before = fingerprint([self.base, self.image])
        for step in range(1, MOST_STEPS):
            done = self.injected(arguments, call, fault, step)
            with self.subTest(call=call, fault=fault, step=step, operation=arguments[-1]):
                check(done)
                self.assert_recovers(arguments)
                self.assertEqual(fingerprint([self.base, self.image]), before, "a source was changed")
            if done.returncode == 0 and not self.was_hit():
                return
        self.fail(f"{call} is made more than {MOST_STEPS} times; more than this small move needs")

    def was_hit(self):
        """Whether a system call of the last run was made to fail."""
        return "(INJECTED)" in Path(self.path("trace")).read_text()

    def test_killed_at_every_step(self):
        """The crash matrix does it at many more; this is another way to get there."""
        for call in CHANGING:
            self.each_step(self.cow, call, "signal=KILL", lambda done: self.assertIn(done.returncode, (0, -9)))

    def test_failing_writes_and_syncs_are_told_and_can_be_resumed(self):
        for arguments, (call, error) in itertools.product((self.raw, self.cow), FAILING_WRITES.items()):
            self.each_step(arguments, call, f"error={error}", partial(self.assert_told, (73, 74), error))

    def test_failing_reads_are_told(self):
        for call in ("pread64", "preadv"):
            self.each_step(self.raw, call, "error=EIO", self.assert_read_or_told)

    def assert_read_or_told(self, done):
        # When the target has its name, earlier jobs are forgotten in its manifest; that this failed takes nothing from the target.
        if done.returncode != 0 or not os.path.exists(self.raw[-1]):
            self.assert_told((66, 74), "EIO", done)

    def assert_told(self, codes, error, done):
        if self.was_hit() and done.returncode != CANNOT_LOAD:
            self.assertIn(done.returncode, codes, done.stderr)
            self.assertRegex(done.stderr, r"\Adrover: [^\n]*\n\Z")
            self.assertIn(os.strerror(getattr(errno, error)), done.stderr)

    def test_interrupted_calls_are_repeated(self):
        for call in ("pread64", "preadv", "pwrite64", "fsync", "fdatasync"):
            self.each_step(
                self.raw, call, "error=EINTR", lambda done: self.assertIn(done.returncode, (0, CANNOT_LOAD), done.stderr)
            )
