"""`rebase` and `commit`: COW files changed in place, against a model of the disk.

`DROVER_SEED` repeats a run: it is printed at the start.
"""

import fcntl
import os
import random
import struct
import sys
import time
from pathlib import Path

from archive_codec import digest
from cow_writer import CowWriter, set_mtime
from harness import MIB, SECTOR, DroverCase, binary, drover, run_tool
from reference import open_chain

SEED = os.environ.get("DROVER_SEED") or str(random.SystemRandom().randrange(10**9))
OLD = 1_450_000_000
LAYOUTS = ("uml-v3", "uml-v2", "qemu-v2")
BORDERS = (SECTOR, 4096, 65536, MIB)


def guest(path):
    return open_chain(str(path)).guest()


class InPlaceCase(DroverCase):
    @classmethod
    def setUpClass(cls):
        print(f"DROVER_SEED={SEED}", file=sys.stderr, flush=True)

    def write_raw(self, name, data, mtime=OLD):
        path = self.path(name)
        Path(path).write_bytes(data)
        set_mtime(path, mtime)
        return path

    def write_overlay(self, name, layout, base, size, runs, mtime=None):
        """`runs`: sector, count, bytes or None for a hole."""
        found = os.stat(base).st_mtime_ns // 10**9 if base else 0
        writer = CowWriter(layout, size, os.fsencode(base or b""), found if mtime is None else mtime)
        for sector, count, data in runs:
            writer.allocate(sector, count)
            if data is not None:
                writer.write_data(sector, data)
        path = self.path(name)
        writer.save(path)
        return path

    def random_runs(self, chance, sectors):
        runs, position = [], chance.choice((0, 1, 7, 8, 100))
        while position < sectors:
            border = chance.choice(BORDERS) // SECTOR
            count = min(chance.choice((1, 3, 8, border)), sectors - position)
            runs.append((position, count, chance.choice((None, chance.randbytes(count * SECTOR)))))
            position += count
            position += chance.choice((1, border, border - position % border))
        return runs

    def random_disk(self, chance, size):
        """Blocks of some bytes each, so that two disks agree here and there."""
        data = bytearray()
        while len(data) < size:
            data += bytes([chance.choice((0, 0, 1, 2))]) * chance.choice(BORDERS)
        return bytes(data[:size])


