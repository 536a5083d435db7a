#!/usr/bin/env python3
"""Real power cuts: a file system on a loop device takes no more writes at some call of a command, and is mounted again.

    Tests/Crash/powercut.py --cycles 1000 --seed 7
    Tests/Crash/powercut.py --cycles 500 --only commit --only rebase
    Tests/Crash/powercut.py --cycle ext4,convert-raw,17:middle:cut=2

A cut (`cut=0` after a sync of everything, 1 of the log alone, 2 of nothing, which is most of them) comes before, in the middle of
or after a call, or at some moment. `pages` syncs some pages of some files first, in whatever order: a disk may do that. After a
mount, what holds after a kill must hold; a command that said 0 has its targets. Otherwise the same command is run; it must end
with 0, and after another cut right behind it, its targets must be there. What is changed in place shows the guest's disk as it
was, or is refused. Root and loop devices are needed.
"""

import argparse
import ctypes
import fcntl
import multiprocessing
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import in_place
from matrix import Stage
from promises import Judge, content, files_below
from scenarios import LONG, SCENARIOS
from shim import HALVED, WHEN, Fault, Run, build_shim, read_calls, required_tool

CUTS = ("cut", "pages", "moment")  # other faults leave the power on until the second run has ended
SHUT_DOWN = 0x8004587D  # _IOR('X', 125, u32)
WAIT_FOR_PAGES = 7
NEW_MOUNTS = 0x00020000  # CLONE_NEWNS
SIZES = {"ext4": "96M", "xfs": "320M"}
PAGE = 4096
KEPT_CYCLES = 40  # on one file system, before a new one is made
SILENT = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
libc = ctypes.CDLL(None, use_errno=True)


def what_is_missing():
    """Why there can be no power cuts here; "" if there can."""
    if os.geteuid() != 0:
        return "not root"
    if not os.path.exists("/dev/loop-control"):
        return "no loop devices"
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(1 << 20)
        done = subprocess.run([required_tool("losetup"), "-f", "--show", file.name], capture_output=True, text=True)
        if done.returncode != 0:
            return f"no loop device can be had: {done.stderr.strip()}"
        subprocess.run([required_tool("losetup"), "-d", done.stdout.strip()], check=True)
    return ""


class Disk:
    """A file system on a loop device, whose power can be cut."""

    def __init__(self, kind, folder):
        self.image, self.mount = Path(folder) / f"{kind}.img", Path(folder) / kind
        self.mount.mkdir()
        with open(self.image, "wb") as file:
            file.truncate(int(SIZES[kind][:-1]) << 20)
        tool("mkfs.ext4", "-q", "-F", self.image) if kind == "ext4" else tool("mkfs.xfs", "-q", "-f", self.image)
        self.attach()

    def attach(self):
        tool("mount", "-o", "loop", self.image, self.mount)

    def detach(self):
        for attempt in range(50):
            done = subprocess.run([required_tool("umount"), str(self.mount)], capture_output=True, text=True)
            if done.returncode == 0:
                return
            time.sleep(0.02 * attempt)
        raise AssertionError(f"cannot be unmounted: {done.stderr}")

    def sync(self):
        folder = os.open(self.mount, os.O_RDONLY)
        libc.syncfs(folder)
        os.close(folder)

    def cut(self, flags=2):
        folder = os.open(self.mount, os.O_RDONLY)
        fcntl.ioctl(folder, SHUT_DOWN, struct.pack("I", flags))
        os.close(folder)

    def again(self):
        self.detach()
        self.attach()


