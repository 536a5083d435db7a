"""Packing and unpacking killed again and again, then run to the end: the same archive, the same files.

`DROVER_KILLS` says how often each is killed (default 12), `DROVER_SEED` repeats a run: it is printed at the start.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from archives import difference, make_fleet
from harness import MIB, DroverCase, binary, digest, drover, fingerprint, manifest_of, records, start, stop, wait_until_caught
from moves import make_image
from reference import open_chain

KILLS = int(os.environ.get("DROVER_KILLS", "12"))
MEBIBYTES = 160
LONGEST_RUN = 0.4
SEED = os.environ.get("DROVER_SEED") or str(random.SystemRandom().randrange(10**9))
SMALL = ("--segment", "1M")


class ArchiveResumeTests(DroverCase):
    @classmethod
    def setUpClass(cls):
        print(f"DROVER_SEED={SEED} DROVER_KILLS={KILLS}", file=sys.stderr, flush=True)
        cls.folder = Path(tempfile.mkdtemp(prefix="drover-archives-")).resolve()
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        (cls.folder / "big").mkdir()
        cls.base, big = make_image(cls.folder / "big", MEBIBYTES)
        fleet = make_fleet(cls.folder / "small", 3, 1, seed=SEED)
        cls.images = [big, *fleet.images]
        cls.sources = [cls.base, *cls.images, *fleet.bases]
        cls.whole = str(cls.folder / "whole.drover")
        result = drover("pack", *SMALL, cls.whole, *cls.images)
        if result.code:
            raise AssertionError(str(result))
        data = sum(os.stat(path).st_blocks * 512 for path in cls.sources)
        cls.slow = {"pack": cls.rate(data), "unpack": cls.rate(os.path.getsize(cls.whole))}

    @staticmethod
    def rate(size):
        """So slow that a run is killed before the end, all kills together take it about that far."""
        return "--rate", str(int(size / KILLS / LONGEST_RUN))

    def setUp(self):
        super().setUp()
        self.before = fingerprint(self.sources)
        self.archive, self.out = self.path("fleet.drover"), self.path("out")
        self.pack = ["pack", *SMALL, self.archive, *self.images]
        self.unpack = ["unpack", *SMALL, "-C", self.out, self.whole]

    def tearDown(self):
        self.assertEqual(fingerprint(self.sources), self.before, "a source was changed")

    def kill_repeatedly(self, arguments, seed, number=signal.SIGKILL, source=None):
        """Kills slowed-down runs after random times; says how many were killed before they ended."""
        rng, killed, codes = random.Random(f"{SEED}-{seed}"), 0, set()
        for _ in range(KILLS):
            with open(source or os.devnull, "rb") as file:
                process = start(*arguments, *self.slow[arguments[0]], stdin=file, stderr=subprocess.DEVNULL)
            if number != signal.SIGKILL:
                wait_until_caught(process, number)
            time.sleep(rng.uniform(0.02, LONGEST_RUN))
            if process.poll() is None:
                codes.add(stop(process, number))
                killed += 1
            else:
                self.assertEqual(process.returncode, 0, arguments)
        self.assertGreaterEqual(killed, KILLS // 2, "too fast to be killed; --rate does not slow it down?")
        return codes

    def assert_packed(self):
        self.assert_same_file(self.archive, self.whole)
        self.assert_absent(f"{self.archive}.partial")

    def assert_unpacked(self, out=None):
        out = out or self.out
        for image in self.images:
            self.assertEqual(difference(image, os.path.join(out, os.path.relpath(image, self.folder))), "")
        left = [path for path in Path(out).rglob("*") if path.suffix == ".partial" or "scratch" in path.name]
        self.assertEqual(left, [])

    def test_pack_killed_at_random_moments(self):
        self.kill_repeatedly(self.pack, "pack")
        before = records(self.archive)
        self.assertGreater(len(before), 2, "no checkpoint was recorded")
        self.succeeds(*self.pack)
        self.assertEqual(records(self.archive)[: len(before)], before, "it began anew")
        self.assert_packed()
        self.succeeds("verify", self.archive)

    def test_pack_with_other_numbers_of_workers_between_the_kills(self):
        for jobs in ("1", "4", "2"):
            process = start(*self.pack, *self.slow["pack"], "--jobs", jobs)
            time.sleep(0.3)
            stop(process)
        self.succeeds(*self.pack, "--jobs", "3")
        self.assert_packed()

    def test_unpack_killed_at_random_moments(self):
        self.kill_repeatedly(self.unpack, "unpack")
        self.succeeds(*self.unpack)
        self.assert_unpacked()
        straight = self.path("straight")
        self.succeeds("unpack", "-C", straight, self.whole)
        for image in self.sources:
            name = os.path.relpath(image, self.folder)
            self.assertEqual(os.path.getsize(f"{self.out}/{name}"), os.path.getsize(f"{straight}/{name}"))
            if open_chain(image).layers[0].header is None:  # the others' headers name their places
                self.assertEqual(digest(f"{self.out}/{name}"), digest(f"{straight}/{name}"))

    def test_unpack_from_a_pipe_killed_at_random_moments(self):
        arguments = [*self.unpack[:-1], "-"]
        self.kill_repeatedly(arguments, "pipe", source=self.whole)
        self.feed(self.whole, *arguments, code=0)
        self.assert_unpacked()

    def test_flattened_from_a_pipe_killed_at_random_moments(self):
        arguments = ["unpack", *SMALL, "-O", "raw", "-C", self.out, "-"]
        self.kill_repeatedly(arguments, "flat", source=self.whole)
        self.feed(self.whole, *arguments, code=0)
        for image in self.images:
            found = Path(self.out, os.path.relpath(image, self.folder)).read_bytes()
            self.assertTrue(found == open_chain(image).guest(), f"{image} shows other bytes")
        files = [path for path in Path(self.out).rglob("*") if path.is_file() and path.suffix != ".manifest"]
        self.assertEqual(len(files), len(self.images), f"scratch files are left: {files}")

    def feed(self, source, *arguments, code):
        with open(source, "rb") as file:
            done = subprocess.run([binary(), *arguments], stdin=file, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stderr

    def test_a_pipe_of_another_archive_is_not_resumed(self):
        arguments = [*self.unpack[:-1], "-"]
        with open(self.whole, "rb") as file:
            process = start(*arguments, "--rate", "4M", stdin=file)
        time.sleep(1)
        stop(process)
        other = self.path("other.drover")
        self.succeeds("pack", "--compression", "none", other, *self.images)
        self.feed(other, *arguments, code=65)
        self.feed(other, *arguments, "--restart", code=0)
        self.assert_unpacked()

    def test_signals_end_it_with_75_and_it_resumes(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            self.assertEqual(self.kill_repeatedly(self.pack, number, number), {75})
            self.assertEqual(self.kill_repeatedly(self.unpack, number, number), {75})
            self.succeeds(*self.pack)
            self.assert_packed()
            self.succeeds(*self.unpack)
            self.assert_unpacked()
            os.unlink(self.archive), os.unlink(manifest_of(self.archive)), shutil.rmtree(self.out)

    def test_standard_output_has_no_manifest(self):
        with open(self.path("piped"), "wb") as file:
            done = subprocess.run([binary(), "pack", "-", *self.images], stdout=file, timeout=60, cwd=self.scratch)
        self.assertEqual(done.returncode, 0)
        self.assertEqual(os.listdir(self.scratch), ["piped"])
        self.assert_same_file(self.path("piped"), self.whole)

    def test_a_pipe_that_closes_ends_it(self):
        process = start("pack", "-", *self.images, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.read(10000)
        process.stdout.close()
        self.assertIn(process.wait(20), (74, 75, 141, -signal.SIGPIPE), process.stderr.read())
        process.stderr.close()

    def test_a_target_that_cannot_be_written_is_an_io_error(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([binary(), "pack", "-", *self.images], stdout=full, capture_output=False, timeout=60, stderr=-1)
        self.assertEqual(done.returncode, 74, done.stderr)
        self.assertLess(os.path.getsize(self.whole), 64 * MIB)
