"""The folder where layers from a pipe wait to be flattened: gone at the end, and after a kill at any point gone with the next run of the same command."""

import fcntl
import os
import struct
import subprocess
from pathlib import Path

from archives import make_fleet, names_of
from harness import DroverCase, binary, required_tool
from reference import open_chain

F_OFD_SETLK = 37


class ScratchTests(DroverCase):
    def setUp(self):
        super().setUp()
        self.fleet = make_fleet(self.scratch / "fleet", 3, 1, sectors=3000, seed=1)
        self.archive, self.out = self.path("fleet.drover"), self.path("out")
        self.succeeds("pack", self.archive, *self.fleet.images)
        self.command = ("unpack", "-O", "raw", "-C", self.out)
        self.expected = {names_of(self.fleet.files)[image]: open_chain(image).guest() for image in self.fleet.images}

    def left(self):
        return sorted(name for name in os.listdir(self.out) if name.startswith(".drover")) if os.path.isdir(self.out) else []

    def assert_done(self, names=None):
        self.assertEqual(self.left(), [])
        for name, guest in self.expected.items():
            if names is None or name in names:
                self.assertTrue(Path(self.out, name).read_bytes() == guest, name)

    def killed(self, call, step):
        """Whether the run was killed at its `step`-th `call`."""
        options = ("-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={step}")
        return self.piped(required_tool("strace"), *options, binary(), *self.command, "-").returncode != 0

    def piped(self, *command):
        """A run that gets the archive through a pipe."""
        with subprocess.Popen(["cat", self.archive], stdout=subprocess.PIPE) as source:
            try:
                return subprocess.run(command, stdin=source.stdout, capture_output=True, timeout=60)
            finally:
                source.stdout.close()
                source.kill()

    def test_killed_anywhere_the_same_command_leaves_nothing(self):
        for call in ("unlinkat", "/^rename", "mkdirat", "fsync"):
            for step in (1, 2, 3, 5, 8, 13):
                with self.subTest(call=call, step=step):
                    self.killed(call, step)
                    self.succeeds(*self.command, self.archive)
                    self.assert_done()
                    subprocess.run(["rm", "-rf", self.out], check=True)

    def test_killed_when_all_was_named_and_run_again_from_a_pipe(self):
        self.assertTrue(self.killed("unlinkat", 1))
        self.assertEqual(len(self.left()), 1)
        done = self.piped(binary(), *self.command, "-")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_done()

    def test_what_another_selection_left_goes_with_the_next_run(self):
        name = next(iter(self.expected))
        self.killed("/^rename", 2)
        self.succeeds(*self.command, self.archive, name)
        self.assert_done([name])

    def test_one_that_is_in_use_stays(self):
        self.killed("unlinkat", 1)
        (left,) = self.left()
        with open(f"{self.out}/{left}/.partial", "ab") as file:
            fcntl.fcntl(file.fileno(), F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
            self.succeeds(*self.command, self.archive)
            self.assertEqual(self.left(), [left])
            os.unlink(f"{self.out}/{next(iter(self.expected))}")
            self.assertEqual(self.piped(binary(), *self.command, "--force", "--restart", "-").returncode, 73)
        self.succeeds(*self.command, "--force", "--restart", self.archive)
        self.assert_done()
