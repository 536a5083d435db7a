"""Boots a User-Mode Linux guest on disk images and runs one shell script in it as root (Debian: user-mode-linux).

The guest's root is the host's own file tree, read-only through hostfs, so that every program of the host is there; its
/tmp, /run and /mnt are memory. A disk is what follows `ubdN=`: FILE (raw, or a COW file that names its backing file) or
COW,BACKING. In the script

    $DISK0, $DISK1, ...  are the disks' device nodes,
    $SHARED              is a directory that host and guest both see (Guest.shared), and the current directory,
    disk_digest DEVICE   prints the sha256 of a device, read in direct 4 KiB pieces: UML 6.1 misreads larger requests
                         where a 4 KiB page is only partly in the overlay,
    ready                tells the host, waiting in Guest.wait_until_ready(), that the guest has come so far,
    wait_for_host        waits for Guest.go_on().
"""

import atexit
import functools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

# What the kernel measures at its start and no guest here has a use for: half of the time that a start takes.
UNUSED = "initcall_blacklist=raid6_select_algo,calibrate_xor_blocks"

INIT = r"""#!/bin/bash
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /mnt
mkdir /run/guest
mount -t hostfs -o {work} hostfs /run/guest
mount -t tmpfs tmpfs /tmp
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
export {disks} SHARED=/run/guest/shared
disk_digest() {{ dd if="$1" bs=4096 iflag=direct status=none | sha256sum | cut -d ' ' -f 1; }}
ready() {{ : >/run/guest/ready; }}
wait_for_host() {{ until [ -e /run/guest/go ]; do sleep 0.1; done; }}
export -f disk_digest ready wait_for_host
cd "$SHARED"
bash -euo pipefail /run/guest/script </dev/null >/run/guest/stdout 2>/run/guest/stderr
status=$?
cd /
umount /mnt 2>/dev/null
sync
echo $status >/run/guest/status
echo o >/proc/sysrq-trigger
sleep 60
"""


@dataclass(frozen=True)
class Outcome:
    """How a guest ended. `status` is its script's exit status, or None if the guest never came to report one."""

    status: int | None
    stdout: str
    stderr: str
    console: str

    def lines(self) -> list[str]:
        """What the script printed; an error that shows everything known if it failed."""
        if self.status != 0:
            raise AssertionError(
                f"the guest's script ended with {self.status}\n{self.stdout}{self.stderr}\nconsole:\n{self.console[-3000:]}"
            )
        return self.stdout.splitlines()


@functools.cache
def _ptrace() -> str:
    """The library that lets the guest's kernel run where a processor's extended state is longer than its buffer; see `uml_ptrace.c`."""
    folder = tempfile.mkdtemp(prefix="uml-ptrace-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    library = f"{folder}/ptrace.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", library, Path(__file__).with_name("uml_ptrace.c")], check=True)
    return library


class Guest:
    """One run of one guest: `with Guest(script, disks) as guest: ...`, or `run` when nothing happens meanwhile."""

    def __init__(self, script: str, disks: list[str], memory: str = "128M", seconds: float = 90):
        self.work = Path(tempfile.mkdtemp(prefix="uml-"))
        self.shared = self.work / "shared"
        self.shared.mkdir()
        nodes = " ".join(f"DISK{number}=/dev/ubd{chr(ord('a') + number)}" for number in range(len(disks)))
        (self.work / "init").write_text(INIT.format(work=self.work, disks=nodes))
        (self.work / "init").chmod(0o755)
        (self.work / "script").write_text(script)
        self.deadline = time.monotonic() + seconds
        self.console = open(self.work / "console", "wb")
        self.process = subprocess.Popen(
            ["linux.uml", f"mem={memory}", f"uml_dir={self.work}", "umid=guest", "rootfstype=hostfs", "rootflags=/", "ro"]
            + [f"init={self.work}/init", "con=null", "con0=null,fd:1", "ssl=null", "panic=-1", UNUSED]
            + [f"ubd{number}={disk}" for number, disk in enumerate(disks)],
            stdin=subprocess.DEVNULL,
            stdout=self.console,
            env={**os.environ, "LD_PRELOAD": _ptrace()},
            stderr=subprocess.STDOUT,
            start_new_session=True,  # the kernel is several processes; they are ended together
        )

    @classmethod
    def run(cls, script: str, disks: list[str], **options) -> Outcome:
        with cls(script, disks, **options) as guest:
            return guest.wait()

    def wait_until_ready(self) -> None:
        while not (self.work / "ready").exists():
            if self.process.poll() is not None or time.monotonic() > self.deadline:
                raise AssertionError(f"the guest did not get ready\n{self._read('stderr')}\n{self._read('console')[-3000:]}")
            time.sleep(0.05)

    def go_on(self) -> None:
        (self.work / "go").touch()

    def wait(self) -> Outcome:
        try:
            self.process.wait(max(0.1, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._kill()
        status = self._read("status").strip()
        return Outcome(int(status) if status else None, self._read("stdout"), self._read("stderr"), self._read("console"))

    def __enter__(self) -> "Guest":
        return self

    def __exit__(self, *_) -> None:
        self._kill()
        self.console.close()
        shutil.rmtree(self.work, ignore_errors=True)

    def _kill(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def _read(self, name: str) -> str:
        path = self.work / name
        return path.read_text(errors="replace") if path.exists() else ""
