"""Killed, failed or answered short at calls chosen from all commands: the crash matrix of `Tests/Crash`, a sample of it.

`make crash-matrix` tries every point. The points of a run follow from its seed, which `DROVER_SEED` gives.
"""

import os
import random
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import harness
from harness import REPOSITORY, DroverCase, binary, required_tool

sys.path.insert(0, str(REPOSITORY / "Tests" / "Crash"))

from matrix import Stage, explore_all  # noqa: E402
from scenarios import SCENARIOS  # noqa: E402
from shim import build_shim, read_calls  # noqa: E402

POINTS = 250
LONGEST = 50  # seconds; what is not tried by then is left to other seeds

# The calls as strace has them, and what the shim calls them.
OPERATIONS = {
    "write": "write pwrite64 writev pwritev pwritev2 sendfile splice",
    "copy": "copy_file_range",
    "truncate": "ftruncate truncate",
    "allocate": "fallocate",
    "sync": "fsync fdatasync",
    "sync-all": "syncfs sync",
    "writeback": "sync_file_range",
    "create": "open openat openat2 creat",
    "mkdir": "mkdir mkdirat",
    "mknod": "mknod mknodat",
    "unlink": "unlink unlinkat rmdir",
    "symlink": "symlink symlinkat",
    "link": "link linkat",
    "rename": "rename renameat renameat2",
    "times": "utimensat utime utimes futimesat",
    "mode": "chmod fchmod fchmodat",
    "owner": "chown lchown fchown fchownat",
    "attribute": "setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr",
    "ioctl": "ioctl",
}
NAMES = {name: operation for operation, names in OPERATIONS.items() for name in names.split()}
# A program that gives a target its name before it is whole: what the matrix must find.
PLANTED = f"""#!{sys.executable} -SE
import os, sys
with open(sys.argv[-2], "rb") as file:
    data = file.read()
with open(sys.argv[-1], "wb", buffering=0) as file:
    file.write(data)
    os.fsync(file.fileno())
folder = os.open(os.path.dirname(sys.argv[-1]), os.O_RDONLY)
os.fsync(folder)
"""
# Ways past the shim: nobody may take them unnoticed.
UNSEEN = ("io_uring_setup", "mmap")


class CrashMatrixTests(DroverCase):
    def test_every_promise_holds_at_a_sample_of_all_points(self):
        seed = int(os.environ.get("DROVER_SEED") or random.randrange(10**6))
        reports = explore_all(list(SCENARIOS), POINTS, seed, LONGEST)
        tried = sum(report.tried for report in reports)
        print(f"{tried} points of {len(reports)} commands, DROVER_SEED={seed} ", end="", file=sys.stderr, flush=True)
        failures = [f"Tests/Crash/matrix.py --only {text}" for report in reports for text in report.failures]
        if failures:
            self.fail("\n" + "\n".join(failures))


class ShimTests(DroverCase):
    """Whether the shim sees what the kernel sees, and the matrix what is wrong."""

    def test_a_planted_fault_is_found(self):
        planted = Path(self.path("planted"))
        planted.write_text(PLANTED)
        planted.chmod(0o755)
        self.addCleanup(setattr, harness, "DROVER", harness.DROVER)
        harness.DROVER = str(planted)
        stage = Stage("convert-raw", self.path("stage"), build_shim(self.path("")))
        wrong = {str(faults[0]): stage.try_point(faults) for faults in stage.points()}
        operations = [call.operation for call in stage.calls]
        self.assertEqual(operations, ["create", "write", "sync", "sync"])
        for point in ("1:after:kill", "2:middle:kill"):
            self.assertIn("disk.raw is neither the old nor the new file", wrong[point][0])
        self.assertEqual(wrong["1:before:kill"] + wrong["3:after:kill"], [])

    def test_no_changing_call_is_missed(self):
        library = build_shim(self.path(""))
        for name in ("convert-force", "unpack-raw-pipe", "create-force", "run-keep", "pack-force"):
            with self.subTest(command=name), tempfile.TemporaryDirectory(prefix="drover-strace-") as folder:
                stage = Stage(name, os.path.realpath(folder), library)
                counted, traced = self.both_views(stage)
                self.assertEqual(counted, traced)
                self.assertGreater(sum(traced.values()), 7, "the trace shows too little")

    def both_views(self, stage):
        """How often each operation was made below the world, by the shim's count and by the kernel's."""
        stage.restart()
        trace, log = self.path("trace"), self.path("log")
        Path(log).write_text("")
        options = ["-f", "-y", "-s", "0", "-o", trace, "-e", f"trace={','.join([*NAMES, *UNSEEN])}"]
        for variable, value in stage.shim.environment(log).items():
            options += ["-E", f"{variable}={value}"]
        with open(stage.world.piped or os.devnull, "rb") as source:
            command = [required_tool("strace"), *options, binary(), *stage.command]
            done = subprocess.run(command, stdin=source, capture_output=True, text=True, timeout=120, cwd=stage.world.root)
        self.assertEqual(done.returncode, 0, done.stderr)
        counted = Counter(call.operation for call in read_calls(log))
        traced = Counter(filter(None, (self.operation(line, str(stage.world.root)) for line in Path(trace).read_text().splitlines())))
        return counted, traced

    def operation(self, line, folder):
        """What a line of the trace changes below `folder`; None where it changes nothing there."""
        match = re.search(r"\b(\w+)\((.*)", line)
        if not match or "resumed>" in line:
            return None
        name, arguments = match.groups()
        if name == "io_uring_setup":
            self.fail(f"the shim cannot see this: {line}")
        if not any(path == folder or path.startswith(f"{folder}/") for path in self.paths(name, arguments, folder)):
            return None
        if name == "mmap":
            self.assertFalse("MAP_SHARED" in arguments and "PROT_WRITE" in arguments, f"the shim cannot see this: {line}")
            return None
        if NAMES[name] == "create" and not re.search("O_CREAT|O_TRUNC|O_TMPFILE", arguments):
            return None
        if name == "ioctl" and not re.search("FICLONE|FS_IOC_SETFLAGS", arguments):
            return None
        return NAMES[name]

    def paths(self, name, arguments, folder):
        """The files that a call in a trace is about; relative ones are below their folder's descriptor, or `folder`."""
        if NAMES.get(name) in ("write", "copy"):
            return re.findall(r"\d+<([^>]*)>", arguments)
        pairs = re.findall(r'(?:AT_FDCWD|\d+)<([^>]*)>(?:, "([^"]*)")?', arguments)
        alone = re.findall(r'^"([^"]*)"', arguments)
        return [os.path.join(*pair) if pair[1] else pair[0] for pair in pairs] + [os.path.join(folder, path) for path in alone]