class RebaseTests(InPlaceCase):
    def test_every_combination_of_who_holds_a_sector(self):
        """Old base, new base and overlay hold a sector or not: all cases, at all borders, in all layouts."""
        for layout in LAYOUTS:
            for border in BORDERS:
                size = 16 * border
                old, new, runs = bytearray(size), bytearray(size), []
                for case in range(16):
                    at = case * border
                    if case & 1:
                        old[at : at + border] = b"o" * border
                    if case & 2:
                        new[at : at + border] = (b"o" if case & 8 else b"n") * border
                    if case & 4:
                        runs.append((at // SECTOR, border // SECTOR, b"i" * border))
                self.check_rebase(layout, bytes(old), bytes(new), size, runs)

    def check_rebase(self, layout, old, new, size, runs, *options):
        with self.subTest(layout=layout, size=size, runs=len(runs)):
            base, other = self.write_raw("old.raw", old), self.write_raw("new.raw", new, OLD + 99)
            image = self.write_overlay("image.cow", layout, base, size, runs)
            before = guest(image)
            self.succeeds("rebase", *options, "-b", other, image)
            os.unlink(base)
            self.assertTrue(guest(image) == before)
            self.succeeds("check", image)
            self.assertEqual(Path(other).read_bytes(), new)
            self.assert_absent(f"{image}.journal")

    def test_random_overlays_show_what_they_showed(self):
        for number in range(30):
            chance = random.Random(f"{SEED}-{number}")
            layout = chance.choice(LAYOUTS)
            size = chance.choice((SECTOR * 9, 100 * SECTOR, 3 * MIB + 5 * SECTOR, 40 * MIB))
            if layout == "uml-v2":
                size -= size % 4096
            old_size, new_size = (size, size) if layout.startswith("uml") else chance.choices((size, size // 2, size + 70000), k=2)
            self.check_rebase(layout, self.random_disk(chance, max(size, SECTOR))[:old_size].ljust(old_size, b"z"), self.random_disk(chance, new_size), size,
                              self.random_runs(chance, size // SECTOR))  # fmt: skip

    def test_a_cow_file_as_the_new_base(self):
        chance = random.Random(SEED)
        base, other = self.write_raw("base.raw", self.random_disk(chance, MIB)), self.write_raw("other.raw", self.random_disk(chance, MIB))
        middle = self.write_overlay("middle.cow", "qemu-v2", other, MIB, self.random_runs(chance, MIB // SECTOR))
        image = self.write_overlay("image.cow", "qemu-v2", base, MIB, self.random_runs(chance, MIB // SECTOR))
        before = guest(image)
        self.succeeds("rebase", "-b", middle, image)
        self.assertTrue(guest(image) == before)
        self.succeeds("rebase", "-b", "", image)
        os.unlink(middle)
        self.assertTrue(guest(image) == before)

    def test_the_header_alone(self):
        base = self.write_raw("base.raw", b"a" * MIB)
        copy = self.write_raw("copy.raw", b"a" * MIB, OLD + 7)
        for layout in LAYOUTS:
            image = self.write_overlay("image.cow", layout, base, MIB, [(3, 2, b"x" * 1024)])
            before = guest(image)
            self.succeeds("rebase", "-u", "-b", copy, image)
            self.succeeds("check", image)
            self.assertEqual(guest(image), before)
            self.assertEqual(open_chain(image).layers[1].path, copy)

    def test_the_header_alone_is_not_believed_against_manifests(self):
        source, other = self.write_raw("s.raw", b"a" * MIB), self.write_raw("t.raw", b"b" * MIB)
        self.succeeds("convert", "--as-base", source, self.path("base.raw"))
        self.succeeds("convert", "--as-base", other, self.path("other.raw"))
        image = self.write_overlay("image.cow", "uml-v3", self.path("base.raw"), MIB, [])
        self.assertIn("manifests say", self.fails(65, "rebase", "-u", "-b", self.path("other.raw"), image).err)
        self.succeeds("rebase", "-b", self.path("other.raw"), image)
        self.assertEqual(guest(image), b"a" * MIB)

    def test_the_old_content_may_be_elsewhere(self):
        kept = self.write_raw("kept.raw", b"a" * MIB)
        base = self.write_raw("base.raw", b"b" * MIB, OLD + 50)
        image = self.write_overlay("image.cow", "uml-v3", base, MIB, [(0, 1, b"x" * 512)], mtime=OLD)
        self.fails(65, "rebase", "-b", base, image)
        self.succeeds("rebase", "--old-backing", kept, "-b", base, image)
        self.assertEqual(guest(image), b"x" * 512 + b"a" * (MIB - 512))

    def test_what_cannot_be_is_refused_and_nothing_is_changed(self):
        base, longer = self.write_raw("base.raw", b"a" * MIB), self.write_raw("longer.raw", b"a" * (MIB + SECTOR))
        image = self.write_overlay("image.cow", "uml-v3", base, MIB, [])
        before = Path(image).read_bytes()
        for code, *arguments in ((65, "-b", longer, image), (65, "-b", "", image), (65, "-b", image, image), (66, "-b", self.path("none"), image),
                                 (65, "-b", base, base), (65, "-b", self.over(image), image), (64, "-u", "--old-backing", base, "-b", base, image)):  # fmt: skip
            self.fails(code, "rebase", *arguments)
            self.assertEqual(Path(image).read_bytes(), before)
            self.assert_absent(f"{image}.journal")
        qcow2 = self.path("image.qcow2")
        run_tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", qcow2)
        self.assertIn("qemu-img rebase", self.fails(65, "rebase", "-b", base, qcow2).err)
        os.link(image, self.path("second.cow"))
        self.fails(73, "rebase", "-b", base, image)
        self.succeeds("rebase", "--force", "-b", base, image)

    def over(self, image):
        """An overlay of the image itself."""
        return self.write_overlay("over.cow", "qemu-v2", image, MIB, [])

    def test_an_image_in_use_is_left_alone(self):
        base = self.write_raw("base.raw", b"a" * MIB)
        image = self.write_overlay("image.cow", "uml-v3", base, MIB, [])
        for path, kind in ((image, fcntl.LOCK_SH), (image, fcntl.LOCK_EX), (base, fcntl.LOCK_SH)):
            with open(path, "r+b") as file:
                fcntl.lockf(file, kind)
                if path == image:
                    self.fails(66, "rebase", "-b", base, image)
                self.fails(66, "commit", image)
                # A number that is closed twice may be another file's the second time.
                trace = self.path("trace")
                run_tool("strace", "-f", "-qq", "-o", trace, "-e", "trace=close", binary(), "commit", image, codes=(66,))
                calls = Path(trace).read_text()
                self.assertIn("close(", calls)
                self.assertNotIn("EBADF", calls)


class CommitTests(InPlaceCase):
    def check_commit(self, image, base, *options):
        before = guest(image)
        self.succeeds("commit", *options, image)
        self.assertTrue(guest(image) == before)
        self.succeeds("check", image)
        self.assertEqual(self.succeeds("info", "--output", "json", image).json()["format-specific"]["data"]["allocated"], 0)
        self.assert_absent(f"{image}.journal", f"{base}.journal")
        return before

    def test_random_overlays_are_in_their_base_and_empty(self):
        for number in range(30):
            chance = random.Random(f"{SEED}-commit-{number}")
            layout = chance.choice(LAYOUTS)
            size = chance.choice((SECTOR * 16, 96 * SECTOR, 3 * MIB + 5 * SECTOR - (layout == "uml-v2") * 5 * SECTOR, 20 * MIB))
            over = chance.choice(("raw", "qemu-v2")) if layout == "qemu-v2" else "raw"
            with self.subTest(number=number, layout=layout, size=size, over=over):
                base_size = size if layout.startswith("uml") or over != "raw" else chance.choice((size, size // 2, size + 4096))
                base = self.write_raw("base.raw", self.random_disk(chance, base_size))
                if over != "raw":
                    base = self.write_overlay("base.cow", over, base, size, self.random_runs(chance, size // SECTOR))
                image = self.write_overlay("image.cow", layout, base, size, self.random_runs(chance, size // SECTOR))
                old = os.stat(base).st_mtime_ns
                before = self.check_commit(image, base)
                self.assertGreaterEqual(os.stat(base).st_mtime_ns - old, 10**9)
                self.assertTrue(guest(base)[:size].ljust(size, b"\0") == before)
                self.assertLess(os.stat(image).st_blocks * 512, 128 << 10)
                if over != "raw":
                    os.unlink(base)

    def test_uml_moo_reads_what_is_left(self):
        base = self.write_raw("base.raw", random.Random(SEED).randbytes(MIB))
        image = self.write_overlay("image.cow", "uml-v3", base, MIB, [(5, 20, b"x" * 10240)])
        before = self.check_commit(image, base)
        run_tool("uml_moo", image, self.path("merged.raw"))
        self.assertTrue(Path(self.path("merged.raw")).read_bytes() == before == Path(base).read_bytes())

    def test_other_overlays_are_found_and_it_is_refused(self):
        base = self.write_raw("base.raw", b"a" * MIB)
        os.mkdir(self.path("far"))
        image = self.write_overlay("image.cow", "uml-v3", base, MIB, [(0, 1, b"x" * 512)])
        writer = CowWriter("uml-v3", MIB, os.fsencode(self.path("gone/base.raw")), OLD)
        moved = self.path("moved.cow")
        writer.save(moved)
        relative = self.write_overlay("relative.cow", "qemu-v2", base, MIB, [])
        blob = bytearray(Path(relative).read_bytes())
        blob[8 : 8 + 1024] = b"base.raw".ljust(1024, b"\0")
        Path(relative).write_bytes(blob)
        qcow2 = self.path("far/image.qcow2")
        run_tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", qcow2)
        before = Path(image).read_bytes(), Path(base).read_bytes()
        result = self.fails(73, "commit", "--siblings", self.path("far"), image)
        for path in (moved, relative, qcow2):
            self.assertIn(path, result.err)
        self.assertEqual((Path(image).read_bytes(), Path(base).read_bytes()), before)
        self.assert_absent(f"{image}.journal", f"{base}.journal")
        for path in (moved, relative):
            os.unlink(path)
        self.fails(73, "commit", "--siblings", self.path("far"), image)
        self.succeeds("commit", image)

    def test_a_journal_keeps_everybody_away_and_the_same_command_goes_on(self):
        base = self.write_raw("base.raw", b"a" * MIB)
        image = self.write_overlay("image.cow", "uml-v3", base, MIB, [(0, 1, b"x" * 512)])
        before = guest(image)
        self.stop_at_the_journal(image, base)
        for arguments in (("info", image), ("map", image), ("check", image), ("convert", image, self.path("t")), ("compare", image, base),
                          ("pack", self.path("a.drover"), image), ("convert", base, self.path("t")), ("rebase", "-b", base, image)):  # fmt: skip
            result = self.fails(66, *arguments)
            self.assertIn("drover commit", result.err + result.out)
        self.succeeds("commit", image)
        self.assertEqual(guest(image), before)

    def stop_at_the_journal(self, image, base, device=None):
        """As a commit leaves it that dies right after its journals are complete."""
        mtime, data = 1_700_000_000, Path(image).read_bytes()
        changes = [(8, data[8:12], struct.pack(">I", mtime)), (8192, data[8192 : 8192 + 256], bytes(256))]
        self.write_journal(image, mtime, None, changes, device)
        self.write_journal(base, mtime, image, [], device)

    def write_journal(self, path, mtime, partner, changes, device):
        """By Documentation/journal-format.md alone."""
        files = [os.stat(name) for name in (path, partner) if name]
        numbers = [number for file in files for number in (device or file.st_dev, file.st_ino)]
        data = b"DROVER-JOURNAL\n\1" + struct.pack(">I4x5Q", 2, *(numbers + [0, 0])[:4], mtime)
        seal = digest(data)
        for offset, old, new in changes:
            record = struct.pack(">QQ", offset, len(old)) + old + new
            seal = digest(seal + record)
            data += record
        Path(f"{path}.journal").write_bytes(data + struct.pack(">QQ", 2**64 - 1, 0) + seal)

    def test_a_file_that_somebody_changed_meanwhile_is_left_alone(self):
        base = self.write_raw("base.raw", b"a" * MIB)
        image = self.write_overlay("image.cow", "uml-v3", base, MIB, [(0, 1, b"x" * 512)])
        self.stop_at_the_journal(image, base)
        with open(image, "r+b") as file:
            file.seek(8192 + 5)
            file.write(b"\1")
        before = Path(image).read_bytes(), Path(base).read_bytes()
        self.assertIn("neither what was there", self.fails(65, "commit", image).err)
        self.assertEqual((Path(image).read_bytes(), Path(base).read_bytes()), before)

    def test_sectors_that_came_since_are_not_lost(self):
        """In a page of the bitmap that the journal does not clear."""
        base = self.write_raw("base.raw", b"a" * 40 * MIB)
        image = self.write_overlay("image.cow", "uml-v3", base, 40 * MIB, [(0, 1, b"x" * 512)])
        self.stop_at_the_journal(image, base)
        with open(image, "r+b") as file:
            file.seek(8192 + 4096 + 7)
            file.write(b"\1")
        before = Path(image).read_bytes(), Path(base).read_bytes()
        self.assertIn("something wrote to it since", self.fails(65, "commit", image).err)
        self.assertEqual((Path(image).read_bytes(), Path(base).read_bytes()), before)

    def test_a_journal_counts_on_a_device_of_another_number(self):
        base = self.write_raw("base.raw", b"a" * MIB)
        image = self.write_overlay("image.cow", "uml-v3", base, MIB, [(0, 1, b"x" * 512)])
        before = guest(image)
        self.stop_at_the_journal(image, base, device=4711)
        self.fails(66, "info", image)
        self.succeeds("commit", image)
        self.assertEqual(guest(image), before)

    def test_a_journal_that_is_not_whole_began_nothing(self):
        base = self.write_raw("base.raw", b"a" * MIB)
        image = self.write_overlay("image.cow", "uml-v3", base, MIB, [(0, 1, b"x" * 512)])
        Path(f"{image}.journal").write_bytes(b"DROVER-JOURNAL\n\1" + bytes(48))
        self.succeeds("check", image)
        self.check_commit(image, base)

    def test_what_cannot_be_is_refused_by_name(self):
        base = self.write_raw("base.raw", b"a" * MIB)
        flat = self.write_overlay("flat.cow", "qemu-v2", "", MIB, [])
        self.assertIn("no backing file", self.fails(65, "commit", flat).err)
        qcow2 = self.path("image.qcow2")
        run_tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", qcow2)
        self.assertIn("qemu-img commit", self.fails(65, "commit", qcow2).err)
        over = self.write_overlay("over.cow", "qemu-v2", qcow2, MIB, [])
        self.assertIn("nothing is merged into one", self.fails(65, "commit", over).err)
        old = self.write_overlay("old.cow", "uml-v1", base, MIB, [])
        self.assertIn("uml-v1 is not written", self.fails(65, "commit", old).err)


class CheckRepairTests(InPlaceCase):
    """`check -r mtime`: a base gets the time back that its overlays expect, where something proves its bytes."""

    def setUp(self):
        super().setUp()
        self.chance = random.Random(SEED)
        self.base = self.write_raw("base.raw", self.random_disk(self.chance, 3 * MIB))
        os.utime(self.base, ns=(OLD * 10**9 + 77, OLD * 10**9 + 77))
        self.image = self.write_overlay("image.cow", "uml-v3", self.base, 3 * MIB, [(0, 1, b"x" * 512)])
        self.old = os.stat(self.base)

    def drift(self):
        """As `cp` without `-p` leaves it."""
        os.utime(self.base)
        self.assertEqual(drover("check", self.image).code, 2)

    def assert_healed(self):
        self.assertEqual(os.stat(self.base).st_mtime_ns, self.old.st_mtime_ns)
        self.succeeds("check", self.image)

    def assert_left(self, *options):
        before = os.stat(self.base).st_mtime_ns
        result = self.fails(2, "check", "-r", "mtime", *options, self.image)
        self.assertEqual(os.stat(self.base).st_mtime_ns, before)
        return result.err

    def test_nothing_is_changed_without_a_proof(self):
        self.drift()
        self.assertIn("nothing proves", self.assert_left())

    def test_the_manifest_of_a_copy_proves_it(self):
        os.mkdir(self.path("copies"))
        copy = self.path("copies/base.raw")
        for arguments in (("--as-base",), ("-O", "qcow2"), ("-O", "cow", "-o", "layout=qemu-v2")):
            self.succeeds("convert", "--force", "--restart", *arguments, self.base, copy)
            self.drift()
            self.assert_left()
            self.succeeds("check", "-r", "mtime", "--known", f"{copy}.manifest", self.image)
            self.assert_healed()

    def test_its_own_manifest_beside_it_proves_it(self):
        self.succeeds("convert", "--as-base", self.base, self.path("new.raw"))
        os.unlink(self.base)
        self.succeeds("convert", "--as-base", self.path("new.raw"), self.base)
        self.old = os.stat(self.base)
        self.drift()
        self.succeeds("check", "-r", "mtime", self.image)
        self.assert_healed()

    def test_an_archive_proves_it(self):
        self.succeeds("pack", self.path("fleet.drover"), self.image)
        self.drift()
        self.succeeds("check", "-r", "mtime", self.image)
        self.assert_healed()

    def test_an_archive_that_only_refers_to_another_proves_it(self):
        time.sleep(0.05)
        self.succeeds("pack", self.path("full.drover"), self.image)
        self.succeeds("pack", "--since", self.path("full.drover"), self.path("fleet.drover"), self.image)
        os.unlink(self.path("full.drover"))
        os.unlink(self.path("full.drover.manifest"))
        self.drift()
        with open(self.base, "r+b") as file:
            file.seek(MIB + 5)
            was = file.read(1)
            file.seek(MIB + 5)
            file.write(bytes([was[0] ^ 1]))
        self.assert_left()
        with open(self.base, "r+b") as file:
            file.seek(MIB + 5)
            file.write(was)
        self.drift()
        self.succeeds("check", "-r", "mtime", self.image)
        self.assert_healed()

    def test_a_base_whose_bytes_changed_is_left(self):
        self.succeeds("convert", self.base, self.path("copy.raw"))
        self.succeeds("pack", self.path("fleet.drover"), self.image)
        for offset in (0, MIB + 5, 3 * MIB - 1):
            with open(self.base, "r+b") as file:
                file.seek(offset)
                byte = file.read(1)
                file.seek(offset)
                file.write(bytes([byte[0] ^ 1]))
            self.assertIn("its time differs rightly", self.assert_left("--known", self.path("copy.raw.manifest")))
            with open(self.base, "r+b") as file:
                file.seek(offset)
                file.write(byte)
        self.succeeds("check", "-r", "mtime", self.image)
        self.assert_healed()

    def test_overlays_that_expect_different_times_are_named(self):
        self.succeeds("convert", self.base, self.path("copy.raw"))
        other = self.write_overlay("other.cow", "uml-v3", self.base, 3 * MIB, [], mtime=OLD + 3)
        self.drift()
        text = self.assert_left("--known", self.path("copy.raw.manifest"))
        self.assertIn(f"{OLD + 3}: {other}", text)
        self.assertIn(f"{OLD}: {self.image}", text)
        os.unlink(other)
        self.succeeds("check", "-r", "mtime", "--known", self.path("copy.raw.manifest"), self.image)
        self.assert_healed()
