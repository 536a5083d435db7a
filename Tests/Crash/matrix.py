#!/usr/bin/env python3
"""The crash matrix: every command, at every call by which it changes a file system, killed before, in the middle of and after it.

    Tests/Crash/matrix.py                              all points
    Tests/Crash/matrix.py --sample 300 --seed 7        so many of them, chosen by the seed
    Tests/Crash/matrix.py --only convert-raw           one command
    Tests/Crash/matrix.py --only convert-raw --point 17:middle:kill --keep /tmp/seen

After each: no final name with partial data, no record that says more than the disk holds, the sources untouched; the same
command ends with 0 and the same bytes, what it named is synced, and nothing is left behind. What does not hold is printed with
the point, which `--point` repeats. Two points after one another (`12:before:kill,5:after:kill`) interrupt the second run, too.
"""

import argparse
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from promises import Expected, Judge, content, files_below, guests, modes, recorded, restore, source_state
from scenarios import LONG, SCENARIOS, World
from shim import HALVED, WHEN, Fault, Shim, build_shim

KILLED = -9
ERRORS = ("fail=EIO", "fail=ENOSPC", "fail-on=ENOSPC", "fail-on=EIO")
TOLD = (0, 1, 73, 74)  # 1 is a fleet's: an image failed


class Stage:
    """One scenario in a folder of its own, ready to be interrupted any number of times."""

    def __init__(self, name, folder, library):
        self.name, self.folder = name, Path(folder)
        self.world = World(self.folder / "world")
        self.command = (SCENARIOS | LONG)[name](self.world)
        self.before = self.folder / "before"
        shutil.copytree(self.world.out, self.before, symlinks=True)
        self.shim = Shim(library, self.world.root)
        self.expected, self.calls = self._reference()

    def _reference(self):
        """The command without an interruption: what it makes of what was there, and by which calls."""
        overlays = [path for path in files_below(self.world.out) if path.endswith(".cow")]
        old, old_guests = content(self.world.out), guests(self.world.out, overlays)
        proven = recorded(self.world.out)
        sources = source_state(self.world.src)
        self.restart()
        run = self.run()
        if run.code != 0:
            raise AssertionError(f"{self.name}: ends with {run.code} without an interruption: {run.error}")
        overlays = [path for path in files_below(self.world.out) if path.endswith(".cow")]
        expected = Expected(
            self.command, old, content(self.world.out), old_guests, guests(self.world.out, overlays), proven,
            recorded(self.world.out), modes(self.world.out), sources)
        judge = Judge(self.world, expected)
        judge.ended(run.code, run.error)
        judge.durable(run.calls)
        if judge.wrong or None in expected.new_guests.values() or not expected.new:
            raise AssertionError(f"{self.name}: wrong without an interruption: {judge.wrong}")
        return expected, run.calls

    def restart(self):
        """Makes the targets what they were before."""
        restore(self.before, self.world.out)

    def run(self, fault=None):
        return self.shim.run(self.command, fault, self.world.piped)

    def points(self):
        """All single faults of this scenario."""
        for call in self.calls:
            for when in WHEN:
                if when != "middle" or call.operation in HALVED:
                    yield [Fault(call.number, "kill", when)]
            for error in ERRORS:
                yield [Fault(call.number, error)]
            if call.operation in HALVED:
                yield [Fault(call.number, "short")]

    def try_point(self, faults, verifies=True):
        """Interrupts the command at `faults`, one run after the other, and runs it to its end. Returns what is wrong, as texts."""
        self.restart()
        judge, calls, seen = Judge(self.world, self.expected, verifies), [], []
        for fault in faults:
            run = self.run(fault)
            calls += run.calls
            seen.append(self.describe(run, fault))
            self._judge_code(judge, run, fault)
            judge.interrupted()
        run = self.run()
        judge.ended(run.code, run.error)
        if run.code == 0:
            judge.durable(calls + run.calls)
        return [f"{text} [{'; '.join(seen)}]" for text in dict.fromkeys(judge.wrong)]

    def describe(self, run, fault):
        hit = next((call.below(self.world.root) for call in run.calls if call.number == fault.at), "after the last call")
        return f"code {run.code}, {hit}"

    def _judge_code(self, judge, run, fault):
        expected = (0, KILLED) if fault.do == "kill" else TOLD
        if run.code not in expected:
            judge.says(f"the run ends with {run.code}: {run.error.strip()[-300:]}")
        elif fault.do != "kill":
            lines = run.error.splitlines()
            if run.code != 0 and not lines or not all(line.startswith("drover: ") for line in lines):
                judge.says(f"an error is one line; this is {run.error[-300:]!r}")


