"""Where a conversion may write: never over a source, never over what is there without being told."""

import fcntl
import os
import random
from pathlib import Path

from cow_writer import CowWriter, set_mtime
from harness import SECTOR, DroverCase, fingerprint, manifest_of, records
from reference import open_chain

SIZE = 256 * SECTOR
MTIME = 1_420_000_000


class TargetTests(DroverCase):
    def setUp(self):
        super().setUp()
        self.base, self.image, self.out = self.path("base.raw"), self.path("image.cow"), self.path("out.raw")
        Path(self.base).write_bytes(random.Random(3).randbytes(SIZE))
        set_mtime(self.base, MTIME)
        writer = CowWriter("uml-v3", SIZE, os.fsencode(self.base), MTIME)
        writer.allocate(100, 20)
        writer.write_data(100, b"\x99" * 20 * SECTOR)
        writer.save(self.image)
        self.sources = fingerprint([self.base, self.image])
        self.expected = open_chain(self.image).guest()

    def tearDown(self):
        self.assertEqual(fingerprint([self.base, self.image]), self.sources, "a source was changed")

    def refuses(self, codes, source, target):
        """Refused with and without `--force`, nothing left behind."""
        before = sorted(os.listdir(self.scratch))
        for options in ((), ("--force",), ("--restart",), ("--force", "--restart")):
            with self.subTest(target=target, options=options):
                self.fails(codes, "convert", *options, source, target, timeout=10)
                self.assertEqual(sorted(os.listdir(self.scratch)), before, "something was left behind")

    def test_an_existing_target_is_replaced_only_by_force(self):
        Path(self.out).write_bytes(b"precious")
        self.fails(73, "convert", self.image, self.out)
        self.fails(73, "convert", "--restart", self.image, self.out)
        self.assertEqual(Path(self.out).read_bytes(), b"precious")
        self.assert_absent(f"{self.out}.partial")
        self.succeeds("convert", "--force", self.image, self.out)
        self.assertEqual(Path(self.out).read_bytes(), self.expected)

    def test_an_empty_target_exists_too(self):
        Path(self.out).touch()
        self.fails(73, "convert", self.image, self.out)

    def test_a_target_of_another_complete_job_is_replaced_only_by_force(self):
        self.succeeds("convert", self.base, self.out)
        before = Path(self.out).read_bytes(), Path(manifest_of(self.out)).read_bytes()
        self.fails(73, "convert", self.image, self.out)
        self.assertEqual((Path(self.out).read_bytes(), Path(manifest_of(self.out)).read_bytes()), before)
        self.succeeds("convert", "--force", self.image, self.out)
        self.assertEqual(Path(self.out).read_bytes(), self.expected)
        self.succeeds("verify", self.out)

    def test_the_target_is_the_source_or_a_layer_of_its_chain(self):
        for file in (self.image, self.base):
            os.symlink(file, f"{file}.symbolic")
            os.link(file, f"{file}.hard")
            for target in (file, f"{file}.symbolic", f"{file}.hard"):
                self.refuses((65, 73), self.image, target)

    def test_the_partial_or_the_manifest_is_a_source(self):
        for name in ("image.partial", "image.manifest"):
            os.rename(self.image, self.path(name))
            self.sources = fingerprint([self.base, self.path(name)])
            self.refuses((65, 73), self.path(name), self.path("image"))
            os.rename(self.path(name), self.image)
        self.sources = fingerprint([self.base, self.image])
        for suffix in ("partial", "manifest"):
            os.link(self.base, f"{self.out}.{suffix}")
            self.refuses((65, 73), self.image, self.out)
            os.unlink(f"{self.out}.{suffix}")

    def test_the_target_is_the_backing_file_that_stands_for_the_base(self):
        copy = self.path("copy.raw")
        Path(copy).write_bytes(Path(self.base).read_bytes())
        before = fingerprint([copy])
        for options in ((), ("--force",)):
            self.fails((65, 73), "convert", *options, "-O", "cow", "-B", copy, self.image, copy)
        self.assertEqual(fingerprint([copy]), before)

    def test_what_is_no_regular_file_is_refused(self):
        os.mkdir(self.path("folder"))
        os.mkfifo(self.path("pipe"))
        for target in (self.path("folder"), self.path("pipe"), "/dev/null"):
            self.refuses(73, self.image, target)

    def test_a_folder_that_does_not_exist(self):
        self.refuses(73, self.image, self.path("nowhere/out.raw"))

    def test_a_target_that_a_guest_is_using_is_never_replaced(self):
        self.succeeds("convert", self.image, self.out)
        before = fingerprint([self.out])
        for lock in (fcntl.LOCK_EX, fcntl.LOCK_SH):
            with open(self.out, "r+b") as file:
                fcntl.lockf(file, lock)
                self.fails(73, "convert", "--force", "-S", "0", self.image, self.out)
        self.assertEqual(fingerprint([self.out]), before)

    def test_names_of_what_stands_beside_a_target(self):
        for ending in ("partial", "manifest"):
            self.fails(73, "convert", self.image, self.path(f"out.{ending}"))
            self.fails(73, "create", "-b", self.base, self.path(f"new.{ending}"))

    def test_a_name_too_long(self):
        for command in (["convert", self.image], ["create", "-b", self.base]):
            self.fails(73, *command, self.path("x" * 250))

    def test_a_staging_file_with_another_name_is_not_written_to(self):
        victim = self.path("victim")
        Path(victim).write_text("precious")
        os.link(victim, f"{self.out}.partial")
        self.fails(73, "convert", self.image, self.out)
        self.assertEqual(Path(victim).read_text(), "precious")

    def test_create_leaves_a_checkpoint_of_any_kind_alone(self):
        for command in (["pack", self.out, self.image], ["convert", self.image, self.out]):
            self.succeeds(*command)
            os.rename(self.out, f"{self.out}.partial")
            manifest = Path(manifest_of(self.out))
            lines = manifest.read_bytes().splitlines(keepends=True)
            # Where the times have settled, the last record may stand there twice.
            manifest.write_bytes(b"".join(line for line in lines if b'"record":"complete"' not in line))
            before = manifest.read_bytes()
            self.fails(73, "create", "-b", self.base, self.out)
            self.assertEqual(manifest.read_bytes(), before)
            os.unlink(f"{self.out}.partial"), os.unlink(manifest)

    def test_a_symbolic_link_is_resolved_first(self):
        os.mkdir(self.path("real"))
        os.symlink("real/disk.raw", self.path("link.raw"))
        self.succeeds("convert", self.image, self.path("link.raw"))
        self.assertTrue(os.path.islink(self.path("link.raw")), "the link was replaced")
        self.assertEqual(Path(self.path("real/disk.raw")).read_bytes(), self.expected)

    def test_a_refused_source_leaves_nothing(self):
        os.rename(self.base, f"{self.base}.away")
        self.fails(66, "convert", self.image, self.out)
        self.assert_absent(self.out, f"{self.out}.partial", manifest_of(self.out))
        os.rename(f"{self.base}.away", self.base)

    def test_a_source_locked_for_writing_is_refused_until_shared(self):
        with open(self.image, "r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            self.fails((65, 66), "convert", self.image, self.out)
            self.assert_absent(self.out, f"{self.out}.partial")
            self.succeeds("convert", "--force-share", self.image, self.out)
        self.assertEqual(Path(self.out).read_bytes(), self.expected)
        self.assertIn(False, [record.get("consistent") for record in records(self.out)])

    def test_a_source_locked_for_reading_is_read(self):
        with open(self.image, "rb") as file:
            fcntl.lockf(file, fcntl.LOCK_SH)
            self.succeeds("convert", self.image, self.out)

    def test_usage_errors_are_64_in_one_line(self):
        for arguments in (
            ("convert",),
            ("convert", self.image),
            ("convert", "--nonsense", self.image, self.out),
            ("convert", "-O", "vmdk", self.image, self.out),
            ("convert", "-O", "cow", "-o", "layout=uml-v9", self.image, self.out),
            ("convert", "-o", "colour=red", self.image, self.out),
            ("convert", "-S", "-1", self.image, self.out),
            ("convert", "--rate", "fast", self.image, self.out),
            ("convert", "--jobs", "0", self.image, self.out),
            ("convert", "--segment", "1500k", self.image, self.out),
            ("map", "--output", "xml", self.image),
            ("nonsense",),
        ):
            with self.subTest(arguments=arguments):
                self.fails(64, *arguments)
                self.assert_absent(self.out, f"{self.out}.partial")
            Path(self.out).unlink(missing_ok=True)
