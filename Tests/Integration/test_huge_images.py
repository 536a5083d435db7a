"""A disk of 7 TiB with ten allocated sectors: its cost is that of ten sectors."""

import os
from pathlib import Path

from cow_writer import CowWriter, encode_header, set_mtime
from harness import MIB, MOST_MEMORY, SECTOR, DroverCase

SIZE = 7 << 40
MTIME = 1_410_000_000
SECTORS = sorted({0, 7, 8, 4095, 1 << 20, 12_345_678_901, (SIZE // SECTOR) // 2, *range(SIZE // SECTOR - 3, SIZE // SECTOR)})
SLOWEST = 0.3  # of three runs the fastest; ten times what is expected of an idle machine


class HugeImageTests(DroverCase):
    def setUp(self):
        super().setUp()
        self.base, self.image = self.path("base.raw"), self.path("huge.cow")
        Path(self.base).touch()
        os.truncate(self.base, SIZE)
        set_mtime(self.base, MTIME)
        bitmap_offset, self.data_offset = 8192, 8192 + SIZE // SECTOR // 8
        with open(self.image, "wb") as file:
            file.write(encode_header("uml-v3", SIZE, MTIME, os.fsencode(self.base)))
            for sector in SECTORS:
                byte = sum(1 << other % 8 for other in SECTORS if other // 8 == sector // 8)
                file.seek(bitmap_offset + sector // 8)
                file.write(bytes([byte]))
                file.seek(self.data_offset + sector * SECTOR)
                file.write(b"\xda" * SECTOR)
            file.truncate(self.data_offset + SIZE)

    def quickly(self, *arguments, clean=()):
        """Runs Drover three times; the fastest is fast and all are small."""
        results = []
        for _ in range(3):
            for path in clean:
                for name in (path, f"{path}.manifest"):
                    if os.path.exists(name):
                        os.unlink(name)
            results.append(self.succeeds(*arguments, measured=True))
        fastest = min(results, key=lambda result: result.seconds)
        self.assertLess(fastest.seconds, SLOWEST)
        self.assertLess(fastest.peak, MOST_MEMORY)
        return fastest

    def test_map_reads_only_what_is_there(self):
        entries = self.quickly("map", "--output", "json", self.image).json()
        self.assertEqual(sum(entry["length"] for entry in entries), SIZE)
        allocated = [entry for entry in entries if entry["depth"] == 0]
        found = [s for e in allocated for s in range(e["start"] // SECTOR, (e["start"] + e["length"]) // SECTOR)]
        self.assertEqual(found, SECTORS)
        for entry in allocated:
            self.assertEqual(entry["offset"], self.data_offset + entry["start"])
        for entry in entries:
            if entry["depth"] == 1:
                self.assertEqual((entry["zero"], entry["data"]), (True, False))

    def test_a_map_of_a_quarter_million_pieces_takes_no_more_memory(self):
        writer = CowWriter("qemu-v2", 128 * MIB)
        writer.bitmap[:] = b"\x55" * len(writer.bitmap)
        writer.save(self.path("comb.cow"))
        result = self.succeeds("map", "--output", "json", self.path("comb.cow"), measured=True)
        self.assertEqual(result.out.count('"start"'), writer.sectors)
        self.assertLess(result.peak, MOST_MEMORY)
        self.assertLess(result.seconds, 5)

    def test_measure_info_and_check(self):
        for command in ("measure", "info", "check"):
            self.quickly(command, self.image)

    def test_convert_to_a_sparse_raw_file(self):
        target = self.path("out.raw")
        self.quickly("convert", self.image, target, clean=[target])
        self.assertEqual(os.path.getsize(target), SIZE)
        self.assert_only_the_sectors(target, 0)
        self.quickly("compare", self.image, target)

    def test_convert_to_an_overlay(self):
        target = self.path("out.cow")
        self.quickly("convert", "-O", "cow", "-B", self.base, self.image, target, clean=[target])
        self.assert_only_the_sectors(target, self.data_offset)
        self.quickly("compare", self.image, target)

    def assert_only_the_sectors(self, path, data_offset):
        self.assertLess(os.stat(path).st_blocks * 512, 1 << 20)
        with open(path, "rb") as file:
            for sector in SECTORS:
                file.seek(data_offset + sector * SECTOR)
                self.assertEqual(file.read(SECTOR), b"\xda" * SECTOR, f"sector {sector}")
