"""Sources that are no images, or images that lead nowhere: each command says so at once and by name."""

import os
import struct
from pathlib import Path

from cow_writer import CowWriter, encode_header
from harness import MIB, MOST_MEMORY, SECTOR, DroverCase, drover

FOREIGN_FORMATS = {
    "qcow2": b"QFI\xfb\0\0\0\3",
    "vmdk": b"KDMV\1\0\0\0",
    "vdi": b"<<< Oracle VM VirtualBox Disk Image >>>\n".ljust(64, b"\0") + b"\x7f\x10\xda\xbe\1\0\1\0",
    "vhdx": b"vhdxfile",
}


class HostileSourceTests(DroverCase):
    def refuses(self, codes, image, *options, commands=("info", "map", "measure", "convert", "compare")):
        """Every command refuses `image` within a second, in little memory, without leaving a target. The last result."""
        target = self.path("refused.raw")
        for command in commands:
            more = {"convert": [target], "compare": [image]}.get(command, [])
            with self.subTest(command=command):
                result = self.fails(codes, command, *options, image, *more, timeout=10, measured=True)
                self.assertLess(result.seconds, 1)
                self.assertLess(result.peak, MOST_MEMORY)
                self.assert_absent(target, f"{target}.partial")
        return result

    def check_code(self, image):
        return drover("check", image).code

    def overlay(self, name, backing, layout="qemu-v2", size=8 * SECTOR, mtime=0):
        writer = CowWriter(layout, size, os.fsencode(backing), mtime)
        writer.save(self.path(name))
        return self.path(name)

    def test_a_missing_image(self):
        result = self.refuses(66, self.path("nothing.cow"))
        self.assertIn("nothing.cow", result.err)

    def test_a_missing_backing_file_is_named(self):
        for layout in ("qemu-v2", "uml-v3"):
            image = self.overlay(f"{layout}.cow", self.path("gone.raw"), layout)
            result = self.refuses(66, image, commands=("map", "measure", "convert", "compare"))
            self.assertIn("gone.raw", result.err)

    def test_loops(self):
        itself = self.overlay("self.cow", "self.cow")
        self.refuses(65, itself, commands=("map", "measure", "convert", "compare"))
        for number in range(3):
            self.overlay(f"ring-{number}.cow", f"ring-{(number + 1) % 3}.cow")
        self.refuses(65, self.path("ring-0.cow"), commands=("map", "measure", "convert", "compare"))
        self.assertIn(self.check_code(self.path("ring-0.cow")), (2, 65))

    def test_a_loop_through_a_symbolic_link(self):
        os.symlink("link-target.cow", self.path("link.cow"))
        self.refuses(65, self.overlay("link-target.cow", "link.cow"), commands=("map", "convert"))

    def test_depth_is_limited(self):
        self.overlay("0.cow", "")
        for number in range(1, 70):
            self.overlay(f"{number}.cow", f"{number - 1}.cow")
        self.succeeds("convert", self.path("50.cow"), self.path("out.raw"))
        self.refuses(65, self.path("69.cow"), commands=("map", "measure", "convert"))

    def test_a_directory_is_no_image(self):
        os.mkdir(self.path("folder"))
        self.refuses((65, 66), self.path("folder"))
        self.refuses((65, 66), self.overlay("on-folder.cow", "folder"), commands=("map", "convert"))

    def test_a_fifo_is_no_image_and_nobody_waits_for_it(self):
        os.mkfifo(self.path("pipe"))
        self.refuses((65, 66), self.path("pipe"))
        self.refuses((65, 66), self.overlay("on-pipe.cow", "pipe"), commands=("map", "convert"))

    def test_a_device_is_no_image(self):
        self.refuses((65, 66), "/dev/zero")
        self.refuses((65, 66), self.overlay("on-device.cow", "/dev/zero"), commands=("map", "convert"))

    def test_enormous_sizes(self):
        for layout in ("qemu-v2", "qemu-v2-32", "uml-v1", "uml-v2", "uml-v2-64", "uml-v3", "uml-v3-64"):
            for size in (2**64 - 1, 2**64 - 511, 2**63, 2**63 - 1, 2**63 - 512, 2**62, 2**44):
                Path(self.path("big.cow")).write_bytes(encode_header(layout, size, 0, b"/none\0") + bytes(3 * 4096))
                with self.subTest(layout=layout, size=size):
                    self.refuses((65, 66), self.path("big.cow"), commands=("map", "measure", "convert"))

    def test_a_bitmap_past_the_end_of_the_file(self):
        for layout in ("qemu-v2", "uml-v1-big", "uml-v3"):
            writer = CowWriter(layout, 4 * MIB, b"" if layout == "qemu-v2" else b"/none")
            writer.save(self.path("cut.cow"))
            os.truncate(self.path("cut.cow"), writer.bitmap_offset + len(writer.bitmap) - 1)
            self.refuses((65, 66), self.path("cut.cow"), commands=("map", "convert"))

    def test_allocated_data_past_the_end_of_the_file(self):
        writer = CowWriter("qemu-v2", 64 * SECTOR)
        writer.allocate(10, 4)
        writer.write_data(10, b"\1" * 4 * SECTOR)
        writer.full_length = False
        image = self.path("truncated.cow")
        writer.save(image)
        os.truncate(image, os.path.getsize(image) - SECTOR)
        self.refuses(65, image, commands=("convert",))
        self.assertEqual(self.check_code(image), 2)

    def test_sector_sizes_other_than_512_are_refused(self):
        for layout in ("qemu-v2", "uml-v1", "uml-v2", "uml-v3", "uml-v3-64"):
            for sector_size in (0, 1, 4096, 2**31):
                header = encode_header(layout, 8 * SECTOR, 0, b"/none\0", sector_size=sector_size)
                Path(self.path("odd.cow")).write_bytes(header + bytes(4 * 4096))
                self.refuses(65, self.path("odd.cow"), commands=("map", "convert"))

    def test_other_versions_are_refused_and_not_taken_for_raw(self):
        for magic, version in ((b"OOOM", 0), (b"OOOM", 4), (b"OOOM", 2**32 - 1), (b"MOOO", 2), (b"MOOO", 3)):
            order = "<" if magic == b"MOOO" else ">"
            Path(self.path("new.cow")).write_bytes(magic + struct.pack(order + "I", version) + bytes(8184))
            self.refuses(65, self.path("new.cow"))
        self.succeeds("convert", "-f", "raw", self.path("new.cow"), self.path("out.raw"))
        self.assert_same_file(self.path("out.raw"), self.path("new.cow"))

    def test_foreign_formats_are_refused_by_name(self):
        for name, magic in FOREIGN_FORMATS.items():
            if name == "qcow2":  # by content a format of its own; a damaged one is refused all the same
                magic = magic.ljust(64, b"\xff")
            image = self.path(f"{name}.img")
            Path(image).write_bytes(magic.ljust(16 * SECTOR, b"\0"))
            with self.subTest(name):
                self.assertIn(name, self.refuses(65, image, commands=("map", "convert")).err.lower())
                overlay = self.overlay(f"{name}.cow", image, size=16 * SECTOR)
                self.assertIn(name, self.refuses(65, overlay, commands=("map", "convert")).err.lower())

    def test_an_explicit_raw_format_takes_foreign_bytes(self):
        for name, magic in FOREIGN_FORMATS.items():
            image, out = self.path(f"{name}.img"), self.path("out.raw")
            Path(image).write_bytes(magic.ljust(16 * SECTOR, b"\0"))
            self.succeeds("convert", "-f", "raw", image, out)
            self.assert_same_file(out, image)
            overlay = self.overlay(f"{name}.cow", image, size=16 * SECTOR)
            os.unlink(out), os.unlink(f"{out}.manifest")
            self.succeeds("convert", "--backing-format", "raw", overlay, out)
            self.assert_same_file(out, image)
            os.unlink(out), os.unlink(f"{out}.manifest")

    def test_a_name_that_is_not_utf_8(self):
        base, image = os.fsencode(self.scratch) + b"/b\xe4se.raw", self.path("latin.cow")
        Path(os.fsdecode(base)).write_bytes(b"\x11" * 8 * SECTOR)
        CowWriter("qemu-v2", 8 * SECTOR, base).save(image)
        self.succeeds("convert", image, self.path("out.raw"))
        self.assert_same_file(self.path("out.raw"), os.fsdecode(base))

    def test_a_newline_in_a_path_does_not_break_the_one_line(self):
        result = self.fails(66, "map", self.overlay("newline.cow", "a\nb"))
        self.assertIn("b", result.err)

    def test_a_fifo_somebody_writes_to_is_refused_too(self):
        os.mkfifo(self.path("busy"))
        descriptor = os.open(self.path("busy"), os.O_RDWR)
        self.addCleanup(os.close, descriptor)
        self.refuses((65, 66), self.path("busy"), commands=("map", "convert"))
