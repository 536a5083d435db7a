"""File systems of the tests' own, mounted from a file: root and loop devices are needed."""

import contextlib
import os
import subprocess

from harness import run_tool


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
