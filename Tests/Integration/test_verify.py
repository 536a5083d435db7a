"""`drover verify` reads a target back and says where it is not what was written."""

import os
import re
import shutil
import tempfile
from pathlib import Path

from harness import MIB, SECTOR, DroverCase, manifest_of
from moves import make_image, segments
from reference import open_chain


class VerifyTests(DroverCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="drover-verify-")).resolve()
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.base, cls.image = make_image(cls.folder, 12)

    def setUp(self):
        super().setUp()
        self.targets = {self.path("out.raw"): (), self.path("out.cow"): ("-O", "cow", "-B", self.base)}
        for target, options in self.targets.items():
            self.succeeds("convert", "--segment", "1M", *options, self.image, target)

    def test_what_was_written_is_sound(self):
        for target in self.targets:
            self.succeeds("verify", target)

    def test_a_flipped_byte_is_damage_in_its_segment(self):
        target = self.path("out.raw")
        for first, count, kind in segments(target):
            at = (first + count // 2) * SECTOR + 17
            self.flip(target, at)
            with self.subTest(first=first, kind=kind):
                self.assert_damage(target, at // SECTOR, 12 * MIB // SECTOR)
            self.flip(target, at)
        self.succeeds("verify", target)

    def assert_damage(self, target, sector, sectors):
        """Code 2, and a range of sectors around `sector` that is less than the whole disk."""
        result = self.succeeds("verify", target, code=2)
        text = result.out + result.err
        ranges = re.findall(r"\b(\d+)(?:-|–| to |\.\.+<?| through )(\d+)\b", text)
        self.assertTrue(ranges, f"no sector range is named:\n{result}")
        first, last = map(int, ranges[0])
        self.assertTrue(first <= sector <= last, f"sector {sector} is not in {first} to {last}:\n{result}")
        self.assertLess(last - first + 1, sectors)

    def flip(self, target, at, mask=0x10):
        status = os.stat(target)
        with open(target, "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ mask]))
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))

    def test_damage_in_the_bitmap_or_the_data_of_an_overlay(self):
        target = self.path("out.cow")
        chain = open_chain(target)
        layer, base = chain.layers
        first = next(f for f, _ in layer.runs if layer.read(f, f + 1) != base.read(f, f + 1))
        bit = 1 << first % 8
        for at, mask in ((layer.data_offset + first * SECTOR, 1), (layer.header.bitmap_offset + first // 8, bit)):
            with self.subTest(at=at):
                self.flip(target, at, mask)
                self.succeeds("verify", target, code=2)
                self.flip(target, at, mask)
        self.succeeds("verify", target)

    def test_a_target_cut_short_is_damage(self):
        target = self.path("out.raw")
        os.truncate(target, os.path.getsize(target) - SECTOR)
        self.succeeds("verify", target, code=2)

    def test_a_file_without_a_manifest_cannot_be_verified(self):
        self.fails(65, "verify", self.base)

    def test_an_incomplete_manifest_is_not_sound(self):
        target = self.path("out.raw")
        lines = Path(manifest_of(target)).read_text().splitlines(keepends=True)
        # It may be said twice: when all is there, and when the name is given.
        Path(manifest_of(target)).write_text("".join(line for line in lines if '"record":"complete"' not in line))
        self.fails((2, 65), "verify", target)

    def test_a_missing_target_is_66(self):
        self.fails(66, "verify", self.path("nothing.raw"))
