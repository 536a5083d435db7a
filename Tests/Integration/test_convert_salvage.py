"""`drover convert --salvage`: past sectors that cannot be read, beside `qemu-img convert --salvage`. A library makes reads of them fail."""

import os
import random
import subprocess
import unittest
from pathlib import Path

from cow_writer import CowWriter, set_mtime
from harness import MIB, SECTOR, DroverCase, binary, digest, drover, records, required_tool, run_tool

HERE = Path(__file__).resolve().parent
MTIME = 1_700_000_000


class ConvertSalvageTests(DroverCase):
    def setUp(self):
        super().setUp()
        self.library = self.path("badsectors.so")
        run_tool("cc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", self.library, HERE / "badsectors.c", "-ldl")
        self.source, self.target = self.path("disk.img"), self.path("out.img")
        self.content = random.Random(4).randbytes(5 * MIB)
        Path(self.source).write_bytes(self.content)
        set_mtime(self.source, MTIME)

    def with_bad(self, sectors, *command, file=None):
        """Runs `command`, to which the ranges of sectors of `file` are unreadable."""
        text = ",".join(f"{first}-{last}" for first, last in sectors)
        environment = {**os.environ, "LD_PRELOAD": self.library, "BAD_FILE": file or self.source, "BAD_SECTORS": text}
        return subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, timeout=120)

    def salvage(self, sectors, *options, code=2, target=None, file=None, source=None):
        result = self.with_bad(
            sectors, binary(), "convert", "--salvage", *options, source or self.source, target or self.target, file=file)
        self.assertEqual(result.returncode, code, result)
        return result

    def without(self, sectors):
        content = bytearray(self.content)
        for first, last in sectors:
            content[first * SECTOR : (last + 1) * SECTOR] = bytes((last + 1 - first) * SECTOR)
        return bytes(content)

    def test_what_cannot_be_read_is_zeros_and_named(self):
        bad = [(0, 7), (2047, 2049), (10239, 10239)]
        self.assertEqual(self.with_bad(bad, binary(), "convert", "-f", "raw", self.source, self.target).returncode, 74)
        told = self.salvage(bad, "-f", "raw").stderr
        self.assertEqual(Path(self.target).read_bytes(), self.without(bad))
        for first, last in bad:
            self.assertIn(f"drover: {self.source}: sectors {first} to {last} cannot be read: zeros in {self.target}\n", told)
        lost = [{"start": first, "count": last + 1 - first} for first, last in bad]
        self.assertEqual(records(self.target)[-1]["lost"], lost)
        verified = drover("verify", self.target)
        self.assertEqual(verified.code, 2)
        self.assertEqual(len(verified.err.splitlines()), 3)
        self.assertIn("sectors 2047 to 2049 could not be restored", verified.err)
        before = os.stat(self.target).st_mtime_ns
        self.assertEqual(self.salvage(bad, "-f", "raw").stderr, told, "it is there, and says the same again")
        self.assertEqual(os.stat(self.target).st_mtime_ns, before)

    def test_it_is_what_qemu_img_makes_of_it(self):
        generator = random.Random(9)
        for number in range(6):
            bad = sorted((start, start + generator.randrange(0, 30)) for start in generator.sample(range(40, 10200, 40), 7))
            with self.subTest(bad=bad):
                # In its own units of reading qemu-img loses more: whole requests of 4096 bytes.
                aligned = [(first // 8 * 8, last // 8 * 8 + 7) for first, last in bad]
                theirs, ours = self.path(f"theirs{number}"), self.path(f"ours{number}")
                done = self.with_bad(aligned, required_tool("qemu-img"), "convert", "--salvage", "-q", "-f", "raw", "-O", "raw", self.source, theirs)
                self.assertEqual(done.returncode, 0, done)
                self.salvage(aligned, target=ours)
                self.assertEqual(digest(ours), digest(theirs))
                finer = self.path(f"finer{number}")
                self.salvage(bad, target=finer)
                self.assertEqual(Path(finer).read_bytes(), self.without(bad), "sector by sector")

    def test_where_all_can_be_read_it_is_an_ordinary_target(self):
        self.salvage([], code=0)
        self.succeeds("verify", self.target)
        self.succeeds("convert", self.source, self.target)
        self.assertNotIn("lost", records(self.target)[-1])

    def test_an_ordinary_run_does_not_take_it_for_whole(self):
        self.salvage([(100, 100)])
        self.fails(73, "convert", self.source, self.target)
        self.succeeds("convert", "--force", self.source, self.target)
        self.assertEqual(Path(self.target).read_bytes(), self.content)

    def test_layers_and_overlays(self):
        overlay, flat, kept = self.path("guest.cow"), self.path("flat.img"), self.path("kept.cow")
        writer = CowWriter("uml-v3", 5 * MIB, os.fsencode(self.source), mtime=MTIME)
        writer.allocate(10, 20)
        writer.write_data(10, b"x" * 20 * SECTOR)
        writer.save(overlay)
        # In the base, under the overlay's sectors and beside them.
        self.salvage([(28, 31)], source=overlay, target=flat)
        content = bytearray(self.content)
        content[10 * SECTOR : 30 * SECTOR] = b"x" * 20 * SECTOR
        content[30 * SECTOR : 32 * SECTOR] = bytes(2 * SECTOR)
        found = Path(flat).read_bytes()
        self.assertEqual([n for n in range(10240) if found[n * SECTOR : (n + 1) * SECTOR] != content[n * SECTOR : (n + 1) * SECTOR]], [])
        self.assertEqual(records(flat)[-1]["lost"], [{"start": 30, "count": 2}])
        # In the overlay itself: it holds zeros there then, and its base does not shine through.
        data = int(next(line.split(":")[1] for line in self.succeeds("info", overlay).out.splitlines() if "data offset" in line)) // SECTOR
        self.salvage([(data + 12, data + 12)], "-O", "cow", "-B", self.source, source=overlay, target=kept, file=overlay)
        self.succeeds("convert", kept, self.path("again.img"))
        content = bytearray(self.content)
        content[10 * SECTOR : 30 * SECTOR] = b"x" * 20 * SECTOR
        content[12 * SECTOR : 13 * SECTOR] = bytes(SECTOR)
        self.assertEqual(Path(self.path("again.img")).read_bytes(), content)

    def test_it_goes_on_after_an_interruption_and_forgets_no_loss(self):
        disk = self.path("long.img")
        with open(disk, "wb") as file:
            for start in range(6):
                file.seek(start * MIB)
                file.write(os.urandom(MIB // 2))
        bad = [(30, 40), (5 * 2048, 5 * 2048)]
        options = ["--segment", "1M", "--jobs", "1"]
        environment = {**os.environ, "LD_PRELOAD": self.library, "BAD_FILE": disk, "BAD_SECTORS": "30-40,10240-10240"}
        command = ["timeout", "--preserve-status", "-s", "INT", "2", binary(), "convert", "--salvage", *options, "--rate", "600k", disk, self.target]
        stopped = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        self.assertEqual(stopped.returncode, 75, stopped)
        told = self.salvage(bad, *options, source=disk, file=disk).stderr
        self.assertIn("sectors 30 to 40 cannot", told)
        self.assertIn("sectors 10240 to 10240 cannot", told)

    def test_where_it_means_nothing_it_is_refused(self):
        self.assertEqual(drover("convert", "--salvage", self.source, "-").code, 64)
        self.assertEqual(drover("convert", "--salvage", "--onto-device", "--manifest", self.path("m.manifest"), self.source, "/dev/null").code, 64)


if __name__ == "__main__":
    unittest.main()
