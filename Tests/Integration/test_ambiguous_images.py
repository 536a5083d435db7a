"""Images with two possible meanings: decided where the rules decide, else refused by name until the user says which."""

import os
from pathlib import Path

from cow_writer import CowWriter, set_mtime
from harness import SECTOR, DroverCase
from reference import open_chain

GIB = 1 << 30
MTIME = 1_300_000_000


class AmbiguousLayoutTests(DroverCase):
    """Version 2 has four layouts; the size of one can be the sector size of another."""

    def setUp(self):
        super().setUp()
        self.size = 4 * GIB + SECTOR  # its low half is 512, just where qemu-v2-32 has its sector size
        self.image = self.path("two.cow")

    def save(self, backing=b"", size=None):
        writer = CowWriter("qemu-v2", size or self.size, backing)
        writer.full_length = False
        writer.save(self.image)

    def guest_size(self, *options):
        entries = self.succeeds("map", "--output", "json", *options, self.image).json()
        return sum(entry["length"] for entry in entries)

    def test_without_a_backing_file_both_are_named_and_f_settles_it(self):
        self.save()
        for command in (("map",), ("info",), ("check",), ("convert", "-O", "raw")):
            target = [self.path("out.raw")] if command[0] == "convert" else []
            with self.subTest(command[0]):
                result = self.fails((65, 2) if command[0] == "check" else 65, *command, self.image, *target)
                self.assertRegex(result.err + result.out, r"qemu-v2\b(?!-)")
                self.assertIn("qemu-v2-32", result.err + result.out)
        self.assertEqual(self.guest_size("-f", "qemu-v2"), self.size)
        self.assertEqual(self.guest_size("-f", "qemu-v2-32"), SECTOR)

    def test_f_does_not_force_a_layout_that_does_not_fit(self):
        self.save(size=GIB)
        for layout in ("qemu-v2-32", "uml-v2", "uml-v3", "uml-v1", "qcow2"):
            self.fails(65, "map", "-f", layout, self.image)

    def test_the_backing_files_size_decides(self):
        base = self.path("base.raw")
        for size in (self.size, 1):  # the other reading is a disk of one byte
            Path(base).write_bytes(b"")
            os.truncate(base, size)
            self.save(os.fsencode(base))
            self.assertEqual(self.guest_size(), -(-size // SECTOR) * SECTOR)
        os.truncate(base, 77)
        self.fails(65, "map", self.image)

    def test_a_bitmap_that_looks_like_a_sector_size(self):
        """uml-v2 of 4 GiB with only sector 17 allocated is a uml-v2-64 disk of one sector too, but for the backing file."""
        base = self.path("base.raw")
        Path(base).write_bytes(b"")
        os.truncate(base, 4 * GIB)
        set_mtime(base, MTIME)
        writer = CowWriter("uml-v2", 4 * GIB, os.fsencode(base), MTIME)
        writer.allocate(17, 1)
        writer.write_data(17, b"\5" * SECTOR)
        writer.full_length = False
        writer.save(self.image)
        self.assertEqual(self.guest_size(), 4 * GIB)

    def test_a_size_of_0_has_no_data(self):
        """A one-sector image could be a qemu-v2-32 disk of size 0; but such a file ends with its header."""
        writer = CowWriter("qemu-v2", SECTOR)
        writer.allocate(0, 1)
        writer.write_data(0, b"\6" * SECTOR)
        writer.save(self.image)
        self.succeeds("convert", self.image, self.path("out.raw"))
        self.assertEqual(Path(self.path("out.raw")).read_bytes(), b"\6" * SECTOR)


class RawOrChainTests(DroverCase):
    """UML reads its backing file as raw bytes, COW or not; the overlay's size tells which was meant."""

    def setUp(self):
        super().setUp()
        self.middle, self.image, self.out = self.path("middle.cow"), self.path("top.cow"), self.path("out.raw")
        writer = CowWriter("qemu-v2", 40 * SECTOR)
        writer.allocate(1, 1)
        writer.write_data(1, b"\7" * SECTOR)
        writer.save(self.middle)
        set_mtime(self.middle, MTIME)

    def over_middle(self, size):
        writer = CowWriter("uml-v3", size, os.fsencode(self.middle), MTIME)
        writer.allocate(2, 1)
        writer.write_data(2, b"\x08" * SECTOR)
        writer.save(self.image)

    def assert_converts(self, *options):
        self.succeeds("convert", *options, self.image, self.out)
        self.assertEqual(Path(self.out).read_bytes(), open_chain(self.image).guest())

    def test_the_files_length_means_raw(self):
        self.over_middle(os.path.getsize(self.middle))
        self.assert_converts()
        self.assertEqual(Path(self.out).read_bytes()[:4], b"OOOM")

    def test_the_guest_size_means_chain(self):
        self.over_middle(40 * SECTOR)
        self.assert_converts()
        self.assertEqual(Path(self.out).read_bytes()[SECTOR : 2 * SECTOR], b"\7" * SECTOR)

    def test_a_base_that_was_raw_bytes_is_not_kept_where_it_would_become_a_chain(self):
        """QEMU layouts take a COW file below them for a chain, always: such an overlay would show another disk."""
        self.over_middle(os.path.getsize(self.middle))
        target = self.path("kept.cow")
        self.fails(65, "convert", "-O", "cow", "-B", self.middle, "-o", "layout=qemu-v2", self.image, target)
        self.assert_absent(target, f"{target}.partial")

    def test_neither_stops(self):
        self.over_middle(41 * SECTOR)
        self.fails(65, "convert", self.image, self.out)

    def test_both_stops_until_the_backing_format_decides(self):
        with open(self.middle, "r+b") as file:  # 40 sectors of guest disk in a file of 40 sectors
            file.truncate(40 * SECTOR)
        set_mtime(self.middle, MTIME)
        self.over_middle(40 * SECTOR)
        self.assertIn("--backing-format", self.fails(65, "convert", self.image, self.out).err)
        self.succeeds("convert", "--backing-format", "raw", self.image, self.out)
        self.assertEqual(Path(self.out).read_bytes()[:4], b"OOOM")
        chain = self.path("chain.raw")
        self.succeeds("convert", "--backing-format", "cow", self.image, chain)
        self.assertEqual(Path(chain).read_bytes()[SECTOR : 2 * SECTOR], b"\7" * SECTOR)
