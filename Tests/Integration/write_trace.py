"""Which ranges of which files a run of Drover read, wrote and made durable, and when, as strace saw it."""

import os
import re
import subprocess
from dataclasses import dataclass

from harness import binary, required_tool

CALLS = (
    "pread64,preadv,preadv2,pwrite64,pwritev,pwritev2,write,writev,copy_file_range,sendfile,mmap,"
    "fsync,fdatasync,syncfs,rename,renameat,renameat2"
)
LINE = re.compile(r"^([\d.]+) (\w+)\((.*)\) += (-?\d+|0x[0-9a-f]+).*<([\d.]+)>$")
FILE = re.compile(r"^\w*\d+<([^>]*)>")
LAST_NUMBER = re.compile(r", (\d+)$")


@dataclass(frozen=True)
class Access:
    """One system call on `path`, between two moments. `offset` is None where the call does not say it."""

    kind: str  # read, write, sync, rename
    path: str
    offset: int | None
    length: int
    began: float
    ended: float
    text: str = ""  # the call's arguments, with as much of the data as was asked for


def traced(arguments, folder, timeout=120, data=0):
    """Runs Drover under strace; how it ended, and its successful accesses in the order they began.

    `data` is how many bytes of each write are kept in `Access.text`.
    """
    prefix = os.path.join(folder, "trace")
    options = ["-ff", "-y", "-ttt", "-T", "-s", str(data), "-e", f"trace={CALLS}", "-o", prefix]
    command = [required_tool("strace"), *options, binary(), *map(os.fspath, arguments)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
    accesses = []
    for name in os.listdir(folder):
        if name.startswith("trace."):
            with open(os.path.join(folder, name), errors="replace") as file:
                accesses += filter(None, map(_parse, file))
            os.unlink(os.path.join(folder, name))
    return done, sorted(accesses, key=lambda access: access.began)


def _parse(line):
    match = LINE.match(line.rstrip("\n"))
    if not match or match.group(4).startswith("-"):
        return None
    began, name, arguments, result, seconds = match.groups()
    times = float(began), float(began) + float(seconds)
    if name.startswith("rename"):
        return Access("rename", re.findall(r'"([^"]*)"', arguments)[-1], None, 0, *times)
    file = FILE.match(arguments)
    if name == "mmap":
        file = re.search(r"<([^>]*)>", arguments) if "MAP_SHARED" in arguments and "PROT_WRITE" in arguments else None
    if not file:
        return None
    if name in ("fsync", "fdatasync", "syncfs"):
        return Access("sync", file.group(1), None, 0, *times)
    if name.startswith(("pread", "pwrite")):
        if name.endswith("v2"):
            arguments = arguments.rpartition(",")[0]
        offset, length = int(LAST_NUMBER.search(arguments).group(1)), int(result)
        return Access(name[1:].rstrip("v264"), file.group(1), offset, length, *times, arguments) if length else None
    return Access("write", file.group(1), None, 1, *times, arguments)
