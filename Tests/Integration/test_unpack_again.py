"""`drover unpack` into the folder of the night before: what is the same is left, what changed is replaced, what somebody changed is neither."""

import os
import random
import subprocess
import unittest
from pathlib import Path

import needs
from cow_writer import CowWriter, set_mtime
from filesystems import mounted
from harness import MIB, SECTOR, DroverCase, binary, digest, manifest_of, records

MTIME = 1_700_000_000
NAMES = ("base.img", "vm0.cow", "vm1.cow", "vm2.cow")


class UnpackAgainTests(DroverCase):
    def setUp(self):
        super().setUp()
        self.place(self.scratch)

    def place(self, folder):
        """A base of 130 MiB in three segments and three guests below `folder`, packed as the first night."""
        self.folder = Path(folder) / "fleet"
        self.folder.mkdir()
        self.out, self.first, self.second = (str(Path(folder) / name) for name in ("out", "first.drover", "second.drover"))
        self.random = random.Random(8)
        with open(self.folder / "base.img", "wb") as file:
            for segment in range(3):
                file.seek(segment * 64 * MIB)
                file.write(self.random.randbytes(MIB))
            file.truncate(130 * MIB)
        set_mtime(self.folder / "base.img", MTIME)
        for number in range(3):
            self.guest(number, [(50 * number, 20)])
        self.pack(self.first)

    def guest(self, number, runs, mtime=MTIME):
        writer = CowWriter("uml-v3", 130 * MIB, os.fsencode(self.folder / "base.img"), mtime=mtime)
        for start, count in runs:
            writer.allocate(start, count)
            writer.write_data(start, random.Random(start + 1000 * number).randbytes(count * SECTOR))
        writer.save(self.folder / f"vm{number}.cow")

    def pack(self, archive, *options):
        self.succeeds("pack", archive, *options, *sorted(self.folder.glob("vm*.cow")))

    def stands(self):
        return {name: (os.stat(f"{self.out}/{name}").st_ino, os.stat(f"{self.out}/{name}").st_mtime_ns) for name in NAMES}

    def assert_restored(self):
        for name in NAMES[1:]:
            self.succeeds("compare", self.folder / name, f"{self.out}/{name}")
            self.succeeds("verify", f"{self.out}/{name}")
        self.assertEqual(digest(f"{self.out}/base.img"), digest(self.folder / "base.img"))

    def test_one_change_makes_one_file_again(self):
        self.succeeds("unpack", "-C", self.out, self.first)
        before = self.stands()
        self.guest(1, [(50, 20), (200_000, 5)])
        for archive, options in ((self.second, []), (self.path("third.drover"), ["--since", self.first])):
            with self.subTest(options=options):
                self.pack(archive, *options)
                told = self.succeeds("unpack", "-v", "-C", self.out, archive)
                now = self.stands()
                changed = [name for name in NAMES if now[name] != before[name]]
                self.assertEqual(changed, ["vm1.cow"] if not options else [], told)
                self.assert_restored()
                before = now
        again = self.succeeds("unpack", "-v", "-C", self.out, self.path("third.drover"))
        self.assertIn("0 files restored, 4 were up to date", again.err)

    def test_a_changed_base_and_all_that_stands_on_it(self):
        self.succeeds("unpack", "-C", self.out, self.first)
        with open(self.folder / "base.img", "r+b") as file:
            file.seek(64 * MIB)
            file.write(b"changed")
        set_mtime(self.folder / "base.img", MTIME)
        self.pack(self.second)
        before = self.stands()
        self.succeeds("unpack", "-C", self.out, self.second)
        self.assertEqual([name for name in NAMES if self.stands()[name] != before[name]], ["base.img"])
        self.assert_restored()

    def test_flattened_too(self):
        for form in ("raw", "qcow2"):
            with self.subTest(form=form):
                out, second = self.path(form), self.path(f"{form}.drover")
                self.guest(2, [(100, 20)])
                self.pack(self.first, "--force")
                self.succeeds("unpack", "-O", form, "-C", out, self.first)
                names = [name for name in sorted(os.listdir(out)) if not name.endswith(".manifest")]
                before = {name: os.stat(f"{out}/{name}").st_ino for name in names}
                self.guest(2, [(7, 3)])
                self.pack(second)
                self.succeeds("unpack", "-O", form, "-C", out, second)
                changed = [name for name in names if os.stat(f"{out}/{name}").st_ino != before[name]]
                self.assertEqual([os.path.splitext(name)[0] for name in changed], ["vm2"])
                self.succeeds("compare", self.folder / "vm2.cow", f"{out}/{changed[0]}")

    def test_from_a_pipe_too(self):
        self.succeeds("unpack", "-C", self.out, self.first)
        self.guest(1, [(9, 9)])
        self.pack(self.second)
        before = self.stands()
        for _ in range(2):
            self.shell(f"cat {self.second} | $DROVER unpack -C {self.out} -")
            self.assert_restored()
            now = self.stands()
            self.assertEqual([name for name in NAMES if now[name] != before[name]], ["vm1.cow"])
        self.assertEqual([name for name in os.listdir(self.out) if name.endswith(".partial")], [])

    def shell(self, text):
        subprocess.run(["sh", "-ec", text], check=True, timeout=60, env={**os.environ, "DROVER": binary()})

    def test_what_somebody_wrote_to_is_not_touched(self):
        self.succeeds("unpack", "-C", self.out, self.first)
        with open(f"{self.out}/vm1.cow", "r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"x")
        before = self.stands()
        self.guest(1, [(9, 9)])
        self.guest(2, [(9, 9)])
        self.pack(self.second)
        for options in ([], ["--update"]):
            self.fails(73, "unpack", *options, "-C", self.out, self.second)
            self.assertEqual(self.stands()["vm1.cow"], before["vm1.cow"])
        self.succeeds("unpack", "--force", "-C", self.out, self.second)
        self.assert_restored()

    def test_files_without_a_record_are_held_against_the_archive(self):
        self.succeeds("unpack", "-C", self.out, self.first)
        for name in NAMES:
            os.unlink(manifest_of(f"{self.out}/{name}"))
        before = self.stands()
        self.fails(73, "unpack", "-C", self.out, self.first)
        told = self.succeeds("unpack", "--update", "-v", "-C", self.out, self.first)
        self.assertIn("0 files restored, 4 were up to date", told.err)
        self.assertEqual(self.stands(), before)
        self.succeeds("verify", *(f"{self.out}/{name}" for name in NAMES))
        # One that is not the same is somebody's.
        os.unlink(manifest_of(f"{self.out}/vm2.cow"))
        with open(f"{self.out}/vm2.cow", "r+b") as file:
            file.seek(100 * SECTOR - 130 * MIB, os.SEEK_END)
            file.write(b"x")
        self.fails(73, "unpack", "--update", "-C", self.out, self.first)
        self.fails(64, "unpack", "--update", "-C", self.out, "-")
        self.fails(64, "unpack", "--update", "--salvage", "-C", self.out, self.first)

    def test_where_extents_can_be_shared_only_what_differs_is_written(self):
        needs.loop_devices()
        with mounted("xfs", str(self.scratch), megabytes=900) as disk:
            self.place(disk)
            self.succeeds("unpack", "-C", self.out, self.first)
            with open(self.folder / "base.img", "r+b") as file:
                file.seek(64 * MIB)
                file.write(b"changed")
            set_mtime(self.folder / "base.img", MTIME + 1)
            for number in range(3):
                runs = [(50 * number, 20)] + ([(140_000, 2000)] if number == 1 else [])
                self.guest(number, runs, MTIME + 1)
            self.pack(self.second)
            os.sync()
            free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
            self.succeeds("unpack", "-C", self.out, self.second)
            self.assert_restored()
            written = records(f"{self.out}/base.img")
            self.assertEqual(sum(record.get("read", 0) > 0 for record in written if record["record"] == "segment"), 1)
            os.sync()
            self.assertLess(free - os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize, 6 * MIB)


if __name__ == "__main__":
    unittest.main()
