"""What an archive of many images costs: room, memory, the time to list it, and what is read for one of them.

`DROVER_IMAGES` is the number of images in the largest archive (default 4000).
"""

import os
import random
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from archive_writer import ArchiveWriter, Stretch, layer
from archives import difference, write_overlay
from cow_writer import CowWriter, set_mtime
from harness import MIB, SECTOR, DroverCase, binary, required_tool, run_tool
from reference import open_chain

IMAGES = int(os.environ.get("DROVER_IMAGES", "4000"))
MOST_MEMORY = 96 * MIB
BASE_MIB = 48
OVERLAYS = 200


class ArchiveScaleTests(DroverCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="drover-scale-")).resolve()
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        rng = random.Random(1)
        cls.base = str(cls.folder / "base.img")
        with open(cls.base, "wb") as file:
            for number in range(BASE_MIB):
                file.seek(number * MIB)
                file.write(cls.like_programs(rng, rng.randrange(MIB // 4096) * 4096))
            file.truncate(BASE_MIB * MIB)
        set_mtime(cls.base, 1_400_000_000, 5)
        cls.images = []
        for number in range(OVERLAYS):
            path = str(cls.folder / f"vm{number:03}" / "root.cow")
            os.makedirs(os.path.dirname(path))
            runs, position = [], rng.randrange(4000)
            while position < BASE_MIB * 2048 - 600:
                runs.append((position, rng.choice((1, 8, 8, 64, 500))))
                position += runs[-1][1] + rng.randrange(1, 9000)
            write_overlay(path, cls.base, BASE_MIB * MIB, rng, runs, "dense")
            cls.images.append(path)

    @staticmethod
    def like_programs(rng, length):
        """Bytes that LZ4 makes about half as long."""
        block = rng.randbytes(2048)
        return b"".join(block[rng.randrange(1024) :][:600] + rng.randbytes(400) for _ in range(length // 1000 + 1))[:length]

    def measured(self, *arguments, **options):
        result = self.succeeds(*arguments, measured=True, timeout=300, **options)
        self.assertLess(result.peak, MOST_MEMORY, f"peak memory: {result.peak / MIB:.1f} MiB\n{result}")
        return result

    def test_200_overlays_of_one_base(self):
        archive, out = self.path("fleet.drover"), self.path("out")
        self.measured("pack", archive, *self.images)
        with open(self.path("data"), "wb") as data:
            for image in self.images:
                top = open_chain(image).layers[0]
                for first, last in top.runs:
                    data.write(top.read(first, last))
        most = 1.03 * sum(self.length_as_lz4(path) for path in (self.base, self.path("data")))
        self.assertLessEqual(os.path.getsize(archive), most)
        self.measured("verify", archive)
        self.measured("unpack", "-C", out, archive)
        for number in range(0, OVERLAYS, 25):
            self.assertEqual(difference(self.images[number], f"{out}/vm{number:03}/root.cow"), "")
        shutil.rmtree(out)
        with open(archive, "rb") as file:
            process = subprocess.run([binary(), "unpack", "-C", out, "-"], stdin=file, timeout=120)
        self.assertEqual(process.returncode, 0)
        self.assertEqual(difference(self.images[7], f"{out}/vm007/root.cow"), "")

    def length_as_lz4(self, path):
        run_tool("lz4", "-1", "-q", "-f", path, self.path("compressed.lz4"))
        return os.path.getsize(self.path("compressed.lz4"))

    def reads(self, *arguments):
        """Runs Drover and returns how many bytes it read of each file."""
        log, counts = self.path("trace"), {}
        calls = "trace=read,pread64,preadv,preadv2,readv,mmap,copy_file_range,sendfile"
        command = [required_tool("strace"), "-f", "-y", "-s", "0", "-e", calls, "-o", log, binary(), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
        self.assertEqual(done.returncode, 0, done.stderr)
        for line in Path(log).read_text().splitlines():
            if match := re.search(r"\b(?:p?readv?2?|pread64)\(\d+<([^>]*)>.* = (\d+)$", line):
                counts[match[1]] = counts.get(match[1], 0) + int(match[2])
        return counts

    def test_the_base_is_read_once(self):
        archive = self.path("fleet.drover")
        counts = self.reads("pack", "--jobs", "2", archive, *self.images[:40])
        size = os.stat(self.base).st_blocks * 512
        self.assertLess(counts[self.base], 1.1 * size + 40 * 65536, "the base is read again and again")

    def test_one_of_200_is_unpacked_without_the_others(self):
        archive = self.path("fleet.drover")
        self.succeeds("pack", archive, *self.images)
        listed = {entry["name"]: entry for entry in self.succeeds("list", "--output", "json", archive).json()["layers"]}
        for name in ("vm000/root.cow", "vm150/root.cow"):
            needed = listed[name]["stored"] + listed["base.img"]["stored"]
            counts = self.reads("unpack", "-C", self.path(name[:5]), archive, name)
            self.assertLess(counts[archive], 1.05 * needed + MIB)
            self.assertLess(counts[archive], os.path.getsize(archive) * 0.9)

    def test_fragments_of_single_sectors_cost_no_more(self):
        rng = random.Random(2)
        sectors, sizes = 32768, {}
        for name, length in (("fragments", 1), ("large", 2048)):
            image, archive = self.path(f"{name}.cow"), self.path(f"{name}.drover")
            writer = CowWriter("uml-v3", 2 * sectors * SECTOR, os.fsencode(self.twin(sectors)), 1_400_000_000)
            content = self.like_programs(random.Random(3), sectors * SECTOR)
            for number in range(0, sectors, length):
                position = number * 2
                writer.allocate(position, length)
                writer.write_data(position, content[number * SECTOR : (number + length) * SECTOR])
            writer.save(image)
            set_mtime(image, 1_500_000_000, rng.randrange(10**9))
            result = self.measured("pack", "--jobs", "1", archive, image)
            sizes[name] = os.path.getsize(archive), result.seconds
        self.assertLess(sizes["fragments"][0], 1.02 * sizes["large"][0])
        self.assertLess(sizes["fragments"][1], 2.5 * sizes["large"][1] + 0.3)

    def twin(self, sectors):
        base = self.path("empty.img")
        if not os.path.exists(base):
            Path(base).touch()
            os.truncate(base, 2 * sectors * SECTOR)
            set_mtime(base, 1_400_000_000)
        return base

    def test_thousands_of_images_are_listed_at_once(self):
        layers = [layer("base.img", 64 * SECTOR)]
        layers += [layer(f"vm{n:05}/root.cow", 64 * SECTOR, "uml-v3", backing=0) for n in range(IMAGES)]
        data = bytes(range(256)) * 2
        stretches = [[Stretch(0, 64, [(0, 1, data)])] for _ in layers]
        archive = self.path("many.drover")
        Path(archive).write_bytes(ArchiveWriter(layers, stretches).bytes())
        for output in ("human", "json"):
            result = self.measured("list", "--output", output, archive)
            self.assertLess(result.seconds, 1)
        self.assertEqual(len(result.json()["layers"]), IMAGES + 1)
        listing = self.reads("list", archive)[archive]
        self.assertLess(listing, os.path.getsize(archive) * 0.75, "the listing reads payloads")
        self.measured("verify", archive)
        name = f"vm{IMAGES // 2:05}/root.cow"
        result = self.measured("unpack", "-C", self.path("one"), archive, name)
        self.assertLess(result.seconds, 2)
        counts = self.reads("unpack", "-C", self.path("two"), archive, name)
        # The beginning of its base is looked at, too.
        self.assertLess(counts[archive], listing + 2 * MIB)

    def test_thousands_of_images_are_packed(self):
        count = IMAGES // 5
        base = self.path("base.img")
        Path(base).write_bytes(os.urandom(4096))
        set_mtime(base, 1_400_000_000)
        images = []
        for number in range(count):
            os.mkdir(self.path(f"vm{number}"))
            images.append(self.path(f"vm{number}/root.cow"))
            writer = CowWriter("uml-v3", 4096, os.fsencode(base), 1_400_000_000)
            writer.allocate(number % 8, 1)
            writer.write_data(number % 8, number.to_bytes(4, "big") * 128)
            writer.save(images[-1])
        archive = self.path("fleet.drover")
        self.measured("pack", archive, *images)
        self.measured("verify", archive)
        out = self.path("out")
        self.measured("unpack", "-C", out, archive)
        for number in range(0, count, 97):
            self.assertEqual(difference(images[number], f"{out}/vm{number}/root.cow"), "")
