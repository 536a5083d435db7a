"""What `pack` and `unpack` find beside their targets, and do; and the names an archive never gets."""

import os
import shutil
import subprocess
import time
from pathlib import Path

from archives import difference, make_fleet
from cow_writer import set_mtime
from harness import DroverCase, digest, drover, fingerprint, manifest_of, records, start, stop

SLOW = ("--rate", "6M")


class ArchiveStateTests(DroverCase):
    def setUp(self):
        super().setUp()
        self.fleet = make_fleet(self.scratch / "fleet", 3, 1, sectors=12000, seed=3, content="dense")
        self.archive, self.out = self.path("fleet.drover"), self.path("out")
        self.pack = ["pack", "--segment", "1M", self.archive, *self.fleet.images]

    def interrupted(self, arguments, manifest, kind):
        """Kills a slow run when its manifest has three lines of `kind`."""
        process = start(*arguments, *SLOW, stderr=subprocess.PIPE)
        end = time.monotonic() + 30
        while not os.path.exists(manifest) or Path(manifest).read_text().count(kind) < 3:
            self.assertIsNone(process.poll(), process.stderr.read() if process.poll() is not None else "")
            self.assertLess(time.monotonic(), end, f"no three records {kind}")
            time.sleep(0.005)
        stop(process)
        process.stderr.close()

    def interrupt_pack(self):
        self.interrupted(self.pack, manifest_of(self.archive), '"checkpoint"')
        self.assert_absent(self.archive)

    def identity(self, path):
        status = os.stat(path)
        return status.st_ino, status.st_mtime_ns, Path(manifest_of(path)).read_bytes()

    def assert_sound(self):
        self.succeeds("verify", self.archive)
        self.assert_absent(f"{self.archive}.partial")

    def test_complete_is_done_already(self):
        self.succeeds(*self.pack)
        before = self.identity(self.archive)
        self.succeeds(*self.pack)
        self.assertEqual(self.identity(self.archive), before)
        unpack = ["unpack", "-C", self.out, self.archive]
        self.succeeds(*unpack)
        files = [path for path in Path(self.out).rglob("*.*") if path.suffix != ".manifest"]
        before = [self.identity(path) for path in files]
        self.succeeds(*unpack)
        self.assertEqual([self.identity(path) for path in files], before)

    def test_complete_with_the_partial_there_is_renamed(self):
        self.succeeds(*self.pack)
        before = self.identity(self.archive)
        os.rename(self.archive, f"{self.archive}.partial")
        self.succeeds(*self.pack)
        self.assertEqual(self.identity(self.archive), before)

    def test_complete_with_neither_there_begins_anew(self):
        self.succeeds(*self.pack)
        os.unlink(self.archive)
        self.succeeds(*self.pack)
        self.assert_sound()

    def test_a_touched_archive_is_refused_until_force(self):
        self.succeeds(*self.pack)
        set_mtime(self.archive, 1_000_000_000)
        self.fails(73, *self.pack)
        self.succeeds(*self.pack, "--force")
        self.assert_sound()

    def test_another_archive_there_is_refused_until_force(self):
        self.succeeds("pack", self.archive, self.fleet.bases[0])
        os.unlink(manifest_of(self.archive))
        before = digest(self.archive)
        self.fails(73, *self.pack)
        self.assertEqual(digest(self.archive), before)
        self.succeeds(*self.pack, "--force")
        self.assertNotEqual(digest(self.archive), before)
        self.assert_sound()

    def test_a_file_that_could_be_a_disk_is_never_replaced(self):
        for content in (b"notes", bytes(8192), b""):
            Path(self.archive).write_bytes(content)
            self.fails(73, *self.pack)
            if content:
                self.fails(73, *self.pack, "--force")
            self.assertEqual(Path(self.archive).read_bytes(), content)
            self.assert_absent(f"{self.archive}.partial")

    def test_another_job_is_refused_until_restart(self):
        self.interrupt_pack()
        kept = Path(manifest_of(self.archive)).read_bytes(), digest(f"{self.archive}.partial")
        others = (["--compression", "none"], ["--flatten"], ["-S", "0"])
        for other in others:
            self.fails(65, *self.pack, *other)
            self.fails(65, *self.pack, *other, "--force")
            self.assertEqual((Path(manifest_of(self.archive)).read_bytes(), digest(f"{self.archive}.partial")), kept)
        self.fails(65, *self.pack[:-1])
        self.succeeds(*self.pack, "--compression", "none", "--restart")
        self.assert_sound()

    def test_a_changed_source_is_refused_until_restart(self):
        for change in (self.fleet.images[0], self.fleet.images[2]):
            with self.subTest(os.path.basename(change)):
                self.interrupt_pack()
                set_mtime(change, 1_600_000_000)
                self.fails(65, *self.pack)
                self.fails(65, *self.pack, "--force")
                self.assert_absent(self.archive)
                self.succeeds(*self.pack, "--restart")
                self.assert_sound()
                os.unlink(self.archive), os.unlink(manifest_of(self.archive))

    def test_a_torn_manifest_is_resumed(self):
        self.succeeds(*self.pack)
        expected = digest(self.archive)
        os.unlink(self.archive), os.unlink(manifest_of(self.archive))
        for tail in (b"{", b'{"record":"check', b"\0\0\0"):
            self.interrupt_pack()
            before = records(self.archive)
            with open(manifest_of(self.archive), "ab") as file:
                file.write(tail)
            self.succeeds(*self.pack)
            self.assertEqual(records(self.archive)[: len(before)], before, "it began anew")
            self.assertEqual(digest(self.archive), expected)
            os.unlink(self.archive), os.unlink(manifest_of(self.archive))

    def test_a_partial_that_was_cut_or_lost_is_not_believed_in(self):
        for damage in (os.unlink, lambda path: os.truncate(path, 1000)):
            self.interrupt_pack()
            damage(f"{self.archive}.partial")
            if drover(*self.pack).code:
                self.succeeds(*self.pack, "--restart")
            self.assert_sound()
            os.unlink(self.archive), os.unlink(manifest_of(self.archive))

    def test_a_second_process_is_refused_and_the_first_goes_on(self):
        process = start(*self.pack, *SLOW, stderr=subprocess.PIPE, text=True)
        while not os.path.exists(manifest_of(self.archive)):
            self.assertIsNone(process.poll())
            time.sleep(0.005)
        for options in ((), ("--force",), ("--restart",)):
            second = drover(*self.pack, *options)
            self.assertIn(second.code, (73, 75), f"\n{second}")
            self.assertLess(second.seconds, 1)
            self.assert_one_line_error(second)
        with process.stderr:
            self.assertEqual(process.wait(60), 0, process.stderr.read())
        self.assert_sound()

    def test_an_archive_name_that_holds_a_disk_image_is_always_refused(self):
        cow, qcow2 = self.path("image.cow"), self.path("image.drover")
        shutil.copyfile(self.fleet.images[0], cow)
        Path(qcow2).write_bytes(b"QFI\xfb\0\0\0\3" + bytes(65536))
        for name in (cow, qcow2):
            before = fingerprint([name])
            for options in ((), ("--force",), ("--restart",), ("--force", "--restart")):
                self.fails(73, "pack", *options, name, self.fleet.images[1])
                self.assertEqual(fingerprint([name]), before)
            self.assert_absent(f"{name}.partial")

    def test_an_archive_that_is_a_source_or_a_layer_is_always_refused(self):
        image, base = self.fleet.images[0], self.fleet.bases[0]
        os.symlink(base, self.path("link"))
        os.link(base, self.path("hard"))
        before = fingerprint([image, base])
        for name in (image, base, self.path("link"), self.path("hard")):
            for options in ((), ("--force",), ("--force", "--restart")):
                self.fails((65, 73), "pack", *options, name, image)
        for ending in (".partial", ".manifest"):
            name = self.path(f"x{ending}")
            os.link(base, name)
            self.fails((65, 73), "pack", "--force", self.path("x"), image)
            self.assert_absent(self.path("x"))
            os.unlink(name)
        self.assertEqual(fingerprint([image, base]), before)

    def test_an_archive_that_is_no_regular_file_is_refused(self):
        os.mkdir(self.path("folder"))
        os.mkfifo(self.path("fifo"))
        for name in ("folder", "fifo"):
            self.fails(73, "pack", "--force", self.path(name), self.fleet.images[0])
        self.fails(73, "pack", self.path("missing/fleet.drover"), self.fleet.images[0])

    def test_unpack_finds_other_files_in_its_way(self):
        self.succeeds(*self.pack)
        names = [os.path.relpath(path, self.scratch / "fleet") for path in self.fleet.images]
        for name in names:
            os.makedirs(os.path.dirname(f"{self.out}/{name}"))
            Path(self.out, name).write_bytes(b"mine")
        unpack = ["unpack", "-C", self.out, self.archive]
        self.fails(73, *unpack)
        self.assertEqual([Path(self.out, name).read_bytes() for name in names], [b"mine"] * len(names))
        self.succeeds(*unpack, "--force")
        for image, name in zip(self.fleet.images, names, strict=True):
            self.assertEqual(difference(image, f"{self.out}/{name}"), "")

    def test_unpack_of_another_archive_is_refused_until_restart(self):
        self.succeeds(*self.pack)
        other = self.path("other.drover")
        self.succeeds("pack", "--compression", "none", other, *self.fleet.images)
        unpack = ["unpack", "--segment", "1M", "-C", self.out]
        manifest = f"{self.out}/{os.path.relpath(self.fleet.bases[0], self.scratch / 'fleet')}.manifest"
        self.interrupted([*unpack, self.archive], manifest, '"segment"')
        self.fails(65, *unpack, other)
        self.fails(65, *unpack, "--force", other)
        self.succeeds(*unpack, "--restart", other)
        for image in self.fleet.images:
            self.assertEqual(difference(image, f"{self.out}/{os.path.relpath(image, self.scratch / 'fleet')}"), "")

    def test_another_archive_with_the_same_id_is_not_mixed_in(self):
        """The same names, sizes and times, and other bytes."""
        self.succeeds(*self.pack)
        base, other = self.fleet.bases[0], self.path("other.drover")
        times = os.stat(base)
        with open(base, "r+b") as file:
            file.seek(-4096, os.SEEK_END)
            file.write(b"other" * 100)
        os.utime(base, ns=(times.st_atime_ns, times.st_mtime_ns))
        self.succeeds("pack", "--segment", "1M", other, *self.fleet.images)
        self.assertEqual(*(Path(path).read_bytes()[39:55] for path in (self.archive, other)), "the ids differ")
        unpack = ["unpack", "--segment", "1M", "-C", self.out]
        place = f"{self.out}/{os.path.relpath(base, self.scratch / 'fleet')}"
        self.interrupted([*unpack, self.archive], f"{place}.manifest", '"segment"')
        self.fails(65, *unpack, other)
        self.succeeds(*unpack, self.archive)
        self.succeeds(*unpack, other)
        self.assertEqual(digest(place), digest(base))

    def test_unpack_refuses_to_write_over_its_own_archive(self):
        image = self.fleet.images[0]
        self.succeeds("pack", "--flatten", self.archive, image)
        inside = self.path("in/root.cow")
        os.makedirs(os.path.dirname(inside))
        shutil.copyfile(self.archive, inside)
        before = digest(inside)
        self.fails((65, 73), "unpack", "--force", "-C", self.path("in"), inside)
        self.assertEqual(digest(inside), before)