@dataclass
class Report:
    """What came of the points of one scenario."""

    name: str
    tried: int = 0
    calls: int = 0
    failures: list = field(default_factory=list)


def explore(task):
    """Tries the points of a scenario that are wanted; runs in a process of its own."""
    name, library, part, parts, wanted, seed, seconds = task
    report = Report(name)
    deadline = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="drover-crash-") as folder:
        try:
            stage = Stage(name, os.path.realpath(folder), library)
        except AssertionError as error:
            return Report(name, failures=[str(error)])
        report.calls = len(stage.calls)
        for faults in chosen(stage, part, parts, wanted, seed):
            if report.tried and time.monotonic() > deadline:
                break
            report.tried += 1
            for text in stage.try_point(faults):
                report.failures.append(f"{name} --point {','.join(map(str, faults))}: {text}")
    return report


def chosen(stage, part, parts, wanted, seed):
    points = list(stage.points())
    if wanted is None:
        return points[part::parts]
    rng = random.Random(f"{seed} {stage.name}")
    singles = rng.sample(points, min(wanted, len(points)))
    # One in four is interrupted again when it goes on.
    return [faults + [Fault(rng.randrange(1, len(stage.calls) + 1), "kill", rng.choice(WHEN))] if rng.random() < 0.25 else faults for faults in singles]


def explore_all(names, sample=None, seed=0, seconds=None, show=None):
    """Tries all points of these scenarios, or `sample` of them, on all processors; returns a report a scenario.

    After about `seconds`, of which every scenario has its share, what is left is not tried any more.
    """
    share = seconds * os.cpu_count() / len(names) if seconds else float("inf")
    each = None if sample is None else -(-sample // len(names))
    parts = 1 if sample is not None else 4
    reports = {name: Report(name) for name in names}
    with tempfile.TemporaryDirectory(prefix="drover-shim-") as folder:
        library = build_shim(folder)
        tasks = [(name, library, part, parts, each, seed, share) for name in names for part in range(parts)]
        with multiprocessing.Pool(os.cpu_count()) as pool:
            for found in pool.imap_unordered(explore, tasks):
                report = reports[found.name]
                report.tried, report.calls = report.tried + found.tried, max(report.calls, found.calls)
                report.failures += found.failures
                if show:
                    show(found)
    return list(reports.values())


def show(found):
    for text in found.failures:
        print(f"FAILED {text}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=sorted(SCENARIOS), help="these commands alone")
    parser.add_argument("--sample", type=int, help="so many points, chosen by the seed")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--point", help="this one point of the one command")
    parser.add_argument("--keep", help="with --point: leave the files there as they are after the interruption")
    arguments = parser.parse_args()
    if arguments.point:
        return one(arguments)
    began = time.monotonic()
    names = arguments.only or list(SCENARIOS)
    if arguments.sample:
        print(f"seed {arguments.seed}")
    reports = explore_all(names, arguments.sample, arguments.seed, show=show)
    for report in reports:
        print(f"{report.name:24} {report.calls:4} calls {report.tried:5} points {len(report.failures):4} failures")
    failures = sum(len(report.failures) for report in reports)
    print(f"{sum(report.tried for report in reports)} points, {failures} failures, {time.monotonic() - began:.0f} s")
    return 1 if failures else 0


def one(arguments):
    """Tries one point, prints what is wrong, and keeps what is on disk."""
    if len(arguments.only or ()) != 1:
        raise SystemExit("--point needs --only with one command")
    folder = os.path.realpath(tempfile.mkdtemp(prefix="drover-crash-"))
    try:
        stage = Stage(arguments.only[0], folder, build_shim(folder))
        faults = [Fault.parse(text) for text in arguments.point.split(",")]
        if arguments.keep:
            stage.restart()
            for fault in faults:
                run = stage.run(fault)
                print(stage.describe(run, fault), run.error.strip(), *(call.below(folder) for call in run.calls), sep="\n    ")
            shutil.copytree(stage.world.root, arguments.keep, symlinks=True)
            print(f"as it is after the interruption: {arguments.keep}")
        wrong = stage.try_point(faults)
        print(*wrong or ["all promises hold"], sep="\n")
        return 1 if wrong else 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
