"""The archive's part of `make bench`: packing, unpacking, verifying and listing, in memory (/dev/shm) only."""

import os
import shutil
import subprocess
import sys
import tempfile
from glob import glob
from pathlib import Path

from rounds import Contender, Promises, race, table

HERE = Path(__file__).resolve().parent
MEMORY_LIMIT = 96


def is_possible(drover: str) -> bool:
    return subprocess.run([drover, "pack", "--help"], capture_output=True).returncode == 0


class ArchiveBench:
    def __init__(self, drover: str, directory: str, promises: Promises):
        self.drover, self.directory, self.promises = drover, directory, promises
        self.peak = 0

    def at(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def pack(self, name: str, *sources: str, flatten: bool = False) -> Contender:
        target = self.at("target.drover")
        leftovers = (target, target + ".manifest", target + ".partial")
        return Contender(name, [self.drover, "pack", *["--flatten"] * flatten, target, *map(self.at, sources)], leftovers)

    def race(self, title: str, ours: str, contenders: list[Contender]) -> dict:
        results = race(contenders)
        table(title + " (memory)", results, ours)
        self.peak = max([self.peak] + [times.peak for name, times in results.items() if name.startswith("drover")])
        return results

    def packing(self) -> None:
        lz4 = self.at("target.lz4")
        results = self.race("Pack programs and text", "drover pack", [
            self.pack("drover pack", "dense.raw"),
            Contender("lz4 -1 -B6", ["lz4", "-1", "-B6", "-f", "-q", self.at("dense.raw"), lz4], (lz4,)),
            self.pack("drover pack, as shreds", "shreds.cow"),
        ])  # fmt: skip
        self.promises.ratio("pack, against lz4 -1 -B6", results, "drover pack", ["lz4 -1 -B6"], 0.53)
        self.promises.ratio("pack shreds, against the same in one piece", results, "drover pack, as shreds", ["drover pack"], 1.5)

        qcow2 = self.at("target.qcow2")
        zstd = ["qemu-img", "convert", "-c", "-W", "-m", "8", "-O", "qcow2", "-o", "compression_type=zstd"]
        results = self.race("Pack an overlay and its base", "drover pack", [
            self.pack("drover pack", "overlay.cow"),
            self.pack("drover pack --flatten, as qemu-img does", "overlay.cow", flatten=True),
            Contender("qemu-img convert -c, zstd", [*zstd, self.at("overlay.qcow2"), qcow2], (qcow2,)),
        ])  # fmt: skip
        self.promises.ratio("pack a chain, against qemu-img -c", results, "drover pack", ["qemu-img convert -c, zstd"], 0.3)

    def reading(self) -> None:
        archive, out = self.at("chain.drover"), self.at("unpacked")
        subprocess.run([self.drover, "pack", archive, self.at("overlay.cow")], check=True)
        results = self.race("Read the archive of an overlay and its base", "drover unpack", [
            Contender("drover unpack", [self.drover, "unpack", "-C", out, archive], (out,)),
            Contender("drover verify", [self.drover, "verify", archive]),
            Contender("lz4 -t", ["lz4", "-t", "-q", archive]),
        ])  # fmt: skip
        self.promises.ratio("unpack, against lz4 -t", results, "drover unpack", ["lz4 -t"], 0.75)
        self.promises.ratio("verify, against lz4 -t", results, "drover verify", ["lz4 -t"], 0.5)

    def fleet(self) -> None:
        archive = self.at("fleet.drover")
        subprocess.run([self.drover, "pack", archive, *sorted(glob(self.at("fleet/*.cow")))], check=True)
        subprocess.run(["lz4", "-1", "-q", "-f", self.at("fleet.bytes"), self.at("fleet.lz4")], check=True)
        ratio = os.path.getsize(archive) / os.path.getsize(self.at("fleet.lz4"))
        self.promises.at_most("200 overlays of one base, size against lz4 -1 of their bytes", ratio, 1.03)

    def herd(self) -> None:
        archive, out = self.at("herd.drover"), self.at("unpacked")
        subprocess.run([self.drover, "pack", archive, *sorted(glob(self.at("herd/*.cow")))], check=True)
        results = self.race("An archive of 10,000 images", "drover list", [
            Contender("drover list", [self.drover, "list", archive]),
            Contender("drover unpack, one", [self.drover, "unpack", "-C", out, archive, "guest-05000.cow"], (out,)),
        ])  # fmt: skip
        self.promises.at_most("list 10,000 images", results["drover list"].median, 0.5, "s")
        self.promises.at_most("unpack one of 10,000 images", results["drover unpack, one"].median, 0.5, "s")


def main(drover: str, size: int, promises: Promises) -> None:
    directory = tempfile.mkdtemp(prefix="drover-bench-", dir="/dev/shm")
    try:
        subprocess.run([sys.executable, str(HERE / "archive_images.py"), directory, str(size)], check=True)
        bench = ArchiveBench(drover, directory, promises)
        bench.packing()
        bench.reading()
        bench.fleet()
        bench.herd()
        promises.at_most("archives, peak RSS", bench.peak / (1 << 20), MEMORY_LIMIT, "MiB")
    finally:
        shutil.rmtree(directory)
