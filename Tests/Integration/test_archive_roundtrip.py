"""Packed and unpacked again: every layer has its guest bytes, data and allocation, through a file and through pipes.

`DROVER_CHAINS` says how many random chains (default 60), `DROVER_SEED` repeats a run: it is printed at the start.
"""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

from archives import difference, make_fleet, names_of, takes_cow_as_raw, write_overlay
from chains import random_chain
from cow_writer import CowWriter, set_mtime
from harness import SECTOR, DroverCase, binary, digest, drover, fingerprint
from reference import open_chain

COUNT = int(os.environ.get("DROVER_CHAINS", "30"))
SEED = os.environ.get("DROVER_SEED") or str(random.SystemRandom().randrange(10**9))
OPTIONS = ((), (), ("--jobs", "1"), ("--compression", "none"), ("--compression", "lz4:9"), ("-S", "0"), ("-S", "64k"))
MOST_FAILURES = int(os.environ.get("DROVER_MOST_FAILURES", "5"))


class ArchiveRoundtripTests(DroverCase):
    @classmethod
    def setUpClass(cls):
        print(f"DROVER_SEED={SEED} DROVER_CHAINS={COUNT}", file=sys.stderr, flush=True)

    def roundtrip(self, images, *options, files=()):
        """Packs `images`, unpacks into `out` and compares every layer. Returns the path each restored image has."""
        archive, out = self.path("fleet.drover"), self.path("out")
        before = fingerprint(files)
        self.succeeds("pack", *options, archive, *images)
        self.assertEqual(fingerprint(files), before, "a source was changed")
        layers = {os.path.realpath(layer.path) for image in images for layer in open_chain(image).layers}
        self.succeeds("unpack", "-C", out, archive)
        self.assert_restored(images, layers, out)
        return archive, out

    def assert_restored(self, images, layers, out, layout=None):
        names = names_of(layers)
        for image in images:
            restored = os.path.join(out, names[os.path.realpath(image)])
            self.assertTrue(os.path.isfile(restored), f"{restored} is missing")
            self.assertEqual(difference(image, restored, layout), "", restored)
        found = {os.path.relpath(path, out) for path in Path(out).rglob("*") if path.is_file()}
        found = {name for name in found if not name.endswith(".manifest")}
        self.assertEqual(found, set(names.values()))

    def each_chain(self, check):
        failures = 0
        for number in range(COUNT):
            folder = self.scratch / "chain"
            folder.mkdir()
            made = random_chain(f"{SEED}-{number}", folder)
            options = OPTIONS[number % len(OPTIONS)]
            passed = False
            with self.subTest(str(made), options=options):
                check(made, options)
                passed = True
            failures += not passed
            if failures == MOST_FAILURES:
                return
            for path in self.scratch.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def test_random_chains(self):
        self.each_chain(self.check_layers)

    def check_layers(self, made, options):
        archive, out = self.roundtrip([made.top], *options, files=made.files)
        self.assertTrue(open_chain(self.restored(made, out)).guest() == made.guest)
        self.succeeds("verify", archive)
        shutil.rmtree(out)
        options = ("-O", "cow", "-o", "layout=qemu-v2", "-C", out, archive)
        if takes_cow_as_raw(open_chain(made.top)):
            self.fails(65, "unpack", *options)
        else:
            self.succeeds("unpack", *options)
            self.assertEqual(difference(made.top, self.restored(made, out), "qemu-v2"), "")

    def test_random_chains_flattened_when_they_are_unpacked(self):
        self.each_chain(self.check_flattened)

    def check_flattened(self, made, options):
        archive, out = self.path("fleet.drover"), self.path("flat")
        self.succeeds("pack", *options, archive, made.top)
        self.succeeds("unpack", "-O", "raw", "-C", out, archive)
        self.assertTrue(Path(self.restored(made, out)).read_bytes() == made.guest, "flattened bytes differ")

    def test_random_chains_flattened_when_they_are_packed(self):
        self.each_chain(self.check_packed_flat)

    def check_packed_flat(self, made, options):
        archive, out = self.path("fleet.drover"), self.path("flat")
        self.succeeds("pack", "--flatten", *options, archive, made.top)
        self.succeeds("unpack", "-C", out, archive)
        self.assertTrue(Path(out, os.path.basename(made.top)).read_bytes() == made.guest, "flattened bytes differ")

    def restored(self, made, out):
        names = names_of([image.path for image in made.images])
        return os.path.join(out, names[os.path.realpath(made.top)])

    def test_fleets_with_shared_bases(self):
        for guests, bases, extra in ((1, 1, 0), (5, 1, 0), (7, 3, 0), (4, 2, 200), (9, 2, 511)):
            with self.subTest(guests=guests, bases=bases, extra=extra):
                fleet = make_fleet(self.scratch / "fleet", guests, bases, seed=f"{SEED}-{guests}", extra=extra)
                self.roundtrip(fleet.images, files=fleet.files)
                for path in self.scratch.iterdir():
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def test_copies_of_a_base_are_stored_once(self):
        folder = self.scratch / "fleet"
        fleet = make_fleet(folder, guests=2, bases=1, sectors=4000, seed=SEED, content="random")
        base, copy, other = fleet.bases[0], str(folder / "bases" / "copy.img"), str(folder / "other.cow")
        shutil.copyfile(base, copy)
        set_mtime(copy, 1_111_111_111, 222_222_222)
        write_overlay(other, copy, os.path.getsize(copy), random.Random(SEED), [(5, 20)])
        archive, out = self.path("fleet.drover"), self.path("out")
        self.succeeds("pack", archive, *fleet.images, other)
        sizes = [os.stat(path).st_blocks * 512 for path in (*fleet.files, other)]
        self.assertLess(os.path.getsize(archive), sum(sizes) + 65536, "a copy of the base is stored again")
        self.succeeds("unpack", "-C", out, archive)
        mtimes = {os.stat(path).st_mtime_ns for path in (base, copy)}
        for image in (*fleet.images, other):
            restored = os.path.join(out, os.path.relpath(image, folder))
            self.assertEqual(difference(image, restored, mtimes=mtimes), "", restored)

    def test_copies_that_are_images_themselves_keep_name_and_mtime(self):
        fleet = make_fleet(self.scratch / "fleet", guests=1, bases=1, seed=SEED)
        copy = f"{fleet.bases[0]}-2"
        shutil.copyfile(fleet.bases[0], copy)
        self.roundtrip([*fleet.bases, copy])
        self.assertEqual(digest(self.path("out/base-0.img-2")), digest(copy))

    def test_a_base_named_as_an_image_too_is_stored_once(self):
        fleet = make_fleet(self.scratch / "fleet", guests=2, bases=1, sectors=4000, seed=SEED, content="random")
        link = self.scratch / "fleet" / "hard.img"
        os.link(fleet.bases[0], link)
        archive = self.path("fleet.drover")
        self.succeeds("pack", archive, *fleet.images, fleet.bases[0], link)
        most = sum(os.stat(path).st_blocks * 512 for path in fleet.files)
        self.assertLess(os.path.getsize(archive), most + 65536)

    def test_an_overlay_of_the_whole_length_takes_a_cow_file_as_raw_bytes(self):
        fleet = make_fleet(self.scratch / "fleet", guests=1, bases=1, seed=SEED)
        lower = fleet.images[0]
        top = self.scratch / "fleet" / "top.cow"
        write_overlay(top, lower, os.path.getsize(lower), random.Random(SEED), [(0, 1), (30, 8)])
        self.roundtrip([top])

    def test_what_a_layout_cannot_hold_is_refused_before_anything_is_written(self):
        fleet = make_fleet(self.scratch / "fleet", guests=1, bases=1, seed=SEED)
        alone = str(self.scratch / "fleet" / "alone.cow")
        CowWriter("qemu-v2", 65536).save(alone)
        archive = self.path("fleet.drover")
        self.succeeds("pack", archive, *fleet.images, alone)
        for source in (archive, "-"):
            with self.subTest(source=source), open(archive, "rb") as file:
                command = [binary(), "unpack", "-o", "layout=uml-v3", "-C", self.path("out"), source]
                done = subprocess.run(command, stdin=file, capture_output=True, timeout=60)
                self.assertEqual(done.returncode, 65, done.stderr)
                self.assertIn(b"qemu-v2", done.stderr)
                self.assertEqual([path for path in Path(self.path("out")).rglob("*") if path.is_file()], [])

    def test_a_layout_that_would_mean_another_chain_is_refused(self):
        fleet = make_fleet(self.scratch / "fleet", guests=1, bases=1, seed=SEED)
        top = self.scratch / "fleet" / "top.cow"
        write_overlay(top, fleet.images[0], os.path.getsize(fleet.images[0]), random.Random(SEED), [(0, 1), (30, 8)])
        archive, out = self.path("fleet.drover"), self.path("out")
        self.succeeds("pack", archive, top)
        done = drover("unpack", "-O", "cow", "-o", "layout=qemu-v2", "-C", out, archive)
        if done.code == 0:
            self.assertTrue(open_chain(os.path.join(out, "top.cow")).guest() == open_chain(top).guest(), "other bytes")
        self.assertEqual(done.code, 65, str(done))

    def test_through_pipes(self):
        fleet = make_fleet(self.scratch / "fleet", 6, 2, seed=SEED, extra=77)
        layers = {layer.path for image in fleet.images for layer in open_chain(image).layers}
        for target in (("-O", "cow"), ("-O", "raw")):
            with self.subTest(target=target):
                out = self.path(f"out-{target[1]}")
                self.pipe(fleet.images, "-C", out, *target)
                if target[1] == "cow":
                    self.assert_restored(fleet.images, layers, out)
                else:
                    self.assert_flattened(fleet.images, layers, out)

    def pipe(self, images, *unpack):
        pack = subprocess.Popen([binary(), "pack", "-", *images], stdout=subprocess.PIPE)
        done = subprocess.run([binary(), "unpack", *unpack, "-"], stdin=pack.stdout, capture_output=True, text=True, timeout=60)
        pack.stdout.close()
        self.assertEqual((pack.wait(30), done.returncode), (0, 0), done.stderr)

    def assert_flattened(self, images, layers, out):
        """Only the images are there, no scratch file: what each guest sees, in whole sectors."""
        names = names_of(layers)
        for image in images:
            guest = open_chain(image).guest()
            self.assertEqual(len(guest) % SECTOR, 0)
            found = Path(out, names[os.path.realpath(image)]).read_bytes()
            self.assertTrue(found == guest, f"{image} shows other bytes")
        left = {str(p.relative_to(out)) for p in Path(out).rglob("*") if p.is_file() and p.suffix != ".manifest"}
        self.assertEqual(left, {names[os.path.realpath(image)] for image in images})

    def test_a_pipe_and_a_file_hold_the_same_bytes(self):
        fleet = make_fleet(self.scratch / "fleet", 3, seed=SEED)
        archive = self.path("fleet.drover")
        self.succeeds("pack", archive, *fleet.images)
        piped = subprocess.run([binary(), "pack", "-", *fleet.images], capture_output=True, timeout=60)
        self.assertEqual(piped.returncode, 0, piped.stderr)
        self.assertTrue(piped.stdout == Path(archive).read_bytes(), "standard output gets another archive")