def tool(name, *arguments):
    done = subprocess.run([required_tool(name), *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{name} {arguments}: {done.stderr}")


class Bench:
    """Disks and stages on them, made when they are first used."""

    def __init__(self, folder, library):
        self.folder, self.library = Path(folder), library
        self.disks, self.stages = {}, {}

    def stage(self, kind, name):
        if kind not in self.disks:
            self.disks[kind] = Disk(kind, self.folder)
        if (kind, name) not in self.stages:
            folder = self.disks[kind].mount / name
            folder.mkdir()
            stage = (in_place.Stage if name in in_place.SCENARIOS else Stage)(name, folder, self.library)
            # What is restored before each cycle must not be what the power cut may take.
            kept = self.folder / f"before-{kind}-{name}"
            shutil.move(stage.before, kept)
            stage.before = kept
            self.stages[kind, name] = stage
        return self.disks[kind], self.stages[kind, name]

    def close(self):
        for disk in self.disks.values():
            disk.detach()
        self.disks, self.stages = {}, {}

    def cycle(self, kind, name, fault, seed=0):
        """One power cut, and all that must hold after it. Returns what does not, as texts."""
        disk, stage = self.stage(kind, name)
        if name in in_place.SCENARIOS:
            return self.in_place(disk, stage, fault, random.Random(seed))
        stage.restart()
        disk.sync()
        judge = Judge(stage.world, stage.expected)
        run = self.first(disk, stage, fault, random.Random(seed))
        if fault.do.split("=")[0] in CUTS:
            disk.again()
            if run.code == 0:
                self.kept(judge, stage)
        judge.interrupted()
        second = stage.run()
        judge.ended(second.code, second.error)
        if second.code == 0:
            disk.cut()
            disk.again()
            self.kept(judge, stage)
            third = stage.run()
            judge.ended(third.code, third.error)
        told = stage.describe(run, fault)
        return [f"{text} [{told}]" for text in dict.fromkeys(judge.wrong)]

    def in_place(self, disk, stage, fault, rng):
        """The same for a command that changes files in place; every third one is cut once more, on its way forwards."""
        wrong = []
        stage.restart()
        disk.sync()
        faults = [fault] + ([Fault(rng.choice(stage.calls).number, "cut=2", rng.choice(("before", "after")))] if rng.random() < 0.3 else [])
        for each in faults:
            self.first(disk, stage, each, rng)
            disk.again()
            stage.look(wrong, f"after {each}")
        last = stage.run()
        if last.code != 0:
            return [f"the same command ends with {last.code}: {last.error.strip()}", *wrong]
        disk.cut()
        disk.again()
        stage.look(wrong, "at the end")
        if stage.content() != stage.files:
            wrong.append(f"there are {stage.content()}; expected {stage.files}")
        return wrong

    def first(self, disk, stage, fault, rng):
        """The run that is interrupted. One that ends before its power is cut has it cut right behind its end."""
        action = fault.do.split("=")[0]
        if action in ("pages", "moment"):
            return self.stopped(disk, stage, fault, rng) if action == "pages" else self.at_some_moment(disk, stage, fault)
        run = stage.run(fault)
        if action == "cut" and run.code != -signal.SIGKILL:
            disk.cut()
        return run

    def at_some_moment(self, disk, stage, fault):
        """Cut from outside, so many tenths of a millisecond after the start."""
        with tempfile.NamedTemporaryFile() as log:
            process = stage.shim.start(stage.command, log.name, stdin=self.piped(stage), **SILENT)
            time.sleep(fault.at / 10_000)
            disk.cut(int(fault.do.partition("=")[2] or 2))
            return _killed(process, log.name)

    def stopped(self, disk, stage, fault, rng):
        """At the call: some pages are written, in whatever order, and the power goes."""
        with tempfile.NamedTemporaryFile() as log:
            at = Fault(fault.at, "stop")
            process = stage.shim.start(stage.command, log.name, at, stdin=self.piped(stage), **SILENT)
            while not _is_stopped(process) and process.poll() is None:
                time.sleep(0.002)
            folder = stage.world if isinstance(stage, in_place.Stage) else stage.world.out
            for name in files_below(folder):
                if rng.random() < 0.7:
                    _sync_some_pages(folder / name, rng)
            disk.cut(int(fault.do.partition("=")[2] or 2))
            return _killed(process, log.name)

    def piped(self, stage):
        source = getattr(stage.world, "piped", None)
        return subprocess.Popen(["cat", source], stdout=subprocess.PIPE).stdout if source else subprocess.DEVNULL

    def kept(self, judge, stage):
        """What a command that said 0 owes: every target, under its name, with its bytes."""
        found = content(stage.world.out)
        for path, data in stage.expected.new.items():
            if found.get(path) != data:
                state = "has other bytes" if path in found else "is not there"
                judge.says(f"{path} {state} after a power cut, and the command had said 0")


def _is_stopped(process):
    try:
        return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
    except FileNotFoundError:
        return False


def _killed(process, log):
    code = process.poll()
    if code is None:
        process.kill()
        process.wait()
    return Run(code, "", read_calls(log))


def _sync_some_pages(path, rng):
    file = os.open(path, os.O_RDWR)
    pages = list(range(-(-os.fstat(file).st_size // PAGE)))
    for page in rng.sample(pages[-64:], rng.randrange(len(pages[-64:]) + 1)):
        libc.sync_file_range(file, ctypes.c_int64(page * PAGE), ctypes.c_int64(PAGE), WAIT_FOR_PAGES)
    os.close(file)


def random_cycle(rng, calls_of, names=None):
    """A file system, a command and a fault; `calls_of(kind, name)` gives the command's calls."""
    kind = rng.choice(sorted(SIZES))
    name = rng.choice(names or sorted(LONG) * 3 + sorted(SCENARIOS) + sorted(in_place.SCENARIOS))
    calls = calls_of(kind, name)
    call = rng.choice(calls)
    flags = rng.choice((2, 2, 2, 1, 0))
    style = rng.random()
    if style < 0.25 or (name in LONG and style < 0.7):
        return kind, name, Fault(call.number, f"pages={rng.choice((1, 2))}")
    if style < 0.3:
        return kind, name, Fault(rng.randrange(1, 600), f"moment={flags}")
    when = rng.choice(WHEN)
    return kind, name, Fault(call.number, f"cut={flags}", when if when != "middle" or call.operation in HALVED else "before")


def work(task):
    """Some cycles, in a process of its own."""
    library, folder, seed, first, count, seconds, names = task
    failures, done, deadline = [], 0, time.monotonic() + seconds
    while done < count and (not done or time.monotonic() < deadline):
        with tempfile.TemporaryDirectory(prefix="drover-powercut-", dir=folder) as place:
            bench = Bench(os.path.realpath(place), library)
            try:
                for number in range(done, min(count, done + KEPT_CYCLES)):
                    if done and time.monotonic() > deadline:
                        break
                    rng = random.Random(f"{seed} {first + number}")
                    kind, name, fault = random_cycle(rng, lambda kind, name: bench.stage(kind, name)[1].calls, names)
                    inner = rng.randrange(10**6)
                    text = f"{kind},{name},{fault},{inner}"
                    failures += [f"--cycle {text}: {wrong}" for wrong in bench.cycle(kind, name, fault, inner)]
                    done += 1
            finally:
                bench.close()
    return done, failures


def cut_power(cycles, seed, seconds=float("inf"), show=None, names=None):
    """Runs so many random cycles on all processors, or what of them there is time for; returns how many it were, and what was wrong."""
    done, failures = 0, []
    with tempfile.TemporaryDirectory(prefix="drover-shim-") as folder:
        library = build_shim(folder)
        workers = os.cpu_count()
        each = min(KEPT_CYCLES, -(-cycles // workers))
        tasks = [(library, scratch(), seed, first, min(each, cycles - first), seconds, names) for first in range(0, cycles, each)]
        with multiprocessing.Pool(workers, mount_privately) as pool:
            for count, found in pool.imap_unordered(work, tasks):
                done, failures = done + count, failures + found
                for text in found if show else ():
                    show(text)
    return done, failures


def mount_privately():
    """What this process mounts is gone when it ends, however it ends."""
    if libc.unshare(NEW_MOUNTS) != 0:
        raise AssertionError(f"no mounts of its own: {os.strerror(ctypes.get_errno())}")
    tool("mount", "--make-rprivate", "/")


def scratch():
    """Where the images of the disks lie: in memory where that can be, else in the usual place."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def one(text):
    kind, name, fault, *seed = text.split(",")
    with tempfile.TemporaryDirectory(prefix="drover-powercut-", dir=scratch()) as folder:
        bench = Bench(os.path.realpath(folder), build_shim(folder))
        try:
            wrong = bench.cycle(kind, name, Fault.parse(fault), int(seed[0]) if seed else 0)
        finally:
            bench.close()
    print(*wrong or ["all promises hold"], sep="\n")
    return 1 if wrong else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--only", action="append", choices=sorted([*SCENARIOS, *in_place.SCENARIOS]))
    parser.add_argument("--cycle", help="this one, as a failure names it")
    arguments = parser.parse_args()
    if missing := what_is_missing():
        print(f"no power cuts: {missing}")
        return 1
    if arguments.cycle:
        return one(arguments.cycle)
    print(f"seed {arguments.seed}")
    began = time.monotonic()
    done, failures = cut_power(arguments.cycles, arguments.seed, show=lambda text: print(f"FAILED {text}", flush=True), names=arguments.only)
    print(f"{done} power cuts, {len(failures)} failures, {time.monotonic() - began:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
