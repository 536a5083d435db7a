"""Runs Drover as a user would and says in full what went wrong.

`DROVER` names the binary (default: the release build of this repository). Scratch files go to a temporary directory, which
honours `TMPDIR`. A test that needs a real tool and does not find it fails; nothing is skipped.
"""

import hashlib
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import zlib
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DROVER = os.environ.get("DROVER") or str(REPOSITORY / ".build" / "release" / "drover")
SECTOR = 512
MIB = 1 << 20
MOST_MEMORY = 64 * MIB
ADDRESS_SPACE = 8 << 30  # a runaway allocation ends here and not with the machine's memory

# Runs a program and reports on it: a child's peak begins with its parent's size, and this parent is small.
SMALL_PARENT = """
import os, resource, sys, time
began = time.monotonic()
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
seconds = time.monotonic() - began
with open(int(sys.argv[1]), "w") as report:
    print(status, usage.ru_maxrss * 1024, seconds, file=report)
"""


@dataclass
class Result:
    """How a run ended. `code` is negative for a signal, as in `subprocess`."""

    arguments: list
    code: int
    out: str
    err: str
    seconds: float
    peak: int = field(repr=False)

    @property
    def command(self):
        return shlex.join(["drover", *self.arguments])

    def json(self):
        try:
            return json.loads(self.out)
        except ValueError as error:
            raise AssertionError(f"{self.command}: no JSON document on standard output: {error}\n{self}") from error

    def __str__(self):
        return f"{self.command}\ncode {self.code} after {self.seconds:.2f} s\nout: {self.out[-2000:]}\nerr: {self.err[-2000:]}"


def drover(*arguments, timeout=60, cwd=None, measured=False):
    """Runs Drover to its end. One that takes longer than `timeout` seconds is killed and fails the test.

    `measured` takes 20 ms more and makes `peak` exact; else it cannot be less than the size of this process.
    """
    arguments = [os.fsdecode(argument) for argument in arguments]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as report:
        files = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err, "pass_fds": [report.fileno()]}
        parent = [sys.executable, "-S", "-E", "-c", SMALL_PARENT, str(report.fileno())] if measured else []
        began = time.monotonic()
        process = subprocess.Popen([*parent, binary(), *arguments], cwd=cwd, process_group=0, **files)
        resource.prlimit(process.pid, resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
        alarm = threading.Timer(timeout, os.killpg, (process.pid, signal.SIGKILL))
        alarm.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds, peak = time.monotonic() - began, usage.ru_maxrss * 1024
        late = not alarm.is_alive()
        alarm.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        if late:
            raise AssertionError(f"still running after {timeout} s: {shlex.join(['drover', *arguments])}")
        for file in (out, err, report):
            file.seek(0)
        if measured:
            status, peak, seconds = map(float, report.read().split())
        texts = (file.read().decode(errors="surrogateescape") for file in (out, err))
        return Result(arguments, os.waitstatus_to_exitcode(int(status)), *texts, seconds, int(peak))


def start(*arguments, **options):
    """Starts Drover and returns the process; the caller ends it."""
    return subprocess.Popen([binary(), *map(os.fspath, arguments)], **options)


def binary():
    if not os.access(DROVER, os.X_OK):
        raise AssertionError(f"{DROVER} is not there: build it (swift build -c release) or set DROVER")
    return os.path.abspath(DROVER)


def required_tool(name):
    """The path of a real tool. A machine without it cannot judge Drover, so that is a failure."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        raise AssertionError(f"the tool {name} is missing; install it, this test must not be skipped")
    return path


def run_tool(name, *arguments, codes=(0,)):
    """Runs a real tool and returns its output; any other exit code than `codes` fails the test."""
    command = [required_tool(name), *map(os.fspath, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    if done.returncode not in codes:
        raise AssertionError(f"{shlex.join(command)}: code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksum(path):
    """Of a file's bytes, three times as fast as `digest`: it tells whether they changed by accident."""
    total = 0
    with open(path, "rb") as file:
        while block := file.read(MIB):
            total = zlib.crc32(block, total)
    return total


def fingerprint(paths):
    """What must not change in a source: bytes, length and mtime."""
    return {path: (checksum(path), os.path.getsize(path), os.stat(path).st_mtime_ns) for path in map(os.fspath, paths)}


def is_zero(data):
    return data.count(0) == len(data)


def manifest_of(target):
    return f"{os.fspath(target)}.manifest"


def records(target):
    """The manifest's whole lines, as objects. What follows the last newline is torn and left out."""
    text = Path(manifest_of(target)).read_text()
    return [json.loads(line) for line in text.split("\n")[:-1]]


class DroverCase(unittest.TestCase):
    """A test with a scratch directory and the assertions that every run of Drover must pass."""

    maxDiff = 2000

    def setUp(self):
        self.scratch = Path(tempfile.mkdtemp(prefix="drover-test-")).resolve()
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)

    def path(self, name):
        return str(self.scratch / name)

    def succeeds(self, *arguments, code=0, **options):
        """Runs Drover, which must end with `code`. Standard error may hold warnings, one line each."""
        result = drover(*arguments, **options)
        self.assertEqual(result.code, code, f"\n{result}")
        for line in result.err.splitlines():
            self.assertTrue(line.startswith("drover: "), f"not a message of Drover: {line!r}\n{result}")
        return result

    def fails(self, codes, *arguments, **options):
        """Runs Drover, which must fail with one of `codes` and say why in one line."""
        result = drover(*arguments, **options)
        codes = (codes,) if isinstance(codes, int) else codes
        self.assertIn(result.code, codes, f"\n{result}")
        self.assert_one_line_error(result)
        return result

    def assert_one_line_error(self, result):
        lines = result.err.split("\n")
        self.assertEqual((len(lines), lines[-1]), (2, ""), f"an error is one line\n{result}")
        self.assertTrue(lines[0].startswith("drover: "), f"an error begins with 'drover: '\n{result}")

    def assert_absent(self, *paths):
        for path in paths:
            self.assertFalse(os.path.lexists(path), f"{path} must not be there")

    def assert_same_file(self, found, expected):
        """Byte for byte, reported by the first sector that differs."""
        with open(found, "rb") as a, open(expected, "rb") as b:
            self.assert_same_bytes(a, iter(lambda: b.read(MIB), b""), found)

    def assert_same_bytes(self, file, pieces, name):
        """`file` holds exactly the bytes of `pieces`."""
        position = 0
        for piece in pieces:
            data = file.read(len(piece))
            if data != piece:
                at = next((i for i in range(min(len(data), len(piece))) if data[i] != piece[i]), len(data))
                self.fail(f"{name} differs first at byte {position + at}, sector {(position + at) // SECTOR}")
            position += len(piece)
        self.assertEqual(file.read(1), b"", f"{name} goes on after byte {position}")


def wait_until_caught(process, number, limit=10):
    """Waits until a process has a handler for a signal; before that, the signal just ends it, as any other program."""
    end = time.monotonic() + limit
    while process.poll() is None and time.monotonic() < end:
        if caught := re.search(r"^SigCgt:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE):
            if int(caught[1], 16) >> (number - 1) & 1:
                return
        time.sleep(0.002)


def stop(process, number=signal.SIGKILL, timeout=30):
    """Signals a process that was started here and returns its exit code."""
    process.send_signal(number)
    return process.wait(timeout)
