"""Files as block devices, and programs that hold a disk."""

import fcntl
import os
import struct
import subprocess
import time

from harness import required_tool, run_tool


def attach(case, path, *options):
    """A loop device over `path`, which goes away with the test."""
    device = run_tool("losetup", *options, "-f", "--show", path).strip()
    case.addCleanup(subprocess.run, [required_tool("losetup"), "-d", device], check=False, capture_output=True)
    return device


def mount(case, device, folder):
    """Mounts `device` at `folder` until the test ends."""
    os.mkdir(folder)
    run_tool("mount", device, folder)
    case.addCleanup(subprocess.run, [required_tool("umount"), folder], check=False, capture_output=True)


def unmount(folder):
    run_tool("umount", folder)


def holding(case, *command, until=""):
    """A program that holds a disk until the test ends. It is there when `until` is a file, or, where that is empty, when somebody has a lock."""
    process = subprocess.Popen(
        [required_tool(command[0]), *command[1:]], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def end():
        process.kill()
        process.communicate()

    case.addCleanup(end)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if os.path.exists(until) if until else has_locks(process.pid):
            return end
        case.assertIsNone(process.poll(), f"{command[0]} ended")
        time.sleep(0.02)
    case.fail(f"{command[0]} does not hold the disk")


def has_locks(process):
    """Whether a process has a lock of an open file description on one of its files."""
    try:
        for name in os.listdir(f"/proc/{process}/fdinfo"):
            with open(f"/proc/{process}/fdinfo/{name}") as file:
                if "lock:" in file.read():
                    return True
    except FileNotFoundError:
        pass
    return False


def lock(case, path, kind, start=0, length=0):
    """A lock of this process, which Drover sees as somebody else's, until it is closed."""
    file = open(path, "r+b")
    case.addCleanup(file.close)
    fcntl.lockf(file, kind | fcntl.LOCK_NB, length, start)
    return file


def open_lock(case, path, start, length):
    """A read lock of an open file description, as QEMU takes them, until it is closed."""
    file = open(path, "rb")
    case.addCleanup(file.close)
    set_lock = 37  # F_OFD_SETLK
    fcntl.fcntl(file, set_lock, struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, start, length, 0))
    return file
