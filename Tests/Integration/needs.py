"""What some tests need of the machine. Where it is not there, such a test fails with one line that says what is missing and how to get
it: it never leaves itself out."""

import contextlib
import os
import socket
import subprocess
from pathlib import Path


class Missing(Exception):
    """The machine lacks something; the text is all there is to say."""


def need(condition, what, how):
    if not condition:
        raise Missing(f"needs {what} ({how})")


def root():
    need(os.geteuid() == 0, "root", "run the tests as root, in a container or a virtual machine")


def loop_devices():
    root()
    need(os.path.exists("/dev/loop-control"), "loop devices", "modprobe loop; of a container: --privileged, or --device /dev/loop-control")


def host_name(name):
    """That this machine can be reached by its own name, as Slurm's daemons reach each other."""
    try:
        socket.gethostbyname(name)
    except OSError as error:
        raise Missing(f"needs an address for this host's name {name}: {error} (echo '127.0.0.1 {name}' >> /etc/hosts)") from None


def disk_folder(folder):
    """That `folder` lies on a disk, where files can be read without being in memory already."""
    kind = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=True).stdout.strip()
    need(kind not in ("tmpfs", "ramfs"), "a scratch folder on a disk", f"set TMPDIR: {folder} is a {kind}")


@contextlib.contextmanager
def memory_limited(limit):
    """A control group whose processes have `limit` bytes of memory, page cache included: the file that takes their numbers."""
    root()
    old, new = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    isOld = (old / "memory.limit_in_bytes").exists()
    if not isOld:
        with contextlib.suppress(OSError):
            (new / "cgroup.subtree_control").write_text("+memory")
    group = (old if isOld else new) / f"drover-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if isOld else "memory.max")).write_text(str(limit))
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        raise Missing(f"needs a memory control group: {error} (of a container: --privileged, or --cgroupns=private with cgroup v2)") from None
    try:
        yield group / "cgroup.procs"
    finally:
        group.rmdir()
