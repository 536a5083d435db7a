"""Runs Drover with a fault at the k-th of the calls by which it changes a file system: kills, cuts of the power, errors.

The calls are counted by `crashshim.c`, which is compiled here.
"""

import errno
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "Integration"))

from harness import binary, required_tool  # noqa: E402

HALVED = ("write", "copy")
WHEN = ("before", "middle", "after")
TIMEOUT = 60


def build_shim(folder):
    """Compiles the shim into `folder` and returns its path."""
    library = os.path.join(folder, "crashshim.so")
    command = [required_tool("cc"), "-shared", "-fPIC", "-O2", "-Wall", "-o", library, str(HERE / "crashshim.c"), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"the shim does not compile:\n{done.stderr}")
    return library


@dataclass(frozen=True)
class Fault:
    """What happens at call number `at`. As text: `17:middle:kill`, `4:fail=EIO`."""

    at: int
    do: str = "kill"
    when: str = "before"

    def __str__(self):
        return f"{self.at}:{self.when}:{self.do}" if self.do.split("=")[0] in ("kill", "cut") else f"{self.at}:{self.do}"

    @classmethod
    def parse(cls, text):
        at, *rest = text.split(":")
        return cls(int(at), rest[-1] if rest else "kill", rest[0] if len(rest) > 1 else "before")

    def environment(self):
        do, _, name = self.do.partition("=")
        number = f"={getattr(errno, name)}" if name in vars(errno) else f"={name}" if name else ""
        return {"CRASH_AT": str(self.at), "CRASH_WHEN": self.when, "CRASH_DO": do + number}


@dataclass(frozen=True)
class Call:
    """One call that changed something, or was to. `result`: made, error, not made, half, failed, short, stopped."""

    number: int
    operation: str
    result: str
    path: str
    second: str

    def below(self, folder):
        """As text, with paths as they are below `folder`."""
        paths = [os.path.relpath(path, folder) for path in (self.path, self.second) if path]
        return f"{self.number} {self.operation} {' -> '.join(paths)} ({self.result})"


@dataclass
class Run:
    """How a run ended (None: it did not, within a minute), and what it changed until then."""

    code: int
    error: str
    calls: list


class Shim:
    """The compiled shim, and the folder below which calls count."""

    def __init__(self, library, under):
        self.library, self.under = library, os.path.realpath(under)

    def environment(self, log, fault=None):
        variables = {"LD_PRELOAD": self.library, "CRASH_UNDER": self.under, "CRASH_LOG": log}
        return variables | (fault.environment() if fault else {})

    def start(self, command, log, fault=None, **options):
        environment = os.environ | self.environment(log, fault)
        return subprocess.Popen([binary(), *command], env=environment, cwd=self.under, **options)

    def run(self, command, fault=None, piped=None):
        """Runs Drover to its end; `piped` is a file that it gets on standard input, through a pipe."""
        feeder = subprocess.Popen(["cat", piped], stdout=subprocess.PIPE) if piped else None
        with tempfile.NamedTemporaryFile(prefix="drover-calls-") as log, tempfile.TemporaryFile() as error:
            source = feeder.stdout if feeder else subprocess.DEVNULL
            process = self.start(command, log.name, fault, stdin=source, stdout=subprocess.DEVNULL, stderr=error)
            late = threading.Timer(TIMEOUT, process.kill)
            late.start()
            code = process.wait()
            if not late.is_alive():
                code = None
            late.cancel()
            if feeder:
                feeder.stdout.close()
                feeder.kill()
                feeder.wait()
            error.seek(0)
            return Run(code, error.read().decode(errors="replace"), read_calls(log.name))


def read_calls(log):
    text = Path(log).read_text(errors="surrogateescape")
    rows = (line.split("\t") for line in text.split("\n")[:-1])
    return [Call(int(number), *rest) for number, *rest in rows]
