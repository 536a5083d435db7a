"""Incremental archives: lines of nights, each of which comes back whole, and what happens where one of the line is missing or another."""

import os
import random
import shutil
import subprocess
import time
from pathlib import Path

from archive_reader import read_archive
from cow_writer import CowWriter, set_mtime
from harness import SECTOR, DroverCase, binary, drover, required_tool
from test_archive_sharing import shared_fleet

SEED = os.environ.get("DROVER_SEED") or str(random.SystemRandom().randrange(10**9))
LINES = int(os.environ.get("DROVER_LINES", "1"))
NIGHTS = int(os.environ.get("DROVER_NIGHTS", "4"))


def settle():
    """Until what was written now has times that prove something."""
    time.sleep(0.05)


class LineTests(DroverCase):
    def setUp(self):
        super().setUp()
        self.nights = []

    def pack(self, name, images, *options):
        """A night: the archive, and copies of the files as they are."""
        settle()
        archive = self.path(name)
        result = self.succeeds("pack", "-v", *options, archive, *images)
        kept = self.scratch / f"kept-{name}"
        shutil.copytree(images[0].parent, kept, symlinks=True)
        self.nights.append((archive, kept))
        return archive, result

    def state(self, archive, *options):
        return self.succeeds("list", "--output", "json", *options, archive).json()["state"]

    def assert_night(self, archive, kept, out, *options):
        self.succeeds("unpack", *options, "-C", out, archive)
        for file in sorted(kept.iterdir()):
            self.succeeds("convert", "--ignore-mtime", "--backing-map", f"{self.scratch}/fleet={kept}", file, self.path("was.raw"), "--force", "--restart")
            self.succeeds("convert", Path(out, file.name), self.path("is.raw"), "--force", "--restart")
            self.assertTrue(Path(self.path("was.raw")).read_bytes() == Path(self.path("is.raw")).read_bytes(), f"{archive}: {file.name}")

    def change(self, rng, images):
        """Some of the raw images and overlays are written to, as guests do; one is touched."""
        for image in rng.sample(images[1:], 2):
            if image.suffix == ".img":
                with open(image, "r+b") as file:
                    for _ in range(4):
                        file.seek(rng.randrange(os.path.getsize(image)))
                        file.write(rng.randbytes(rng.randrange(1, 9000)))
            else:
                with open(image, "r+b") as file:
                    length = os.path.getsize(image)
                    for _ in range(4):
                        file.seek(length - SECTOR * rng.randrange(1, length // SECTOR // 2))
                        file.write(rng.randbytes(SECTOR))
        os.utime(rng.choice(images[1:]))

    def test_random_lines(self):
        for number in range(LINES):
            with self.subTest(f"{SEED}-{number}"):
                rng = random.Random(f"{SEED}-{number}")
                images = shared_fleet(self.scratch / "fleet", rng.random())
                self.nights = []
                old, _ = self.pack(f"{number}-full.drover", images, *rng.choice(((), ("--compression", "zstd"), ("--no-dedup",))))
                for night in range(NIGHTS):
                    self.change(rng, images)
                    old, _ = self.pack(f"{number}-{night}.drover", images, "--since", old, *rng.choice(((), ("--no-dedup",))))
                    again = self.path("again.drover")
                    self.succeeds("pack", "--force", "--restart", "--jobs", "1", "--since", self.nights[-2][0], "--no-dedup", again, *images)
                before = None
                for night, (archive, kept) in enumerate(self.nights):
                    with open(archive, "rb") as file:
                        before = read_archive(file, before)
                    self.assertEqual(before.state().hex(), self.state(archive))
                    self.succeeds("verify", archive)
                    self.succeeds("verify", "--deep", archive)
                    self.assert_night(archive, kept, self.path(f"out{number}-{night}"))
                    for file in kept.iterdir():
                        self.succeeds("compare", "--ignore-mtime", "--backing-map", f"{self.scratch}/fleet={kept}", f"{archive}::{file.name}", file)
                # From a pipe, and one that stands alone in place of the last.
                last, kept = self.nights[-1]
                with open(last, "rb") as source, subprocess.Popen(["cat"], stdin=source, stdout=subprocess.PIPE) as pipe:
                    command = [binary(), "unpack", "-q", "--archives", str(self.scratch), "-C", self.path(f"pipe{number}"), "-"]
                    self.assertEqual(subprocess.run(command, stdin=pipe.stdout, timeout=60).returncode, 0)
                self.succeeds("compare", f"{last}::raw0.img", self.path(f"pipe{number}/raw0.img"))
                alone = self.path(f"alone{number}.drover")
                self.succeeds("pack", alone, last)
                self.assertEqual(self.state(alone), self.state(last))
                self.assertIsNone(self.succeeds("list", "--output", "json", alone).json().get("parent"))
                self.change(rng, images)
                new, _ = self.pack(f"{number}-new.drover", images, "--since", last)
                away = self.scratch / f"away{number}"
                away.mkdir()
                for archive, _ in self.nights[:-1]:
                    shutil.move(archive, away)
                self.assertEqual(drover("unpack", "-C", self.path(f"none{number}"), new).code, 66)
                self.assertEqual(drover("info", f"{new}::raw0.img").code, 66)
                self.assert_night(new, self.nights[-1][1], self.path(f"alone-out{number}"), "--archives", str(self.scratch))
                shutil.rmtree(self.scratch / "fleet")

    def test_nothing_changed(self):
        images = shared_fleet(self.scratch / "fleet", SEED)
        full, _ = self.pack("full.drover", images)
        settle()
        new, trace = self.path("new.drover"), self.path("trace")
        # A file for each thread: in one, the calls of several are cut in two.
        command = [required_tool("strace"), "-ff", "-y", "-o", trace, "-e", "trace=read,pread64,preadv,preadv2", binary(), "pack", "-q", "--since", full, new, *map(str, images)]
        subprocess.run(command, check=True, timeout=60)
        calls = [line.rsplit("= ", 1) for part in self.scratch.glob("trace.*") for line in part.read_text().splitlines() if "/fleet/" in line]
        self.assertGreater(len(calls), len(images), "headers are read")
        read = sum(int(result) for _, result in calls if result.isdigit())
        self.assertLess(read, 6 * 16384, "data of unchanged images was read")
        self.assertLess(os.path.getsize(new), 4096 + 1024 * len(images))
        self.assertEqual(self.state(new), self.state(full))
        self.assert_night(new, self.nights[0][1], self.path("out"))
        # Its own state is that of its parent: it does not stand on itself.
        third, _ = self.pack("third.drover", images, "--since", new)
        os.unlink(full)
        self.assertEqual(drover("unpack", "-C", self.path("none"), "--archives", str(self.scratch), third).code, 66)

    def test_what_was_written_without_its_times_is_found_by_reread(self):
        images = shared_fleet(self.scratch / "fleet", SEED)
        full, _ = self.pack("full.drover", images)
        os.unlink(f"{full}.manifest")
        new, _ = self.pack("new.drover", images, "--since", full)
        self.assertEqual(self.state(new), self.state(full))
        self.assertLess(os.path.getsize(new), 4096 + 1024 * len(images), "what is the same is not stored")

    def test_bases_of_one_size_are_not_taken_for_copies_by_a_flattened_archive(self):
        """It has no layer of either base, and one of their size that is neither."""
        (self.scratch / "fleet").mkdir()
        rng, images = random.Random(SEED), []
        for number in range(2):
            base = self.scratch / "fleet" / f"base{number}.img"
            base.write_bytes(rng.randbytes(64 * SECTOR))
            set_mtime(base, 1_500_000_000)
            writer = CowWriter("qemu-v2", 128 * SECTOR, str(base).encode(), 1_500_000_000)
            writer.allocate(3, 1)
            writer.write_data(3, rng.randbytes(SECTOR))
            images.append(self.scratch / "fleet" / f"guest{number}.cow")
            writer.save(str(images[-1]))
        images.append(self.scratch / "fleet" / "other.img")
        images[-1].write_bytes(rng.randbytes(64 * SECTOR))
        full, _ = self.pack("flat.drover", images, "--flatten")
        new, _ = self.pack("new.drover", images, "--since", full)
        self.succeeds("unpack", "-C", self.path("out"), new)
        for number in range(2):
            was, now = (Path(folder, f"base{number}.img").read_bytes() for folder in (self.scratch / "fleet", self.path("out")))
            self.assertTrue(was == now, number)

    def test_another_archive_of_the_name(self):
        images = shared_fleet(self.scratch / "fleet", SEED)
        full, _ = self.pack("full.drover", images)
        times = [(image, os.stat(image)) for image in images]
        self.change(random.Random(SEED), images)
        new, _ = self.pack("new.drover", images, "--since", full)
        with open(images[1], "r+b") as file:
            file.seek(5000)
            file.write(b"another")
        for image, status in times:
            os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
        os.rename(full, self.path("kept.drover"))
        self.succeeds("pack", "--restart", "--force", full, *images)
        found = drover("unpack", "-C", self.path("out"), new)
        self.assertEqual(found.code, 65, found)
        self.assertIn("full.drover", found.err)
        self.assertFalse(os.path.exists(self.path("out")) and os.listdir(self.path("out")))
        folder = self.scratch / "other"
        folder.mkdir()
        os.rename(self.path("kept.drover"), folder / "anything")
        self.succeeds("unpack", "--archives", folder, "-C", self.path("out"), new)

    def test_damage_to_the_parent_names_what_stands_on_it(self):
        images = shared_fleet(self.scratch / "fleet", SEED)
        full, _ = self.pack("full.drover", images, "--no-dedup")
        with open(images[1], "r+b") as file:
            file.seek(len(images) * 4096)
            file.write(b"new")
        new, _ = self.pack("new.drover", images, "--since", full)
        data = bytearray(Path(full).read_bytes())
        data[len(data) // 8] ^= 1
        data[len(data) * 3 // 5] ^= 1
        Path(full).write_bytes(data)
        self.succeeds("verify", new)
        deep = drover("verify", "--deep", new)
        self.assertEqual(deep.code, 2)
        named = [{line.split(": ")[2] for line in deep.err.splitlines() if line.startswith(f"drover: {archive}") and " sectors " in line} for archive in (full, new)]
        self.assertEqual(named[0], named[1], deep.err)
        self.assertTrue(named[0])
        self.assertEqual(drover("unpack", "-C", self.path("out"), new).code, 65)
        self.assertEqual(drover("unpack", "--salvage", "-C", self.path("saved"), new).code, 2)

    def test_the_old_archive_is_never_the_new_one(self):
        images = shared_fleet(self.scratch / "fleet", SEED)
        full, _ = self.pack("full.drover", images)
        before = Path(full).read_bytes()
        self.assertEqual(drover("pack", "--force", "--restart", "--since", full, full, *map(str, images)).code, 73)
        self.assertTrue(Path(full).read_bytes() == before)
        self.assertEqual(drover("pack", "--since", self.path("none.drover"), self.path("n.drover"), *map(str, images)).code, 66)
        self.assertEqual(drover("pack", "--since", str(images[0]), self.path("n.drover"), *map(str, images)).code, 65)

    def test_a_pipeline_makes_an_archive_a_night(self):
        images = shared_fleet(self.scratch / "fleet", SEED)
        pipeline = self.scratch / "night.yaml"
        pipeline.write_text("version: 1\noperation: pack\nsources: ['fleet/*']\ntarget:\n  archive: nights/fleet-{time}.drover\n  since: newest\n  full-every: 3\n")
        self.assertEqual(drover("status", pipeline).code, 0)
        rng, made = random.Random(SEED), []
        for night in range(5):
            settle()
            planned = self.succeeds("plan", pipeline).out
            self.assertIn("to do", planned)
            self.assertEqual(f"stands on nights/{made[-1]}" in planned if made else "stands on" in planned, night not in (0, 3))
            self.succeeds("run", pipeline)
            (new,) = sorted(name for name in os.listdir(self.path("nights")) if name.endswith(".drover") and name not in made)
            made.append(new)
            self.assertEqual(made, sorted(made))
            listed = self.succeeds("list", "--output", "json", f"{self.path('nights')}/{new}").json()
            # Three stand on one another; the fourth stands alone.
            self.assertEqual(listed.get("parent", {}).get("name"), None if night in (0, 3) else made[-2])
            self.assertIn(new, self.succeeds("status", pipeline).out)
            self.change(rng, images)
        verify = self.scratch / "verify.yaml"
        verify.write_text("version: 1\noperation: verify\nsources: ['fleet/*']\ntarget: {archive: 'nights/fleet-{time}.drover'}\n")
        self.assertIn(made[-1], self.succeeds("run", verify).out)
        # One that was begun is gone on with.
        run = subprocess.Popen([binary(), "run", "-q", "--rate", "1M", pipeline], stdout=subprocess.DEVNULL)
        while not any(name.endswith(".partial") for name in os.listdir(self.path("nights"))) and run.poll() is None:
            time.sleep(0.02)
        run.kill()
        run.wait()
        (begun,) = (name[: -len(".partial")] for name in os.listdir(self.path("nights")) if name.endswith(".partial"))
        self.succeeds("run", pipeline)
        self.assertIn(begun, os.listdir(self.path("nights")))
        self.succeeds("verify", "--deep", f"{self.path('nights')}/{begun}")
