"""`ARCHIVE::NAME`: images read where they lie in an archive, with the tables of records alone."""

import io
import os
import random
import shutil
from pathlib import Path

from archive_codec import zstd_stream
from archive_reader import read_archive, read_sector
from archives import make_fleet
from chains import random_chain
from harness import MIB, SECTOR, DroverCase, binary, drover, run_tool
from moves import make_image
from qcow2 import RandomQcow2

COUNT = int(os.environ.get("DROVER_ARCHIVED", "16"))
SEED = os.environ.get("DROVER_SEED") or str(random.SystemRandom().randrange(10**9))
COMPRESSIONS = ("none", "lz4", "lz4:9", "zstd", "zstd:1")


class ArchivedImageTests(DroverCase):
    def test_random_chains_are_read_as_their_files_are(self):
        for number in range(COUNT):
            folder = self.scratch / "chain"
            folder.mkdir()
            made = random_chain(f"{SEED}-archived-{number}", folder)
            archive, raw = self.path("a.drover"), self.path("disk.raw")
            with self.subTest(f"{SEED}-archived-{number}"):
                compression = COMPRESSIONS[number % len(COMPRESSIONS)]
                if drover("pack", "--force", "--restart", "--compression", compression, archive, made.top).code == 0:
                    name = f"{archive}::{os.path.basename(made.top)}"
                    self.succeeds("convert", "--force", "--restart", name, raw)
                    self.assertEqual(Path(raw).read_bytes(), made.guest)
                    self.succeeds("compare", name, made.top)
                    theirs, ours = (self.succeeds("map", "--output", "json", image).json() for image in (made.top, name))
                    self.assertEqual(self.shape(ours), self.shape(theirs))
                    self.assertEqual(self.succeeds("info", "--output", "json", name).json()["virtual-size"], len(made.guest))
                    self.succeeds("measure", "-O", "qcow2", name)
            shutil.rmtree(folder)

    def shape(self, extents):
        """Which sectors of which layer hold something; a raw layer's zeros and holes are the same."""
        runs = []
        for extent in extents:
            run = (extent["depth"] if extent["present"] else None, extent["start"], extent["start"] + extent["length"])
            if runs and runs[-1][0] == run[0] and runs[-1][2] == run[1]:
                runs[-1] = (run[0], runs[-1][1], run[2])
            else:
                runs.append(run)
        return runs

    def test_compressed_clusters_are_packed_flattened(self):
        for number in range(COUNT // 2):
            folder = Path(self.path(f"q{number}"))
            folder.mkdir()
            made = RandomQcow2(random.Random(f"{SEED}-{number}"), str(folder))
            archive, raw = self.path(f"{number}.drover"), self.path("disk.raw")
            with self.subTest(f"{SEED}-{number}"):
                run_tool("qemu-img", "convert", "-f", made.format, "-O", "raw", made.top, raw)
                result = drover("pack", "--flatten", archive, made.top)
                if result.code == 65 and "is marked corrupt" in result.err:
                    continue  # by QEMU itself, while it made the image
                self.assertEqual(result.code, 0, f"\n{result}")
                self.succeeds("compare", "-f", "raw", raw, f"{archive}::{os.path.basename(made.top)}")

    def test_what_is_in_one_archive_goes_into_another(self):
        fleet = make_fleet(self.scratch / "fleet", 5, 2, sectors=6000, seed=SEED)
        first, second = self.path("first.drover"), self.path("second.drover")
        self.succeeds("pack", "--compression", "zstd", first, *fleet.images)
        names = [layer["name"] for layer in self.succeeds("list", "--output", "json", first).json()["layers"] if layer["image"]]
        self.succeeds("pack", second, *(f"{first}::{name}" for name in names))
        one, two = (read_archive(io.BytesIO(Path(path).read_bytes())) for path in (first, second))
        self.assertEqual([layer.names for layer in one.layers], [layer.names for layer in two.layers])
        for index, layer in enumerate(one.layers):
            self.assertEqual(one.guest(index), two.guest(index))
            self.assertEqual(layer.allocated(), two.layers[index].allocated())
            self.assertEqual(layer.entry["mtime"], two.layers[index].entry["mtime"])

    def test_a_whole_archive_goes_into_another(self):
        fleet = make_fleet(self.scratch / "fleet", 4, 2, sectors=3000, seed=SEED)
        first, second = self.path("first.drover"), self.path("second.drover")
        self.succeeds("pack", first, *fleet.images)
        self.succeeds("pack", "--compression", "zstd", second, first)
        listed = [[layer["name"] for layer in self.succeeds("list", "--output", "json", path).json()["layers"]] for path in (first, second)]
        self.assertEqual(*listed)
        for name in listed[0]:
            self.succeeds("compare", f"{first}::{name}", f"{second}::{name}")
        self.assertEqual(self.succeeds("info", "--output", "json", first).json(), self.succeeds("list", "--output", "json", first).json())

    def test_patterns_select_images(self):
        fleet = make_fleet(self.scratch / "fleet", 4, 1, sectors=3000, seed=SEED)
        archive, out = self.path("a.drover"), self.path("out")
        self.succeeds("pack", archive, *fleet.images)
        names = [layer["name"] for layer in self.succeeds("list", "--output", "json", archive).json()["layers"] if layer["image"]]
        pattern = "*" + names[0][-6:]
        wanted = {name for name in names if name.endswith(pattern[1:])}
        self.succeeds("unpack", "-O", "raw", "-C", out, archive, pattern, names[0])
        found = {str(path.relative_to(out)) for path in Path(out).rglob("*") if path.is_file() and path.suffix != ".manifest"}
        self.assertEqual(found, wanted)
        self.fails(64, "unpack", "-C", out, archive, "none*")

    def test_two_layers_of_one_archive_are_not_taken_for_each_other(self):
        base, image = make_image(self.scratch, 4)
        other = self.path("other.raw")
        data = bytearray(Path(base).read_bytes())
        data[MIB : MIB + 4096] = b"x" * 4096
        Path(other).write_bytes(data)
        archive = self.path("a.drover")
        self.succeeds("pack", archive, base, other, image)
        result = drover("compare", f"{archive}::base.raw", f"{archive}::other.raw")
        self.assertEqual((result.code, "sector" in result.out), (1, True), f"\n{result}")
        self.succeeds("convert", "-O", "cow", "-o", "layout=qemu-v2", "-B", other, "--diff", f"{archive}::base.raw", self.path("d.cow"))
        self.succeeds("compare", self.path("d.cow"), base)

    def test_one_sector_is_read_by_one_frame(self):
        base, image = make_image(self.scratch, 8)
        for compression in ("lz4", "zstd"):
            archive = self.path(f"{compression}.drover")
            self.succeeds("pack", "--compression", compression, archive, image)
            data = Path(base).read_bytes()
            with open(archive, "rb") as file:
                for sector in random.Random(SEED).sample(range(len(data) // SECTOR), 40):
                    file.seek(0)
                    found = read_sector(file, "base.raw", sector)
                    self.assertEqual(found or bytes(SECTOR), data[sector * SECTOR : (sector + 1) * SECTOR])
            # What is read of the archive for 4 KiB: its two ends, a table, a record, a frame.
            trace = self.path("trace")
            size = os.path.getsize(archive)
            self.assertGreater(size, MIB)
            run_tool("strace", "-f", "-qq", "-o", trace, "-e", "trace=read,pread64,preadv,preadv2", "-P", archive,
                     binary(), "info", f"{archive}::image.cow")  # fmt: skip
            read = sum(int(line.rsplit("=", 1)[1]) for line in Path(trace).read_text().splitlines() if line.rsplit("=", 1)[1].strip().isdigit())
            self.assertLess(read, size // 4)

    def test_flattened_from_a_file_nothing_lies_between(self):
        _, image = make_image(self.scratch, 8)
        archive, out = self.path("a.drover"), self.path("out")
        self.succeeds("pack", archive, image)
        self.succeeds("convert", image, self.path("disk.raw"))
        trace = self.path("trace")
        run_tool("strace", "-f", "-qq", "-o", trace, "-e", "trace=mkdir,mkdirat", binary(), "unpack", "-q", "-O", "raw", "-C", out, archive)
        self.assertNotIn("scratch", Path(trace).read_text())
        self.assert_same_file(Path(out, "image.cow"), self.path("disk.raw"))

    def test_damage_names_the_image(self):
        _, image = make_image(self.scratch, 4)
        archive = self.path("a.drover")
        self.succeeds("pack", archive, image)
        data = bytearray(Path(archive).read_bytes())
        data[len(data) // 3] ^= 1
        Path(archive).write_bytes(data)
        error = self.fails(65, "convert", f"{archive}::image.cow", self.path("out.raw")).err
        self.assertRegex(error, r"(base\.raw|image\.cow): sectors \d+ to \d+ are damaged|record")
        self.assert_absent(self.path("out.raw"))

    def test_names(self):
        _, image = make_image(self.scratch, 2)
        archive = self.path("a.drover")
        self.succeeds("pack", archive, image)
        self.assertIn("no image none", self.fails(66, "info", f"{archive}::none").err)
        self.assertIn("only read", self.fails(65, "convert", image, f"{archive}::new").err)
        self.assertIn("only read", self.fails(65, "create", "-b", f"{archive}::base.raw", self.path("new.cow")).err)
        self.assertIn("only read", self.fails(65, "convert", "-O", "cow", "-B", f"{archive}::base.raw", image, self.path("new.cow")).err)
        for command in (("commit",), ("rebase", "-b", self.path("base.raw"))):
            self.fails(65, *command, f"{archive}::image.cow")
        # A file of exactly that name comes first.
        Path(f"{archive}::image.cow").write_bytes(b"file" * 1024)
        self.succeeds("convert", "-f", "raw", f"{archive}::image.cow", self.path("file.raw"))
        self.assertEqual(Path(self.path("file.raw")).read_bytes(), b"file" * 1024)

    def test_zstd_archives_are_a_stream_to_libzstd(self):
        fleet = make_fleet(self.scratch / "fleet", 3, 1, sectors=6000, seed=SEED)
        lz4, zstd = self.path("l.drover"), self.path("z.drover")
        self.succeeds("pack", lz4, *fleet.images)
        self.succeeds("pack", "--compression", "zstd", zstd, *fleet.images)
        self.assertEqual(Path(zstd).read_bytes()[:9].hex(), "28b52ffd2000010000")
        run_tool("lz4", "-d", "-f", lz4, self.path("payload"))
        payload = Path(self.path("payload")).read_bytes()
        self.assertEqual(zstd_stream(Path(zstd).read_bytes(), len(payload) + 1), payload)
        self.succeeds("verify", zstd)
        for options in ((), ("-O", "raw")):
            out = self.path(f"out{len(options)}")
            self.succeeds("unpack", "-C", out, *options, zstd)
        for value in ("zstd:0", "zstd:20", "zstd:x"):
            self.fails(64, "pack", "--compression", value, self.path("x.drover"), fleet.images[0])
