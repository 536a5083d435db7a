"""Backing files that moved, changed, are confined, stand in for each other, or have a size of their own."""

import os
import random
import shutil
from pathlib import Path

from cow_writer import CowWriter, set_mtime
from harness import SECTOR, DroverCase, drover
from reference import open_chain

COUNT = 64
SIZE = COUNT * SECTOR
MTIME = 1_400_000_000


class BackingFileTests(DroverCase):
    def setUp(self):
        super().setUp()
        os.makedirs(self.path("bases"))
        self.base = self.raw("bases/base.raw")
        self.image = self.overlay("top.cow", self.base)
        self.out = self.path("out.raw")

    def raw(self, name, size=SIZE, seed=1):
        Path(self.path(name)).write_bytes(random.Random(seed).randbytes(size))
        set_mtime(self.path(name), MTIME)
        return self.path(name)

    def overlay(self, name, backing, layout="uml-v3", size=SIZE, mtime=MTIME, allocated=((3, 2), (40, 1))):
        writer = CowWriter(layout, size, os.fsencode(backing), mtime)
        for first, count in allocated:
            writer.allocate(first, count)
            writer.write_data(first, bytes([0xC0]) * count * SECTOR)
        writer.save(self.path(name))
        set_mtime(self.path(name), MTIME)
        return self.path(name)

    def assert_converts(self, *options):
        """Conversion with `options` gives what the unmoved image showed."""
        self.succeeds("convert", *options, self.image, self.out)
        self.assertEqual(Path(self.out).read_bytes(), self.expected)

    @property
    def expected(self):
        guest = bytearray(random.Random(1).randbytes(SIZE))
        for first, count in ((3, 2), (40, 1)):
            guest[first * SECTOR : (first + count) * SECTOR] = bytes([0xC0]) * count * SECTOR
        return bytes(guest)

    def test_a_changed_mtime_is_refused_and_can_be_ignored(self):
        set_mtime(self.base, MTIME + 1)
        for command in (("map",), ("measure",)):
            self.fails(65, *command, self.image)
        self.assertIn("base.raw", self.fails(65, "convert", self.image, self.out).err)
        self.assertEqual(drover("check", self.image).code, 2)
        self.assert_converts("--ignore-mtime")

    def test_only_whole_seconds_of_the_mtime_count(self):
        set_mtime(self.base, MTIME, 999_999_999)
        self.assert_converts()

    def test_a_qemu_header_with_another_mtime_is_refused_and_0_is_unknown(self):
        other = self.overlay("other.cow", self.base, "qemu-v2", mtime=MTIME - 1)
        self.fails(65, "convert", other, self.out)
        self.image = self.overlay("unknown.cow", self.base, "qemu-v2", mtime=0)
        self.assert_converts()

    def test_a_uml_header_with_mtime_0_is_checked(self):
        self.fails(65, "convert", self.overlay("zero.cow", self.base, "uml-v3", mtime=0), self.out)

    def test_a_uml_backing_file_of_another_size_is_refused(self):
        for layout in ("uml-v1", "uml-v2", "uml-v2-64", "uml-v3", "uml-v3-64"):
            for size in (SIZE - SECTOR, SIZE + SECTOR, SIZE - 1):
                with self.subTest(layout=layout, size=size):
                    image = self.overlay("wrong.cow", self.base, layout, size)
                    self.fails(65, "convert", "--ignore-mtime", image, self.out)

    def test_a_moved_base_is_found_by_backing_map(self):
        os.rename(self.path("bases"), self.path("moved"))
        self.fails(66, "convert", self.image, self.out)
        self.assert_converts("--backing-map", f"{self.path('bases')}={self.path('moved')}")

    def test_backing_map_takes_whole_components_and_the_longest(self):
        shutil.copytree(self.path("bases"), self.path("right"))
        os.rename(self.path("bases"), self.path("gone"))
        half = f"{self.path('bas')}={self.path('righ')}"
        self.fails(66, "convert", "--backing-map", half, self.image, self.out)
        whole = f"{self.path('bases')}={self.path('right')}"
        shorter = f"{self.scratch}={self.path('nowhere')}"
        self.assert_converts("--backing-map", whole, "--backing-map", shorter)

    def test_confine_forbids_what_is_outside(self):
        os.mkdir(self.path("inside"))
        self.fails(65, "convert", "--confine", self.path("inside"), self.image, self.out)
        self.assert_converts("--confine", self.path("inside"), "--confine", self.path("bases"))

    def test_what_confine_forbids_is_no_damage(self):
        os.makedirs(self.path("inside"))
        for more in ((), ("--output", "json")):
            result = self.fails(65, "check", *more, "--confine", self.path("inside"), self.image)
            self.assertIn("confine", result.err)
        self.assertEqual([problem["kind"] for problem in result.json()["problems"]], ["confined"])
        self.succeeds("check", "--confine", self.path("bases"), self.image)

    def test_confine_takes_whole_components(self):
        os.mkdir(self.path("base"))
        self.fails(65, "convert", "--confine", self.path("base"), self.image, self.out)

    def test_confine_resolves_symbolic_links(self):
        os.mkdir(self.path("inside"))
        os.symlink(self.base, self.path("inside/link.raw"))
        image = self.overlay("sly.cow", self.path("inside/link.raw"))
        self.fails(65, "convert", "--confine", self.path("inside"), image, self.out)
        dotted = self.overlay("dots.cow", self.path("inside/../bases/base.raw"))
        self.fails(65, "convert", "--confine", self.path("inside"), dotted, self.out)

    def test_confine_is_applied_after_backing_map(self):
        os.rename(self.path("bases"), self.path("moved"))
        os.mkdir(self.path("bases"))
        moved = f"{self.path('bases')}={self.path('moved')}"
        self.fails(65, "convert", "--backing-map", moved, "--confine", self.path("bases"), self.image, self.out)
        self.assert_converts("--backing-map", moved, "--confine", self.path("moved"))

    def test_a_relative_path_begins_at_the_image_not_at_the_caller(self):
        self.image = self.overlay("top.cow", "bases/base.raw", "qemu-v2")
        self.succeeds("convert", self.image, self.out, cwd="/")
        self.assertEqual(Path(self.out).read_bytes(), self.expected)

    def test_names_relative_to_the_caller(self):
        self.succeeds("convert", "top.cow", "out.raw", cwd=self.scratch)
        self.assertEqual(Path(self.out).read_bytes(), self.expected)
        os.mkdir(self.path("deep"))
        for layout in ("uml-v3", "uml-v2", "qemu-v2"):
            target = f"deep/{layout}.cow"
            options = ("-O", "cow", "-B", "bases/base.raw", "-o", f"layout={layout}")
            self.succeeds("convert", *options, "./top.cow", target, cwd=self.scratch)
            self.assertTrue(open_chain(self.path(target)).guest() == self.expected, layout)

    def test_a_copy_of_the_base_can_stand_for_it(self):
        copy = self.path("copy.raw")
        shutil.copyfile(self.base, copy)
        set_mtime(copy, MTIME + 77)
        target = self.path("rebuilt.cow")
        self.succeeds("convert", "-O", "cow", "-B", copy, self.image, target)
        chain = open_chain(target)
        self.assertEqual((chain.layers[1].path, chain.layers[0].header.mtime), (copy, MTIME + 77))
        self.assertEqual(chain.guest(), self.expected)
        self.assertEqual(chain.layers[0].runs, [(3, 5), (40, 41)])

    def test_a_base_that_differs_in_one_byte_is_refused(self):
        copy = self.path("copy.raw")
        for at in (0, SIZE - 1, 3 * SECTOR):  # the last lies under an allocated sector and counts all the same
            data = bytearray(Path(self.base).read_bytes())
            data[at] ^= 1
            Path(copy).write_bytes(data)
            self.fails(65, "convert", "-O", "cow", "-B", copy, self.image, self.path("rebuilt.cow"))
            self.assert_absent(self.path("rebuilt.cow"), self.path("rebuilt.cow.partial"))

    def test_a_converted_base_can_stand_for_its_source(self):
        """The whole move of a small fleet: the base by itself, then the overlay over the new base."""
        moved, target = self.path("moved.raw"), self.path("moved.cow")
        self.succeeds("convert", self.base, moved)
        self.succeeds("convert", "-O", "cow", "-B", moved, self.image, target)
        self.assertEqual(open_chain(target).guest(), self.expected)

    def test_a_base_for_uml_must_be_raw_and_as_long_as_the_disk(self):
        longer = self.overlay("longer.cow", self.base, "qemu-v2", size=2 * SIZE)
        for layout in ("uml-v3", "uml-v2"):
            result = self.fails(65, "convert", "-O", "cow", "-B", self.base, "-o", f"layout={layout}", longer, self.out)
            self.assertIn("qemu-v2", result.err)
        self.succeeds("convert", "-O", "cow", "-B", self.base, "-o", "layout=qemu-v2", longer, self.out)
        self.assertEqual(open_chain(self.out).guest(), open_chain(longer).guest())

    def test_an_mtime_that_no_header_can_hold_is_refused(self):
        set_mtime(self.base, 2**32 + 5)
        target = self.path("late.cow")
        self.fails(65, "convert", "-O", "cow", "-B", self.base, "--ignore-mtime", self.image, target)
        self.assert_absent(target, f"{target}.partial")

    def test_a_path_too_long_for_the_layout_is_refused(self):
        folder = self.path("/".join(["d" * 200] * 6))
        os.makedirs(folder)
        base = shutil.copy2(self.base, f"{folder}/base.raw")
        arguments = ("convert", "-O", "cow", "-B", base, self.image)
        result = self.fails(65, *arguments, "-o", "layout=qemu-v2", self.path("long.cow"))
        self.assertIn("uml-v", result.err)
        self.succeeds(*arguments, self.path("long.cow"))
        self.assertEqual(open_chain(self.path("long.cow")).guest(), self.expected)
