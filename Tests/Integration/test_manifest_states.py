"""What a start finds beside its target, and does: every state of the contract, each one made and looked at."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from cow_writer import set_mtime
from harness import DroverCase, binary, digest, drover, manifest_of, records, required_tool
from moves import MTIME, data_segments, interrupt, make_image, segments
from reference import open_chain


class ManifestStateTests(DroverCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="drover-states-")).resolve()
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.base, cls.image = make_image(cls.folder, 24)
        cls.expected = open_chain(cls.image).guest()

    def setUp(self):
        super().setUp()
        self.target = self.path("out.raw")
        self.partial, self.manifest = f"{self.target}.partial", manifest_of(self.target)
        self.convert = ["convert", "--segment", "1M", self.image, self.target]

    def assert_done(self):
        self.assertTrue(Path(self.target).read_bytes() == self.expected, "the target shows other bytes")
        self.assert_absent(self.partial)
        found = records(self.target)
        self.assertEqual([found[0]["record"], found[-1]["record"]], ["job", "complete"])
        status = os.stat(self.target)
        self.assertEqual(found[-1]["size"], status.st_size)

    def interrupted(self, *options):
        """Leaves the conversion behind with some segments done."""
        interrupt([*self.convert, *options, "--rate", "8M"], self.target)

    def identity(self):
        status = os.stat(self.target)
        return status.st_ino, status.st_mtime_ns, Path(self.manifest).read_bytes()

    def test_complete_and_there_is_done_already(self):
        self.succeeds(*self.convert)
        before = self.identity()
        self.succeeds(*self.convert)
        self.assertEqual(self.identity(), before)
        self.assert_done()

    def test_complete_is_done_for_whoever_may_only_read(self):
        archive, restored = self.path("all.drover"), self.path("restored")
        pack, unpack = ["pack", archive, self.image], ["unpack", "-C", restored, archive]
        for command in (self.convert, pack, unpack):
            self.succeeds(*command)
        for path in self.scratch.rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)
        self.scratch.chmod(0o555), self.folder.chmod(0o755)
        nobody = [required_tool("setpriv"), "--reuid", "65534", "--regid", "65534", "--clear-groups", binary()]
        with tempfile.TemporaryDirectory(dir="/tmp") as folder:
            # The binary itself need not be where anybody may go.
            nobody[-1] = shutil.copy2(binary(), folder)
            os.chmod(folder, 0o755)
            for command in (self.convert, pack, unpack):
                done = subprocess.run([*nobody, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
                self.assertEqual((done.returncode, done.stderr), (0, ""), command)

    def test_the_old_target_is_proven_until_the_new_one_has_its_name(self):
        image = self.copy_sources()
        self.succeeds(*self.convert)
        old = self.identity()
        set_mtime(image, MTIME + 6)
        self.interrupted("--force")
        self.succeeds("verify", self.target)
        self.assertEqual(Path(self.manifest).read_bytes()[: len(old[2])], old[2])
        before = segments(self.target)
        self.succeeds(*self.convert)
        self.assert_done()
        self.assertNotIn(old[2], Path(self.manifest).read_bytes())
        self.assertEqual(segments(self.target)[: len(before)], before, "it began anew")

    def test_a_hole_among_the_lines_costs_no_more_than_what_is_behind_it(self):
        self.interrupted()
        whole = Path(self.manifest).read_bytes()
        lines = whole.splitlines(keepends=True)
        self.assertGreater(len(lines), 4)
        at = len(b"".join(lines[:2]))
        Path(self.manifest).write_bytes(whole[: at + 7] + bytes(200) + whole[at + 207 :])
        self.succeeds(*self.convert)
        self.assertIn(lines[1], Path(self.manifest).read_bytes(), "what was sound was done again")
        self.assert_done()

    def test_complete_with_the_partial_there_is_renamed(self):
        self.succeeds(*self.convert)
        before = self.identity()
        os.rename(self.target, self.partial)
        self.succeeds(*self.convert)
        self.assertEqual(self.identity(), before)
        self.assert_done()

    def test_complete_with_neither_there_begins_anew(self):
        self.succeeds(*self.convert)
        os.unlink(self.target)
        self.succeeds(*self.convert)
        self.assert_done()

    def test_complete_but_the_target_was_touched_is_refused(self):
        self.succeeds(*self.convert)
        set_mtime(self.target, 1_000_000_000)
        self.fails(73, *self.convert)
        self.succeeds(*self.convert, "--force")
        self.assert_done()

    def test_complete_but_the_target_has_another_size_is_refused(self):
        self.succeeds(*self.convert)
        status = os.stat(self.target)
        os.truncate(self.target, status.st_size - 512)
        os.utime(self.target, ns=(status.st_mtime_ns, status.st_mtime_ns))
        self.fails(73, *self.convert)
        self.succeeds(*self.convert, "--force")
        self.assert_done()

    def test_the_manifest_of_an_archive_is_forgotten_where_that_was_completed(self):
        self.succeeds("pack", self.target, self.image)
        self.fails(73, *self.convert)
        self.succeeds(*self.convert, "--force")
        self.assert_done()
        # An archive that is not whole has checkpoints, which only --restart forgets.
        self.succeeds("pack", "--force", "--restart", self.target, self.image, code=73)
        os.remove(self.target)
        self.succeeds("pack", self.target, self.image)
        os.remove(self.target)
        lines = Path(self.manifest).read_bytes().splitlines(keepends=True)
        Path(self.manifest).write_bytes(b"".join(lines[:-1]))
        self.fails(65, *self.convert, "--force")
        self.assertEqual(Path(self.manifest).read_bytes(), b"".join(lines[:-1]))

    def test_a_job_that_was_torn_behind_a_complete_archive_was_never_begun(self):
        self.succeeds("pack", self.target, self.image)
        with open(self.manifest, "ab") as file:
            file.write(b'{"consistent":true,"manifest":1,"options":{"format":"raw"')
        self.succeeds("verify", self.target)
        self.fails(73, *self.convert)
        self.succeeds(*self.convert, "--force")
        self.assert_done()

    def test_incomplete_is_resumed_with_or_without_force(self):
        for options in ((), ("--force",)):
            self.interrupted()
            self.assert_absent(self.target)
            before = segments(self.target)
            self.succeeds(*self.convert, *options)
            self.assertEqual(segments(self.target)[: len(before)], before, "it began anew")
            self.assert_done()
            os.unlink(self.target), os.unlink(self.manifest)

    def test_force_interrupted_is_resumed_and_keeps_the_old_target_until_then(self):
        Path(self.target).write_bytes(b"old")
        self.interrupted("--force")
        self.assertEqual(Path(self.target).read_bytes(), b"old")
        before = segments(self.target)
        self.succeeds(*self.convert)
        self.assertEqual(segments(self.target)[: len(before)], before, "it began anew")
        self.assert_done()

    def test_what_came_to_the_name_meanwhile_is_replaced_by_force_alone(self):
        for begun in ([], ["--force"]):
            with self.subTest(begun=begun):
                if begun:
                    Path(self.target).write_text("old")
                self.interrupted(*begun)
                Path(self.target).write_text("precious")
                self.fails(73, *self.convert)
                self.assertEqual(Path(self.target).read_text(), "precious")
                self.succeeds(*self.convert, "--force")
                self.assert_done()
                # Whole, and waiting for its name.
                os.rename(self.target, self.partial)
                Path(self.target).write_text("precious")
                self.fails(73, *self.convert)
                self.assertEqual(Path(self.target).read_text(), "precious")
                self.succeeds(*self.convert, "--force")
                self.assert_done()
                os.unlink(self.target), os.unlink(self.manifest)

    def test_a_target_that_lost_only_its_last_record_is_made_again(self):
        self.succeeds(*self.convert)
        lines = Path(self.manifest).read_bytes().splitlines(keepends=True)
        Path(self.manifest).write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
        self.succeeds(*self.convert)
        self.assert_done()

    def test_a_manifest_torn_while_it_was_written_over_begins_anew(self):
        self.succeeds(*self.convert)
        old = Path(self.manifest).read_bytes()
        os.unlink(self.target)
        new = old[: old.index(b"\n") + 1]
        cuts = {len(new) + 7, old.index(b"\n", len(new)) + 1, len(old) - 3}
        for cut in sorted(cuts):
            # What replaceContents leaves when it dies: the new job, blanks up to some byte, and the rest of the old records.
            Path(self.manifest).write_bytes(new + b" " * (cut - len(new)) + old[cut:])
            self.succeeds(*self.convert)
            self.assert_done()
            os.unlink(self.target)

    def test_another_rate_or_number_of_jobs_is_the_same_job(self):
        self.interrupted()
        before = segments(self.target)
        self.succeeds(*self.convert, "--jobs", "1", "--rate", "1G", "-q")
        self.assertEqual(segments(self.target)[: len(before)], before, "it began anew")
        self.assert_done()

    def test_another_job_on_an_incomplete_target_is_refused_until_restart(self):
        self.interrupted()
        before = Path(self.manifest).read_bytes(), digest(self.partial)
        other = ["convert", "-O", "cow", "-B", self.base, "--segment", "1M", self.image, self.target]
        for arguments in (other, [*other, "--force"], ["convert", "--segment", "1M", self.base, self.target]):
            self.fails(65, *arguments)
            self.assertEqual((Path(self.manifest).read_bytes(), digest(self.partial)), before)
        self.succeeds(*other, "--restart")
        self.assertTrue(open_chain(self.target).guest() == self.expected)

    def test_another_job_takes_over_where_no_segment_is_recorded(self):
        self.interrupted()
        first_line = Path(self.manifest).read_text().split("\n")[0]
        Path(self.manifest).write_text(first_line + "\n")
        other = self.path("copy.raw")
        shutil.copyfile(self.base, other)
        self.succeeds("convert", other, self.target)
        self.assertEqual(digest(self.target), digest(other))

    def copy_sources(self):
        """Sources of the test's own, to be changed; the base stays where the header says."""
        image = self.path("mine.cow")
        shutil.copy2(self.image, image)
        self.convert = ["convert", "--segment", "1M", image, self.target]
        return image

    def test_a_changed_source_is_refused_until_restart(self):
        image = self.copy_sources()
        changes = (
            lambda: set_mtime(image, MTIME + 6),
            lambda: set_mtime(image, MTIME + 6, 1),
            lambda: (os.truncate(image, os.path.getsize(image) + 512), set_mtime(image, MTIME + 6, 1)),
        )
        for number, change in enumerate(changes):
            with self.subTest(change=number):
                self.interrupted()
                change()
                self.fails(65, *self.convert)
                self.fails(65, *self.convert, "--force")
                self.assert_absent(self.target)
                self.succeeds(*self.convert, "--restart")
                self.assert_done()
                os.unlink(self.target), os.unlink(self.manifest)

    def test_a_source_that_was_moved_with_its_times_is_gone_on_with(self):
        image = self.copy_sources()
        self.interrupted()
        shutil.copy2(image, f"{image}.new"), os.replace(f"{image}.new", image)
        self.assertIn("resumed", self.succeeds(*self.convert, "-v").err)
        self.assert_done()

    def test_a_torn_last_line_is_dropped(self):
        for tail in (b"{", b'{"record":"seg', b'{"record":"segment","start":0,"count":2048,"kind":"zero"', b"\0\0\0\0"):
            with self.subTest(tail=tail):
                self.interrupted()
                before = segments(self.target)
                with open(self.manifest, "ab") as file:
                    file.write(tail)
                self.succeeds(*self.convert)
                self.assertEqual(segments(self.target)[: len(before)], before, "it began anew")
                self.assert_done()
                os.unlink(self.target), os.unlink(self.manifest)

    def test_a_manifest_torn_at_every_length_of_its_last_line(self):
        self.interrupted()
        whole, held = Path(self.manifest).read_bytes(), self.path("held")
        os.rename(self.partial, held)
        begin = whole.rindex(b"\n", 0, len(whole) - 1) + 1
        for length in range(begin, len(whole), 23):
            shutil.copyfile(held, self.partial)
            Path(self.manifest).write_bytes(whole[:length])
            self.succeeds(*self.convert)
            self.assert_done()
            os.unlink(self.target), os.unlink(self.manifest)

    def test_a_torn_first_line_begins_anew(self):
        for text in (b"", b'{"consis'):
            Path(self.manifest).write_bytes(text)
            self.succeeds(*self.convert)
            self.assert_done()
            os.unlink(self.target), os.unlink(self.manifest)

    def test_a_completion_record_torn_is_completed_again(self):
        self.succeeds(*self.convert)
        os.rename(self.target, self.partial)
        data = Path(self.manifest).read_bytes()
        Path(self.manifest).write_bytes(data[:-10])
        self.succeeds(*self.convert)
        self.assert_done()

    def test_a_manifest_that_is_none_is_not_overwritten(self):
        for text in ("my notes\nof last week\n", json.dumps({"other": "program"}) + "\n"):
            Path(self.manifest).write_text(text)
            self.fails((65, 73), *self.convert)
            self.assertEqual(Path(self.manifest).read_text(), text)
            self.assert_absent(self.target)

    def test_a_partial_that_was_lost_is_not_believed_in(self):
        self.interrupted()
        os.unlink(self.partial)
        self.assertGreater(data_segments(self.target), 0)
        result = drover(*self.convert)
        self.assertIn(result.code, (0, 65), f"an error, or all of it made again\n{result}")
        if result.code:
            self.succeeds(*self.convert, "--restart")
        self.assert_done()
