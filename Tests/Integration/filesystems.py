"""File systems of the tests' own, mounted from a file: root and loop devices are needed."""

import contextlib
import os
import subprocess
import sys

from harness import run_tool


def can_mount():
    """Whether this process may mount; where it may, a missing tool is a failure."""
    if os.geteuid() == 0 and os.path.exists("/dev/loop-control"):
        return True
    print("left out what needs a mount: root and loop devices", file=sys.stderr, flush=True)
    return False


@contextlib.contextmanager
def mounted(kind, folder, megabytes=320):
    """A new file system of `kind`, `xfs` or `ext4`, mounted below `folder` while the context lasts."""
    image, place = f"{folder}/{kind}.disk", f"{folder}/{kind}"
    with open(image, "wb") as file:
        file.truncate(megabytes << 20)
    os.mkdir(place)
    run_tool(f"mkfs.{kind}", "-q", image)
    run_tool("mount", "-o", "loop", image, place)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True, timeout=60)
        os.unlink(image)
