"""Content that several layers hold is stored once: what comes back, what damage to it does, and that nothing but the sources decides."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

from archive_reader import read_archive, read_sector
from archives import frames
from cow_writer import CowWriter, set_mtime
from harness import SECTOR, DroverCase, binary, drover

SEED = os.environ.get("DROVER_SEED") or str(random.SystemRandom().randrange(10**9))
ROUNDS = int(os.environ.get("DROVER_SHARED", "2"))
BLOCK = 4096


def shared_fleet(folder, seed, blocks=400):
    """A raw base, raw images and overlays of it whose blocks come from one pool, in rows and shifted by blocks and by sectors."""
    rng = random.Random(seed)
    pool = rng.randbytes(blocks * BLOCK)
    folder.mkdir()

    def content(count):
        parts, length = [], 0
        while length < count * BLOCK:
            first = rng.randrange(blocks)
            part = rng.choice((bytes(rng.randrange(1, 9) * BLOCK), rng.randbytes(rng.randrange(1, 30) * SECTOR), *[pool[first * BLOCK : (first + rng.randrange(1, 60)) * BLOCK]] * 4))
            parts.append(part)
            length += len(part)
        return b"".join(parts)[: count * BLOCK]

    base = folder / "base.img"
    base.write_bytes(content(blocks))
    set_mtime(base, 1_500_000_000)
    images = [base]
    for number in range(2):
        images.append(folder / f"raw{number}.img")
        images[-1].write_bytes(content(rng.randrange(blocks // 2, blocks)))
    for number in range(3):
        writer = CowWriter(rng.choice(("uml-v3", "uml-v2", "qemu-v2")), blocks * BLOCK, str(base).encode(), 1_500_000_000)
        for _ in range(12):
            first = rng.randrange(blocks * 8 - 800)
            first -= first % rng.choice((1, 8, 8, 8))
            data = content(rng.randrange(1, 99))
            writer.allocate(first, len(data) // SECTOR)
            writer.write_data(first, data)
        images.append(folder / f"guest{number}.cow")
        writer.save(str(images[-1]))
    return images


class SharedContentTests(DroverCase):
    def setUp(self):
        super().setUp()
        self.archive = self.path("fleet.drover")

    def piped(self, *command):
        with open(self.archive, "rb") as source, subprocess.Popen(["cat"], stdin=source, stdout=subprocess.PIPE) as pipe:
            result = subprocess.run([binary(), *command], stdin=pipe.stdout, capture_output=True, timeout=120)
            pipe.stdout.close()
        return result

    def assert_restored(self, out, images):
        for image in images:
            self.succeeds("compare", "--ignore-mtime", image, Path(out, image.name))

    def test_random_fleets_come_back_in_every_way(self):
        for number in range(ROUNDS):
            with self.subTest(f"{SEED}-{number}"):
                images = shared_fleet(self.scratch / f"fleet{number}", f"{SEED}-{number}")
                options = (("--compression", "zstd") if number % 2 else (), ("--flatten",) if number % 3 == 2 else ())
                options = sum(options, ())
                self.succeeds("pack", "--force", "--restart", "--jobs", "1", *options, self.archive, *images)
                data = Path(self.archive).read_bytes()
                self.succeeds("pack", "--jobs", "4", *options, self.path(f"again{number}.drover"), *images)
                self.assertTrue(Path(self.path(f"again{number}.drover")).read_bytes() == data, "the workers decide")
                self.succeeds("pack", "--no-dedup", *options, self.path(f"each{number}.drover"), *images)
                self.assertLess(len(data), 0.9 * os.path.getsize(self.path(f"each{number}.drover")))
                self.succeeds("verify", self.archive)
                self.assertEqual(self.piped("verify", "-").returncode, 0)
                self.succeeds("unpack", "-C", self.path(f"file{number}"), self.archive)
                self.assert_restored(self.path(f"file{number}"), images)
                for folder, *command in ((f"pipe{number}",), (f"raw{number}", "-O", "raw")):
                    self.assertEqual(self.piped("unpack", *command, "-C", self.path(folder), "-").returncode, 0)
                    self.assert_restored(self.path(folder), images)
                last = images[-1].name
                self.assertEqual(self.piped("unpack", "-C", self.path(f"one{number}"), "-", last).returncode, 0)
                self.assert_restored(self.path(f"one{number}"), images[-1:])
                self.assertFalse([name for name in os.listdir(self.path(f"one{number}")) if name.startswith(".drover")])
                archive = read_archive(open(self.archive, "rb"))
                ours = self.succeeds("list", "--output", "json", self.archive).json()["layers"]
                self.assertGreater(sum(layer["shared"] for layer in ours), 0)
                for image in images:
                    self.succeeds("compare", "--ignore-mtime", image, f"{self.archive}::{image.name}")
                    self.succeeds("convert", "--force", "--restart", f"{self.archive}::{image.name}", self.path("disk.raw"))
                    guest = Path(self.path("disk.raw")).read_bytes()
                    self.assertTrue(archive.guest(archive.index_of(image.name)) == guest, image)
                layer = archive.layers[archive.index_of("raw1.img")]
                with open(self.archive, "rb") as file:
                    for sector in random.Random(SEED).sample(range(layer.sectors), 8):
                        held = layer.bytes_of(layer.runs, sector, 1)[0]
                        self.assertEqual(read_sector(file, "raw1.img", sector), held, sector)

    def test_interrupted_it_becomes_the_same_archive(self):
        images = shared_fleet(self.scratch / "fleet", SEED, blocks=3000)
        self.succeeds("pack", "--segment", "1M", self.path("whole.drover"), *images)
        whole = Path(self.path("whole.drover")).read_bytes()
        rng, resumed = random.Random(SEED), 0
        for _ in range(6):
            command = [binary(), "pack", "--segment", "1M", "--rate", "60M", self.archive, *images]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
                time.sleep(rng.uniform(0.1, 0.5))
                run.send_signal(signal.SIGKILL)
            resumed += os.path.exists(f"{self.archive}.partial") and os.path.getsize(f"{self.archive}.partial") > 1 << 20
        self.succeeds("pack", "--segment", "1M", self.archive, *images)
        self.assertGreater(resumed, 0)
        self.assertTrue(Path(self.archive).read_bytes() == whole, SEED)

    def test_damage_names_every_image_that_uses_it(self):
        images = shared_fleet(self.scratch / "fleet", SEED)
        self.succeeds("pack", self.archive, *images)
        data = Path(self.archive).read_bytes()
        archive = read_archive(open(self.archive, "rb"))
        names = [layer.entry["name"] for layer in archive.layers]
        first = next(frame for frame in frames(data)[2:] if not frame.is_record)
        bad = bytearray(data)
        bad[first.start + 100] ^= 1
        Path(self.archive).write_bytes(bad)
        verified = drover("verify", self.archive)
        found = verified.err
        self.assertEqual(verified.code, 2, found)
        # All but the smallest overlay refer to the first MiB of the base with certainty enough.
        named = [name for name in names if f"{name}: sectors" in found]
        self.assertGreaterEqual(len(named), 3, found)
        pipe = self.piped("verify", "-")
        self.assertEqual(pipe.returncode, 2)
        lines = {line.split(": ", 2)[2] for line in found.splitlines() if " sectors " in line}
        self.assertEqual({line.split(": ", 2)[2] for line in pipe.stderr.decode().splitlines() if " sectors " in line}, lines)
        self.assertEqual(drover("unpack", "--salvage", "-C", self.path("saved"), self.archive).code, 2)
        for name, layer in zip(names, archive.layers):
            if not layer.is_raw:
                continue
            was, now = Path(self.scratch / "fleet" / name).read_bytes(), Path(self.path("saved"), name).read_bytes()
            lost = [line for line in lines if line.startswith(f"{name}: ")]
            for line in sorted(lost):
                begin, _, end = line.split(" sectors ")[1].split(" ")[:3]
                place = slice(int(begin) * SECTOR, (int(end) + 1) * SECTOR)
                was = was[: place.start] + bytes(len(was[place])) + was[place.stop :]
                now = now[: place.start] + bytes(len(now[place])) + now[place.stop :]
            self.assertTrue(was == now, f"{name}: more is lost than what is said")
        self.assertEqual(drover("unpack", "-C", self.path("whole"), self.archive).code, 65)

    def test_without_it_every_image_is_stored_for_itself(self):
        images = shared_fleet(self.scratch / "fleet", SEED)
        self.succeeds("pack", "--no-dedup", self.archive, *images)
        layers = self.succeeds("list", "--output", "json", self.archive).json()["layers"]
        self.assertEqual([layer["shared"] for layer in layers], [0] * 6)
        self.assertNotIn(b'"dedup"', Path(self.archive).read_bytes())
