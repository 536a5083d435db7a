"""Where files are made and opened: in the folders that were meant, while somebody swaps links for these."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

from harness import DroverCase, drover, start

ROUNDS_LAST = 3  # seconds

# Exchanges two names for as long as it lives.
SWAP = """
import ctypes, sys, time
libc = ctypes.CDLL(None)
a, b = (argument.encode() for argument in sys.argv[1:3])
pause = float(sys.argv[3])
while True:
    libc.renameat2(-100, a, -100, b, 2)
    if pause: time.sleep(pause)
"""


class PlaceTests(DroverCase):
    def swapping(self, a, b, pause=0.0003):
        process = subprocess.Popen([sys.executable, "-S", "-E", "-c", SWAP, a, b, str(pause)])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def rounds(self):
        end = time.monotonic() + ROUNDS_LAST
        while time.monotonic() < end:
            yield

    def fleet_archive(self):
        os.makedirs(self.path("src/guests"))
        sources = []
        for number in range(20):
            sources.append(self.path(f"src/guests/i{number}.raw"))
            Path(sources[-1]).write_bytes(random.Random(number).randbytes(4096))
        Path(self.path("src/z.raw")).write_bytes(bytes(512))
        archive = self.path("a.drover")
        self.succeeds("pack", archive, *sources, self.path("src/z.raw"))
        return archive

    def test_unpack_makes_nothing_outside(self):
        archive = self.fleet_archive()
        outside = self.path("outside")
        for directory in ("un/guests", "outside"):
            os.makedirs(self.path(directory))
        precious = [f"{outside}/i{number}.raw" for number in range(20)]
        for file in precious:
            Path(file).write_text("precious")
        os.symlink(outside, self.path("un/x"))
        self.swapping(self.path("un/guests"), self.path("un/x"))
        for _ in self.rounds():
            drover("unpack", "-q", "--force", "-C", self.path("un"), archive)
            self.assertEqual(sorted(os.listdir(outside)), sorted(map(os.path.basename, precious)))
            self.assertEqual({Path(file).read_text() for file in precious}, {"precious"})

    def confined(self):
        for directory, byte in (("conf/sub", b"G"), ("secret", b"S")):
            os.makedirs(self.path(directory))
            base = self.path(f"{directory}/base.raw")
            Path(base).write_bytes(byte * 65536)
            os.utime(base, (1_450_000_000, 1_450_000_000))
        os.symlink(self.path("secret"), self.path("conf/x"))
        self.succeeds("create", "-b", self.path("conf/sub/base.raw"), "-o", "layout=qemu-v2", self.path("conf/o.cow"))

    def test_what_is_confined_is_read_from_inside(self):
        self.confined()
        self.swapping(self.path("conf/sub"), self.path("conf/x"), 0)
        target = self.path("t.raw")
        codes = set()
        for _ in self.rounds():
            codes.add(drover("convert", "-q", "--force", "--restart", "--confine", self.path("conf"), self.path("conf/o.cow"), target).code)
            if os.path.exists(target):
                self.assertNotIn(b"S", Path(target).read_bytes())
        self.assertLessEqual(codes, {0, 65, 66})

    def test_a_link_within_the_confinement_works(self):
        self.confined()
        os.symlink("sub/base.raw", self.path("conf/link.raw"))
        self.succeeds("create", "-b", self.path("conf/link.raw"), "--confine", self.path("conf"), "-o", "layout=qemu-v2", self.path("l.cow"))
        self.succeeds("convert", "--confine", self.path("conf"), self.path("l.cow"), self.path("l.raw"))
        os.symlink(self.path("secret/base.raw"), self.path("conf/out.raw"))
        self.fails(65, "create", "-b", self.path("conf/out.raw"), "--confine", self.path("conf"), self.path("m.cow"))

    def pipeline(self, target):
        os.makedirs(self.path("in/sub"), exist_ok=True)
        for name in ("a", "b"):
            Path(self.path(f"in/sub/{name}.raw")).write_bytes(name.encode() * 8192)
        file = self.path("fleet.yaml")
        Path(file).write_text(
            "version: 1\noperation: convert\nsources:\n  - in/*/*.raw\n"
            f'target:\n  directory: {target}\n  name: "{{directory}}/{{name}}.img"\n  format: raw\n'
        )
        return file

    def test_a_fleet_makes_nothing_outside_of_its_directory(self):
        file = self.pipeline("out")
        for directory in ("out", "outside"):
            os.makedirs(self.path(directory))
        os.symlink(self.path("outside"), self.path("out/sub"))
        self.succeeds("run", file, code=1)
        self.assertEqual(os.listdir(self.path("outside")), [])
        os.unlink(self.path("out/sub"))
        os.makedirs(self.path("out/real"))
        os.symlink("real", self.path("out/sub"))
        self.succeeds("run", file)
        self.assertTrue(os.path.exists(self.path("out/real/a.img")))

    def test_a_staging_file_that_was_replaced_gets_no_name(self):
        source, target, victim = self.path("s.raw"), self.path("t.raw"), self.path("victim")
        Path(source).write_bytes(random.Random(1).randbytes(4 << 20))
        Path(victim).write_text("precious")
        process = start("convert", "-q", "--rate", "2M", source, target, stderr=subprocess.PIPE)
        while not os.path.exists(f"{target}.partial"):
            time.sleep(0.01)
        os.unlink(f"{target}.partial")
        os.symlink(victim, f"{target}.partial")
        _, error = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 74, error)
        self.assertFalse(os.path.lexists(target))
        self.assertEqual(Path(victim).read_text(), "precious")
        self.assertEqual(os.readlink(f"{target}.partial"), victim)

    def test_names_that_are_no_files(self):
        source = self.path("s.raw")
        Path(source).write_bytes(b"x" * 4096)
        keep = self.path("keep.raw")
        Path(keep).write_text("precious")
        for name in ("new/", "keep.raw/", "keep.raw/.", "keep.raw//"):
            for command in (["convert", "--force", source], ["create", "--force", "-b", source]):
                self.fails(73, *command, f"{self.scratch}/{name}")
            self.fails(73, "pack", "--force", f"{self.scratch}/{name}", source)
        os.symlink("new/", self.path("link"))
        self.fails(73, "convert", source, self.path("link"))
        self.assertEqual(Path(keep).read_text(), "precious")
        self.assertEqual(sorted(os.listdir(self.scratch)), ["keep.raw", "link", "s.raw"])
        self.fails(73, "convert", source, "/dev/drover-test.raw")
        self.assertFalse(os.path.lexists("/dev/drover-test.raw"))
        self.fails(64, "create", "-b", source, "-")

    def test_create_again(self):
        base, file = self.path("b.raw"), self.path("n.cow")
        Path(base).write_bytes(b"x" * 65536)
        Path(f"{file}.partial").write_text("left by a crash")
        self.succeeds("create", "-b", base, file)
        self.assertEqual(sorted(os.listdir(self.scratch)), ["b.raw", "n.cow"])
        before = os.stat(file)
        self.succeeds("create", "-b", base, file)
        self.assertEqual(os.stat(file).st_ino, before.st_ino)
        with open(file, "r+b") as image:
            image.seek(-1, os.SEEK_END)
            image.write(b"!")
        self.fails(73, "create", "-b", base, file)
        os.link(base, f"{file}.manifest")
        self.fails(73, "create", "--force", "-b", base, file)
        self.assertEqual(Path(base).read_bytes(), b"x" * 65536)
