"""A reader written from Documentation/archive-format.md alone restores what Drover packed; what its writer makes, Drover reads.

`DROVER_CHAINS` says how many random chains (default 80), `DROVER_SEED` repeats a run: it is printed at the start.
"""

import io
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

from archive_reader import Damaged, read_archive, read_by_seeking
from archive_writer import ArchiveWriter, Stretch, layer
from archives import REWRITTEN, make_fleet, names_of
from chains import random_chain
from cow_header import SECTOR
from harness import REPOSITORY, DroverCase, binary
from reference import open_chain

COUNT = int(os.environ.get("DROVER_CHAINS", "40"))
SEED = os.environ.get("DROVER_SEED") or str(random.SystemRandom().randrange(10**9))
OPTIONS = ((), ("--compression", "none"), ("--compression", "lz4:12"), ("-S", "0"), ("-S", "512"), ("-S", "1M"))


class ArchiveReaderTests(DroverCase):
    @classmethod
    def setUpClass(cls):
        print(f"DROVER_SEED={SEED} DROVER_CHAINS={COUNT}", file=sys.stderr, flush=True)

    def pack(self, images, *options):
        archive = Path(self.path("fleet.drover"))
        archive.unlink(missing_ok=True)
        self.succeeds("pack", "--force", "--restart", *options, archive, *images)
        return archive.read_bytes()

    def check(self, images, *options):
        data = self.pack(images, *options)
        archive = read_archive(io.BytesIO(data))
        chains = [open_chain(image) for image in images]
        layers = {os.path.realpath(layer.path): layer for chain in chains for layer in chain.layers}
        self.assertEqual({entry.entry["name"] for entry in archive.layers}, set(names_of(layers).values()))
        by_name = {entry.entry["name"]: entry for entry in archive.layers}
        for path, name in names_of(layers).items():
            self.check_layer(layers[path], by_name[name], path in map(os.path.realpath, images))
        for chain in chains:
            name = names_of(layers)[os.path.realpath(chain.layers[0].path)]
            guest = chain.guest()
            self.assertTrue(archive.guest(archive.index_of(name)) == guest, f"{name} shows other bytes")
            sought = read_by_seeking(io.BytesIO(data), name)
            self.assertTrue(sought.guest(sought.index_of(name)) == guest, f"{name} shows other bytes by seeking")
        return archive

    def check_layer(self, layer, found, is_image):
        entry = found.entry
        seconds, nanoseconds = entry["mtime"].split(".")
        self.assertEqual(int(seconds) * 10**9 + int(nanoseconds), layer.status.st_mtime_ns)
        self.assertEqual((entry["size"], entry["image"]), (layer.size, is_image))
        layout = layer.header.layout.name if layer.header else "raw"
        self.assertEqual(entry["layout"], REWRITTEN.get(layout, layout))
        if layer.header:
            self.assertEqual(found.allocated(), layer.runs)
        for first, end, data in found.runs:
            self.assertTrue((data or bytes((end - first) * SECTOR)) == layer.read(first, end), f"sectors {first} to {end}")
        if layer.header is None:
            covered = sum(end - first for first, end, _ in found.runs)
            filled = bytearray(b"".join(layer.read(*run) for run in layer.runs))
            for first, end, _ in found.runs:
                filled[first * SECTOR : end * SECTOR] = bytes((end - first) * SECTOR)
            self.assertEqual(filled.count(0), len(filled), f"{covered} sectors of data are not all")

    def test_random_chains(self):
        for number in range(COUNT):
            folder = self.scratch / "chain"
            folder.mkdir()
            made = random_chain(f"{SEED}-{number}", folder)
            with self.subTest(str(made)):
                archive = self.check([made.top], *OPTIONS[number % len(OPTIONS)])
                top = archive.index_of(names_of([image.path for image in made.images])[os.path.realpath(made.top)])
                self.assertTrue(archive.guest(top) == made.guest)
            shutil.rmtree(folder)

    def test_fleets(self):
        for guests, bases, extra in ((5, 1, 0), (8, 3, 300)):
            fleet = make_fleet(self.scratch / f"fleet-{bases}", guests, bases, sectors=6000, seed=SEED, extra=extra)
            for options in OPTIONS:
                self.check(fleet.images, *options)

    def test_the_example_of_the_documentation(self):
        page = (REPOSITORY / "Documentation" / "archive-format.md").read_text()
        lines = re.findall(r"^    [0-9a-f]{8}: ((?:[0-9a-f]{2,4} )+)", page, re.M)
        data = bytes.fromhex("".join(lines))
        archive = read_archive(io.BytesIO(data))
        base = b"A" * 512 + bytes(3584)
        guest = base[:512] + b"B" * 512 + bytes(3072)
        self.assertEqual((len(data), archive.guest(0), archive.guest(1)), (2146, base, guest))
        Path(self.path("page.drover")).write_bytes(data)
        self.succeeds("verify", self.path("page.drover"))
        self.succeeds("unpack", "-O", "raw", "-C", self.path("out"), self.path("page.drover"))
        self.assertEqual(Path(self.path("out/web.cow")).read_bytes(), guest)

    def test_what_the_writer_makes_is_read_by_both(self):
        rng = random.Random(SEED)
        for number in range(20):
            with self.subTest(number=number):
                writer = self.random_archive(rng)
                data = writer.bytes()
                ours = read_archive(io.BytesIO(data))
                archive, out = self.path(f"{number}.drover"), self.path(f"out-{number}")
                Path(archive).write_bytes(data)
                self.succeeds("verify", archive)
                self.succeeds("unpack", "-C", out, archive)
                for index, entry in enumerate(writer.layers):
                    chain = open_chain(os.path.join(out, entry["name"]))
                    self.assertTrue(chain.guest() == ours.guest(index), entry["name"])
                    if chain.layers[0].header:
                        self.assertEqual(chain.layers[0].runs, ours.layers[index].allocated())

    def random_archive(self, rng):
        sectors = rng.choice((1, 8, 100, 2048, 5000))
        layers = [layer("base.img", sectors * SECTOR)]
        for index in range(rng.randrange(4)):
            layout = rng.choice(("uml-v3", "qemu-v2"))
            layers.append(layer(f"vm/{index}.cow", sectors * SECTOR, layout, backing=rng.randrange(index + 1)))
        return ArchiveWriter(layers, [self.random_stretches(rng, sectors, entry["layout"] == "raw") for entry in layers])

    def random_stretches(self, rng, sectors, is_raw):
        stretches, position = [], 0
        while position < sectors:
            end = min(sectors, position + 2048 * rng.choice((1, 1, 2)))
            runs, at, room = [], position + rng.randrange(40), 2048
            while at < end and room:
                count = min(rng.randrange(1, 90), end - at, room)
                is_zero = not is_raw and rng.random() < 0.3
                runs.append((at, at + count, None if is_zero else rng.randbytes(count * SECTOR)))
                room -= 0 if is_zero else count
                at += count + rng.randrange(60)
            stretches.append(Stretch(position, end, runs))
            position = end
        return stretches

    def test_damage_is_found_by_this_reader_too(self):
        fleet = make_fleet(self.scratch / "fleet", 3, 1, sectors=40, seed=SEED)
        data, rng = self.pack(fleet.images), random.Random(SEED)
        for bit in rng.sample(range(8 * len(data)), 300):
            damaged = bytearray(data)
            damaged[bit // 8] ^= 1 << bit % 8
            with self.assertRaises(Damaged, msg=f"bit {bit}"):
                read_archive(io.BytesIO(bytes(damaged)))
        for length in rng.sample(range(len(data)), 100):
            with self.assertRaises(Damaged, msg=f"cut to {length}"):
                read_archive(io.BytesIO(data[:length]))

    def test_an_archive_from_standard_output(self):
        fleet = make_fleet(self.scratch / "fleet", 2, 1, seed=SEED)
        done = subprocess.run([binary(), "pack", "-", *fleet.images], capture_output=True, timeout=60)
        archive = read_archive(io.BytesIO(done.stdout))
        listed = self.succeeds("list", "--output", "json", self.write(done.stdout)).json()
        self.assertEqual(listed["id"], archive.id.hex())

    def write(self, data):
        Path(self.path("piped.drover")).write_bytes(data)
        return self.path("piped.drover")
