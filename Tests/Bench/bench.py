"""`make bench`: Drover beside the programs people use today, on memory and on disk, as Markdown on standard output.

BENCH_SIZE    the guest disk, half of which is data (2G)
BENCH_ROUNDS  how often each program runs (7)
BENCH_DISK    a directory on the disk to measure (/var/tmp); memory is /dev/shm
BENCH_PARTS   which parts, by name (memory,disk,huge,archive,serving)
DROVER        the binary (.build/release/drover)

A run of all parts writes Documentation/measurements.md anew. Ends with 1 if a promise was broken: on a busy machine, ask again before you believe it.
"""

import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import archive
from rounds import PAGE, ROUNDS, Contender, Promises, race, table

HERE = Path(__file__).resolve().parent
DROVER = os.environ.get("DROVER", str(HERE.parents[1] / ".build/release/drover"))
PARTS = "memory,disk,huge,archive,serving"
PAGE_FILE = HERE.parents[1] / "Documentation/measurements.md"
HEAD = """# Measurements

This page is what `make bench` wrote: Drover beside `qemu-img`, `uml_moo`, `lz4`, nbdkit and a loop of `pread` and `pwrite` in C, in
memory and on disk. It checks what each of them made. The rounds of all programs are interleaved, and on the disk the others' output is
synced within their time, because Drover always syncs its own. Only ratios from one run mean something, and on a busy machine they vary
by a third from run to run.

Measured on {day}: {processors} processors, {memory} GiB of memory, Linux {kernel}; medians of {rounds} rounds; the guest's disk has
{size}, half of it data. "At most" is what is aimed at.

`BENCH_SIZE=2G` (the guest's disk), `BENCH_ROUNDS=7`, `BENCH_DISK=/var/tmp` and `BENCH_PARTS=memory,disk` change what is measured; a run
of some parts only prints.

{promises}

What misses does so against the machine: writing 1 GiB into one fresh file in memory takes 0.36 to 0.7 s on two such processors however
it is done (`cp`, a loop in C, mapped memory), and packing keeps both processors busy, four fifths of the time inside liblz4. An
overlay and its base are packed whole, with what the overlay hides; `qemu-img` leaves that out, as `--flatten` does.

## Every program
{tables}
"""
UNITS = {"k": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
WHOLE = "16G"  # a segment larger than any image here: nothing but the one fsync at the end
MEMORY_LIMIT = 64


def size_of(text: str) -> int:
    return int(text[:-1]) * UNITS[text[-1]] if text[-1] in UNITS else int(text)


class Bench:
    """One directory, memory or disk, with all images in it."""

    def __init__(self, directory: str, on_disk: bool, size: int, promises: Promises):
        self.directory, self.on_disk, self.promises = directory, on_disk, promises
        self.place = "disk" if on_disk else "memory"
        subprocess.run([sys.executable, str(HERE / "images.py"), directory, str(size)], check=True)
        self.copyloop = os.path.join(directory, "copyloop")
        subprocess.run(["cc", "-O2", "-pthread", "-o", self.copyloop, str(HERE / "copyloop.c")], check=True)

    def at(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def drover(self, name: str, source: str, expected: str, *options: str) -> Contender:
        target = self.at("target.raw")
        return Contender(
            name,
            [DROVER, "convert", *options, self.at(source), target],
            (target, target + ".manifest", target + ".partial"),
            check=lambda: self.check(name, target, expected),
        )

    def other(self, name: str, command: list[str], expected: str) -> Contender:
        target = self.at("target.raw")
        return Contender(name, [*command, target], (target,), sync=self.on_disk, check=lambda: self.check(name, target, expected))

    def check(self, name: str, target: str, expected: str) -> None:
        filecmp.clear_cache()
        if not filecmp.cmp(target, self.at(expected), shallow=False):
            sys.exit(f"bench: {name} made something else than {expected}")

    def coarse(self) -> None:
        qemu = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw"]
        results = race([
            self.drover("drover", "overlay.cow", "disk.raw"),
            self.drover("drover, one checkpoint", "overlay.cow", "disk.raw", "--segment", WHOLE),
            self.other("qemu-img convert", [*qemu, self.at("overlay.qcow2")], "disk.raw"),
            self.other("qemu-img convert -W -m 8", [*qemu, "-W", "-m", "8", self.at("overlay.qcow2")], "disk.raw"),
            self.other("C, 2 threads", [self.copyloop, self.at("disk.raw")], "disk.raw"),
            self.other("uml_moo", ["uml_moo", self.at("overlay.cow")], "disk.raw"),
        ])  # fmt: skip
        table(f"An overlay over a base, half of the disk holes ({self.place})", results, "drover")
        others = [name for name in results if not name.startswith("drover")]
        if self.on_disk:
            self.promises.ratio("disk: overlay, against the best of the others", results, "drover", others, 1.05)
            self.promises.ratio("disk: checkpoints every 64 MiB, against one", results, "drover", ["drover, one checkpoint"], 1.10)
        else:
            self.promises.ratio("memory: overlay, against qemu-img convert", results, "drover", ["qemu-img convert"], 0.72)
            self.promises.ratio("memory: overlay, against the C loop", results, "drover", ["C, 2 threads"], 1.10)
        self.limit_memory("overlay", results)

    def fine(self) -> None:
        qemu = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", self.at("fine.qcow2")]
        results = race([
            self.drover("drover", "fine.cow", "fine.raw"),
            self.other("qemu-img convert, 512-byte clusters", qemu, "fine.raw"),
            self.other("uml_moo", ["uml_moo", self.at("fine.cow")], "fine.raw"),
        ])  # fmt: skip
        table(f"An overlay in runs of 0.5 to 4 KiB over a dense base ({self.place})", results, "drover")
        others = [name for name in results if name != "drover"]
        limit = 1.05 if self.on_disk else 1 / 3
        self.promises.ratio(f"{self.place}: fragmented overlay, against the best of the others", results, "drover", others, limit)
        self.limit_memory("fragmented overlay", results)

    def huge(self) -> None:
        image = self.at("huge.cow")
        target = self.at("huge-target.raw")
        results = race([
            Contender("drover map", [DROVER, "map", "--output", "json", image]),
            Contender("drover measure", [DROVER, "measure", image]),
            Contender("drover convert", [DROVER, "convert", image, target], (target, target + ".manifest", target + ".partial")),
        ])  # fmt: skip
        table(f"7 TiB with ten allocated sectors ({self.place})", results, "drover convert")
        for name, times in results.items():
            self.promises.at_most(f"{self.place}: 7 TiB, {name}", times.median, 0.1, "s")
        self.limit_memory("7 TiB", results)

    def serving(self) -> None:
        """Whole disks by nbdcopy, out of chains, out of an archive, and of raw files by nbdkit's own plugin."""
        plugin = str(Path(DROVER).with_name("libnbdkit-drover-plugin.so"))
        raw, dense, archive = self.at("dense.raw"), self.at("dense.cow"), self.at("dense.drover")
        subprocess.run(["cp", "--sparse=never", self.at("disk.raw"), raw], check=True)
        subprocess.run([DROVER, "create", "-b", raw, dense], check=True)
        subprocess.run([DROVER, "pack", "-q", archive, self.at("fine.raw")], check=True)

        def served(name: str, *what: str) -> Contender:
            return Contender(name, ["nbdkit", "-U", "-", *what, "--run", "nbdcopy $uri null:"])

        results = race([
            served("drover, a dense chain", plugin, dense),
            served("drover, half of it holes", plugin, self.at("overlay.cow")),
            served("drover, out of an archive", plugin, f"{archive}::fine.raw"),
            served("nbdkit's file plugin, dense", "file", raw),
            Contender("lz4 -dc", ["lz4", "-d", "-c", "-q", archive]),
        ])  # fmt: skip
        table(f"Whole disks over NBD ({self.place})", results, "drover, a dense chain")
        file = ["nbdkit's file plugin, dense"]
        self.promises.ratio("NBD: a dense chain, against nbdkit's file plugin", results, "drover, a dense chain", file, 1.25)
        self.promises.ratio("NBD: half of it holes, against that", results, "drover, half of it holes", file, 1.0)
        self.promises.ratio("NBD: out of an archive, against lz4 -dc", results, "drover, out of an archive", ["lz4 -dc"], 1.0)

    def limit_memory(self, what: str, results: dict) -> None:
        peak = max(times.peak for name, times in results.items() if name.startswith("drover"))
        self.promises.at_most(f"{self.place}: {what}, peak RSS", peak / (1 << 20), MEMORY_LIMIT, "MiB")


def main() -> int:
    if not os.access(DROVER, os.X_OK):
        sys.exit(f"bench: {DROVER} is not there (make build)")
    parts = os.environ.get("BENCH_PARTS", PARTS).split(",")
    text = os.environ.get("BENCH_SIZE", "2G")
    size = size_of(text)
    promises = Promises()
    places = [("memory", "/dev/shm"), ("disk", os.environ.get("BENCH_DISK", "/var/tmp"))]
    for name, parent in places:
        if name not in parts:
            continue
        directory = tempfile.mkdtemp(prefix="drover-bench-", dir=parent)
        try:
            bench = Bench(directory, name == "disk", size, promises)
            bench.coarse()
            bench.fine()
            if "huge" in parts:
                bench.huge()
            if "serving" in parts and name == "memory":
                bench.serving()
        finally:
            shutil.rmtree(directory)
    if "archive" in parts and archive.is_possible(DROVER):
        archive.main(DROVER, size, promises)
    kept = promises.report()
    if sorted(parts) == sorted(PARTS.split(",")):
        write_page(promises, text)
    return 0 if kept else 1


def write_page(promises: Promises, size: str) -> None:
    page = HEAD.format(
        day=time.strftime("%Y-%m-%d", time.gmtime()), processors=os.cpu_count(), kernel=os.uname().release.split("-")[0],
        memory=round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)), rounds=ROUNDS, size=f"{size[:-1]} {size[-1]}iB",
        promises=promises.table(), tables="\n".join(PAGE).strip())
    PAGE_FILE.write_text(page)
    print(f"\n{PAGE_FILE} is written")


if __name__ == "__main__":
    sys.exit(main())
