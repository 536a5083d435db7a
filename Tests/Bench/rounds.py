"""Races programs: interleaved rounds, medians, peak memory, a Markdown table, and a list of what was promised.

Only ratios from one run mean something: the machine, its caches and its neighbours differ from hour to hour. So every round
runs every contender once, in an order of its own (nobody always runs after the slowest), and every run finds memory that this
machine has: a virtual machine gives free memory back to its host after a second or two, and gets it again only page by page.
"""

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))
# Three GiB, more than any contender writes; a process of its own, as the peak memory of a program counts from its parent's.
WARM = "import mmap; mmap.mmap(-1, 3 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)"


@dataclass(frozen=True)
class Contender:
    """A command, what it leaves behind, and whether that still has to reach the disk while the clock runs."""

    name: str
    command: list[str]
    targets: tuple[str, ...] = ()
    sync: bool = False
    check: Callable[[], None] | None = None  # after the first, uncounted round
    output: str = os.devnull


@dataclass
class Times:
    seconds: list[float] = field(default_factory=list)
    peak: int = 0  # bytes; never less than this process had when it started the program, some 16 MiB

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def remove(paths: tuple[str, ...]) -> None:
    for path in paths:
        if os.path.isdir(path):
            subprocess.run(["rm", "-rf", path], check=True)
        elif os.path.exists(path):
            os.remove(path)


def warm_memory() -> None:
    """Touches free memory, so that no contender pays for what the host took back."""
    subprocess.run([sys.executable, "-c", WARM], check=True)


def run_once(contender: Contender, times: Times | None) -> None:
    remove(contender.targets)
    os.sync()  # what others left to write back is not to be paid for here
    warm_memory()
    words = tempfile.TemporaryFile()  # shown only when the program fails
    started = time.perf_counter()
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, contender.output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
        (os.POSIX_SPAWN_DUP2, words.fileno(), 2),
    ]
    process = os.posix_spawnp(contender.command[0], contender.command, os.environ, file_actions=actions)
    _, status, usage = os.wait4(process, 0)
    if contender.sync:
        for path in contender.targets:
            if os.path.isfile(path):
                with open(path, "rb+") as file:
                    os.fsync(file.fileno())
    elapsed = time.perf_counter() - started
    with words:
        words.seek(0)
        if status != 0:
            sys.exit(f"bench: {contender.name}: exit code {os.waitstatus_to_exitcode(status)}\n{words.read().decode(errors='replace')}")
    if times is not None:
        times.seconds.append(elapsed)
        times.peak = max(times.peak, usage.ru_maxrss * 1024)
    elif contender.check:
        contender.check()


def race(contenders: list[Contender], rounds: int = ROUNDS) -> dict[str, Times]:
    """One round that warms the caches and checks the results, then those that count."""
    results = {contender.name: Times() for contender in contenders}
    for number in range(-1, rounds):
        for contender in random.sample(contenders, len(contenders)):
            run_once(contender, None if number < 0 else results[contender.name])
    for contender in contenders:
        remove(contender.targets)
    return results


PAGE: list[str] = []


def say(text: str) -> None:
    """A line of Markdown: for whoever looks on, and for the page."""
    print(text, flush=True)
    PAGE.append(text)


def table(title: str, results: dict[str, Times], ours: str) -> None:
    say(f"\n### {title}\n\n| program | median s | fastest s | {ours} takes | peak RSS, at most |\n|---|---:|---:|---:|---:|")
    for name, times in results.items():
        ratio = "" if name == ours else f"{results[ours].median / times.median:.2f} ×"
        say(f"| {name} | {times.median:.3f} | {min(times.seconds):.3f} | {ratio} | {times.peak / (1 << 20):.0f} MiB |")


class Promises:
    """What Drover says of its own speed, and whether it held in this run."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float, float, str]] = []

    def at_most(self, what: str, value: float, limit: float, unit: str = "×") -> None:
        self.rows.append((what, value, limit, unit))

    def ratio(self, what: str, results: dict[str, Times], ours: str, others: list[str], limit: float) -> None:
        self.at_most(what, results[ours].median / min(results[name].median for name in others), limit)

    def table(self) -> str:
        lines = ["| what | measured | at most | |", "|---|---:|---:|---|"]
        for what, value, limit, unit in self.rows:
            lines.append(f"| {what} | {value:.3g} {unit} | {limit:.3g} {unit} | {'' if value <= limit else 'missed'} |")
        return "\n".join(lines)

    def report(self) -> bool:
        print(f"\n### Promises\n\n{self.table()}")
        return all(value <= limit for _, value, limit, _ in self.rows)
