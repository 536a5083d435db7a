"""Extents that targets share with their sources, on a file system that can: XFS."""

import os
import random
import re
import shutil
from pathlib import Path

from chains import random_chain
import needs
from cow_writer import CowWriter, set_mtime
from filesystems import mounted
from harness import MIB, SECTOR, DroverCase, binary, drover, manifest_of, records, run_tool

OLD = 1_450_000_000


def shared(path):
    """Bytes of the file in extents that another file has, too."""
    lines = run_tool("filefrag", "-v", path).splitlines()
    return sum(int(line.split(":")[3]) * 4096 for line in lines if "shared" in line.rsplit(":", 1)[-1])


class ReflinkTests(DroverCase):
    def setUp(self):
        super().setUp()
        needs.loop_devices()
        disk = mounted("xfs", str(self.scratch))
        self.disk = Path(disk.__enter__())
        self.addCleanup(disk.__exit__, None, None, None)
        self.base = self.disk / "base.raw"
        self.base.write_bytes(random.Random(3).randbytes(24 * MIB) + bytes(4 * MIB) + b"end" * 100)
        os.truncate(self.base, 32 * MIB)
        set_mtime(self.base, OLD)

    def overlay(self, name, layout, runs):
        writer = CowWriter(layout, 32 * MIB, os.fsencode(self.base), OLD)
        for sector, data in runs:
            writer.allocate(sector, len(data) // SECTOR)
            writer.write_data(sector, data)
        writer.save(self.disk / name)
        return self.disk / name

    def segments(self, target):
        return sorted((record["start"], record["count"], record["digest"]) for record in records(target) if record["record"] == "segment")

    def test_a_flattened_guest_costs_what_its_overlay_holds(self):
        image = self.overlay("image.cow", "uml-v3", [(9, b"x" * SECTOR), (2048, b"y" * MIB)])
        shares, copies = self.disk / "shares.raw", self.disk / "copies.raw"
        result = self.succeeds("convert", "-v", "--segment", "8M", image, shares)
        self.assertIn("with its sources", result.err)
        self.succeeds("convert", "--segment", "8M", "--no-reflink", image, copies)
        self.assert_same_file(shares, copies)
        self.assertEqual(self.segments(shares), self.segments(copies))
        # The block in which the overlay has a sector is copied, and so is what is short: before it, and at the end.
        self.assertGreaterEqual(shared(shares), 24 * MIB - 2 * 4096)
        self.assertEqual(shared(copies), 0)
        self.succeeds("verify", shares)
        self.assertLess(os.stat(copies).st_blocks * 512, 26 * MIB)

    def test_targets_of_every_kind_are_what_they_were(self):
        image = self.overlay("image.cow", "uml-v3", [(100, random.Random(5).randbytes(3 * MIB)), (40000, b"z" * 5 * SECTOR)])
        self.succeeds("convert", "--no-reflink", image, self.disk / "plain.raw")
        for number, options in enumerate((("-O", "raw"), ("-O", "cow", "-o", "layout=qemu-v2"), ("-O", "cow", "-B", self.base), ("-O", "qcow2"),
                                          ("-O", "raw", "-S", "0"), ("-O", "raw", "-S", "512", "--jobs", "1"))):  # fmt: skip
            target = self.disk / f"target-{number}"
            self.succeeds("convert", *options, image, target)
            self.succeeds("compare", "-f", "raw", self.disk / "plain.raw", target)
            self.succeeds("verify", target)

    def test_random_chains_are_what_they_were(self):
        seed = random.SystemRandom().randrange(10**9)
        for number in range(15):
            folder = self.disk / str(number)
            folder.mkdir()
            image = random_chain(f"{seed}-{number}", folder).top
            shares, copies = self.disk / "shares.raw", self.disk / "copies.raw"
            with self.subTest(f"{seed}-{number}"):
                if drover("convert", "--force", "--no-reflink", image, copies).code == 0:
                    self.succeeds("convert", "--force", image, shares)
                    self.assert_same_file(shares, copies)

    def test_a_fleet_shares_its_base(self):
        for number in range(6):
            self.overlay(f"guest-{number}.cow", "uml-v3", [(number, b"g" * SECTOR)])
        pipeline = self.disk / "fleet.yaml"
        pipeline.write_text("sources: ['*.cow']\ntarget: {directory: out}\n")
        before = os.statvfs(self.disk).f_bfree
        self.succeeds("run", pipeline)
        self.assertLess((before - os.statvfs(self.disk).f_bfree) * 4096, 8 * MIB)
        for number in range(6):
            self.succeeds("compare", self.disk / f"guest-{number}.cow", self.disk / f"out/guest-{number}.raw")
        self.succeeds("run", "--no-reflink", "--restart", pipeline)

    def read_of(self, path, *arguments):
        """Bytes that Drover reads of `path`."""
        trace = self.path("trace")
        run_tool("strace", "-f", "-qq", "-o", trace, "-e", "trace=read,pread64,preadv,preadv2", "-P", path, binary(), *map(str, arguments))
        return sum(int(line.rsplit("=", 1)[1]) for line in Path(trace).read_text().splitlines() if re.search(r"= \d+$", line))

    def copied_base(self, tail=0):
        """The base again, as Drover copied it: with a manifest."""
        with open(self.base, "r+b") as file:
            file.truncate(32 * MIB - tail)
        set_mtime(self.base, OLD)
        copy = self.disk / "copy.raw"
        self.succeeds("convert", "--segment", "8M", "--as-base", self.base, copy)
        self.assertIn("named", records(copy)[-1])
        return copy

    def test_what_the_manifest_of_a_base_has_is_not_read(self):
        for number, (tail, allowed) in enumerate(((0, 0), (512, 0), (1000, 0))):
            copy = self.copied_base(tail)
            for name, layers, expected in (("empty", [], 0), ("some", [(20000, b"x" * 3 * SECTOR), (40000, b"y" * 2 * MIB)], 4 * MIB)):
                image, target = self.disk / f"{name}-{number}.cow", self.disk / f"{name}-{number}.raw"
                self.succeeds("create", "-b", copy, image)
                writer = CowWriter("uml-v3", 32 * MIB - tail // SECTOR * SECTOR, os.fsencode(copy), OLD)
                for sector, data in layers:
                    writer.allocate(sector, len(data) // SECTOR)
                    writer.write_data(sector, data)
                if not tail % SECTOR:
                    writer.save(image)
                # 64 KiB for what looks at its content, and its last block.
                options = ("convert", "-q", "--segment", "8M", image, target)
                self.assertLessEqual(self.read_of(copy, *options), expected + 80 * 1024)
                self.succeeds("verify", target)
                plain = self.disk / f"{name}-{number}-plain.raw"
                self.succeeds("convert", "--segment", "8M", "--no-reflink", image, plain)
                self.assert_same_file(target, plain)
                self.assertEqual(self.segments(target), self.segments(plain))
            copy.unlink()
            Path(manifest_of(copy)).unlink()

    def test_a_base_that_changed_since_is_read(self):
        copy = self.copied_base()
        image = self.disk / "image.cow"
        self.succeeds("create", "-b", copy, image)
        with open(copy, "r+b") as file:
            file.seek(5 * MIB)
            file.write(b"changed")
        set_mtime(copy, OLD)
        self.assertGreater(self.read_of(copy, "convert", "-q", "--segment", "8M", image, self.disk / "target.raw"), 24 * MIB)
        self.succeeds("verify", self.disk / "target.raw")
        self.assert_same_file(self.disk / "target.raw", copy)

    def test_a_fleet_reads_its_base_once(self):
        for number in range(8):
            self.overlay(f"guest-{number}.cow", "uml-v3", [(5000, bytes([number]) * SECTOR)])
        pipeline = self.disk / "fleet.yaml"
        pipeline.write_text("sources: ['*.cow']\ntarget: {directory: out}\n")
        # One chunk of each guest is its own in part.
        # All of its data is 28 MiB and a little.
        self.assertLessEqual(self.read_of(self.base, "run", "-q", pipeline), (29 + 8) * MIB)
        for number in range(8):
            target, plain = self.disk / f"out/guest-{number}.raw", self.disk / "plain.raw"
            self.succeeds("verify", target)
            self.succeeds("convert", "--force", "--no-reflink", self.disk / f"guest-{number}.cow", plain)
            self.assert_same_file(target, plain)
            self.assertEqual(self.segments(target), self.segments(plain))
        for number in range(8):
            self.overlay(f"guest-{number}.cow", "uml-v3", [(5000, b"new" + bytes([number]) * (SECTOR - 3))])
        self.assertLessEqual(self.read_of(self.base, "run", "-q", pipeline), 9 * MIB)

    def test_random_chains_beside_a_copy_of_each_are_what_they_were(self):
        seed = random.SystemRandom().randrange(10**9)
        for number in range(10):
            folder = self.disk / str(number)
            folder.mkdir()
            top = Path(random_chain(f"{seed}-known-{number}", folder).top)
            shutil.copy2(top, top.with_name("second.cow"))
            pipeline = self.disk / f"{number}.yaml"
            pipeline.write_text(f"sources: ['{top}', '{top.with_name('second.cow')}']\ntarget: {{directory: out-{number}}}\n")
            with self.subTest(f"{seed}-known-{number}"):
                plain = self.disk / "plain.raw"
                if drover("convert", "--force", "--no-reflink", top, plain).code:
                    continue
                self.succeeds("run", pipeline)
                for target in (self.disk / f"out-{number}").glob("*.raw"):
                    self.assert_same_file(target, plain)
                    self.assertEqual(self.segments(target), self.segments(plain))
                shutil.rmtree(self.disk / f"out-{number}")
            # Ten of the larger ones do not fit the disk together.
            shutil.rmtree(folder)

    def test_a_file_system_that_cannot_is_copied_to(self):
        target = self.path("copy.raw")
        self.succeeds("convert", self.base, target)
        self.assert_same_file(target, self.base)
        self.assertTrue(os.path.exists(manifest_of(target)))

    def test_a_full_disk_is_an_error_and_goes_on(self):
        # Data at multiples of 512 is copied.
        image = self.overlay("image.cow", "uml-v2", [(0, b"x" * 16 * MIB)])
        filler = self.disk / "filler"
        with open(filler, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, (os.statvfs(self.disk).f_bavail - 64) * 4096)
        self.fails(74, "convert", "--segment", "1M", image, self.disk / "out.raw")
        filler.unlink()
        self.succeeds("convert", "--segment", "1M", image, self.disk / "out.raw")
        self.succeeds("compare", image, self.disk / "out.raw")
