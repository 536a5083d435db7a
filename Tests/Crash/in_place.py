#!/usr/bin/env python3
"""Changes in place, killed or failed at every call: `rebase` and `commit`.

    Tests/Crash/in_place.py                               all points
    Tests/Crash/in_place.py --sample 60 --seed 7          so many of them, chosen by the seed
    Tests/Crash/in_place.py --only commit --point 17:middle:kill

After each, the guest's disk through the image is what it was, or the image is refused, and the message names the command that goes
on; the same command ends with 0, and then the disk is what it was, the base what it was to become, and nothing is left behind. At
every fourth point the second run is interrupted, too.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "Integration"))

from cow_writer import CowWriter, set_mtime  # noqa: E402
from harness import MIB, SECTOR, drover  # noqa: E402
from reference import open_chain  # noqa: E402
from shim import HALVED, WHEN, Fault, Shim, build_shim  # noqa: E402

OLD = 1_450_000_000
SIZE = MIB + 3 * 4096
ERRORS = ("fail=EIO", "fail=ENOSPC")


def raw(path, seed, mtime=OLD):
    chance = random.Random(seed)
    path.write_bytes(b"".join(bytes([chance.choice((0, 1, 2))]) * 4096 for _ in range(SIZE // 4096)))
    set_mtime(path, mtime)
    return path


def overlay(path, layout, base, seed):
    chance = random.Random(seed)
    writer = CowWriter(layout, SIZE, os.fsencode(base), os.stat(base).st_mtime_ns // 10**9)
    for position in range(chance.randrange(40), SIZE // SECTOR - 20, 400):
        writer.allocate(position, 13)
        if chance.random() < 0.7:
            writer.write_data(position, chance.randbytes(13 * SECTOR))
    writer.save(path)
    set_mtime(path, OLD + 5)
    return path


def rebase(folder, layout="uml-v3"):
    image = overlay(folder / "image.cow", layout, raw(folder / "base.raw", 1), 3)
    return ["rebase", "-q", "-b", str(raw(folder / "other.raw", 2, OLD + 9)), str(image)], image


def rebase_qemu(folder):
    return rebase(folder, "qemu-v2")


def rebase_header(folder):
    command, image = rebase(folder, "uml-v2")
    shutil.copyfile(folder / "base.raw", folder / "other.raw")
    return [*command[:2], "-u", *command[2:]], image


def commit(folder):
    image = overlay(folder / "image.cow", "uml-v3", raw(folder / "base.raw", 1), 3)
    return ["commit", "-q", str(image)], image


def commit_cow(folder):
    middle = overlay(folder / "middle.cow", "qemu-v2", raw(folder / "base.raw", 1), 4)
    image = overlay(folder / "image.cow", "qemu-v2", middle, 3)
    return ["commit", "-q", str(image)], image


SCENARIOS = {"rebase": rebase, "rebase-qemu": rebase_qemu, "rebase-header": rebase_header, "commit": commit, "commit-cow": commit_cow}


class Stage:
    def __init__(self, name, folder, library):
        self.name, self.folder = name, Path(folder)
        self.world, self.before = self.folder / "world", self.folder / "before"
        self.world.mkdir()
        self.command, self.image = SCENARIOS[name](self.world)
        self.guest = open_chain(str(self.image)).guest()
        shutil.copytree(self.world, self.before)
        self.shim = Shim(library, self.world)
        run = self.run()
        if run.code != 0:
            raise AssertionError(f"{name}: ends with {run.code} without an interruption: {run.error}")
        self.calls, self.files = run.calls, self.content()

    def run(self, fault=None):
        return self.shim.run(self.command, fault)

    def restart(self):
        """In place: the journal knows a file by its inode, and headers a base by its time."""
        for path in self.world.iterdir():
            if not (self.before / path.name).exists():
                path.unlink()
        for path in self.before.iterdir():
            with open(self.world / path.name, "r+b") as file:
                file.write(path.read_bytes())
                file.truncate()
            os.utime(self.world / path.name, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))

    def content(self):
        """Names, and the bytes of all but the headers' times."""
        return {path.name: path.stat().st_size for path in self.world.iterdir()}

    def points(self):
        for call in self.calls:
            for when in WHEN:
                if when != "middle" or call.operation in HALVED:
                    yield Fault(call.number, "kill", when)
            for error in ERRORS:
                yield Fault(call.number, error)

    def try_point(self, fault, second=None):
        """What is wrong after the fault, as text."""
        wrong = []
        self.restart()
        first = self.run(fault)
        if fault.do == "kill" and first.code not in (-9, 0) or fault.do != "kill" and first.code not in (0, 66, 73, 74):
            wrong.append(f"ends with {first.code}: {first.error.strip()}")
        self.look(wrong, "after it")
        if second:
            self.run(second)
            self.look(wrong, "after the second interruption")
        last = self.run()
        if last.code != 0:
            wrong.append(f"the same command ends with {last.code}: {last.error.strip()}")
            return wrong
        if open_chain(str(self.image)).guest() != self.guest:
            wrong.append("the guest's disk is another one at the end")
        if self.content() != self.files:
            wrong.append(f"there are {self.content()}; expected {self.files}")
        return wrong

    def look(self, wrong, when):
        """The disk is what it was, or nobody is let near it."""
        seen = self.folder / "seen.raw"
        result = drover("convert", "-q", "--force", "--restart", self.image, seen)
        if result.code == 0:
            if seen.read_bytes() != self.guest:
                wrong.append(f"{when} the guest's disk is another one")
        elif result.code != 66 or f"drover {self.command[0]}" not in result.err:
            wrong.append(f"{when} the image is refused with {result.code}: {result.err.strip()}")


def explore(names, sample, seed, longest=None):
    """Tries points; returns how many, and the failures as text."""
    chance = random.Random(seed)
    began = time.monotonic()
    tried, failures = 0, []
    with tempfile.TemporaryDirectory(prefix="drover-in-place-") as folder:
        library = build_shim(folder)
        for name in names:
            stage = Stage(name, tempfile.mkdtemp(dir=folder), library)
            points = list(stage.points())
            for fault in chance.sample(points, min(sample, len(points))) if sample else points:
                if longest and time.monotonic() - began > longest:
                    return tried, failures
                second = chance.choice(points) if tried % 4 == 0 else None
                failures += [f"{name} {fault}{f' and {second}' if second else ''}: {text}" for text in stage.try_point(fault, second)]
                tried += 1
    return tried, failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=sorted(SCENARIOS))
    parser.add_argument("--sample", type=int, help="so many points of each command")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--point", help="this one point of the one command")
    arguments = parser.parse_args()
    if arguments.point:
        with tempfile.TemporaryDirectory(prefix="drover-in-place-") as folder:
            stage = Stage(arguments.only[0], tempfile.mkdtemp(dir=folder), build_shim(folder))
            faults = [Fault.parse(text) for text in arguments.point.split(",")]
            print(*stage.try_point(*faults) or ["all promises hold"], sep="\n")
        return 0
    print(f"seed {arguments.seed}")
    tried, failures = explore(arguments.only or list(SCENARIOS), arguments.sample, arguments.seed)
    print(*failures, f"{tried} points, {len(failures)} failures", sep="\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
