"""What counts as the same source, and what is asked before it does."""

import os
import shutil
import time

from harness import MIB, DroverCase, drover, records


class UnchangedSourceTests(DroverCase):
    def setUp(self):
        super().setUp()
        self.disk, self.out = self.path("disk.raw"), self.path("out.raw")
        with open(self.disk, "wb") as file:
            file.write(os.urandom(2 * MIB))

    def change_unseen(self, path=None):
        """Other bytes, the same size and mtime: as what a mapping writes into a page that is dirty already."""
        path = path or self.disk
        times = os.stat(path)
        with open(path, "r+b") as file:
            file.seek(MIB)
            file.write(b"other bytes")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    def test_a_source_that_was_written_a_moment_ago_is_waited_for_once_and_its_ctime_recorded(self):
        sources = [self.path(f"{number}.raw") for number in range(40)]
        for source in sources:
            with open(source, "wb") as file:
                file.write(os.urandom(4096))
        began = time.monotonic()
        self.succeeds("pack", self.path("a.drover"), *sources)
        self.assertLess(time.monotonic() - began, 1.5)
        status = os.stat(sources[0])
        recorded = records(self.path("a.drover"))[0]["sources"][0]
        self.assertEqual(recorded["ctime"], f"{status.st_ctime_ns // 10**9}.{status.st_ctime_ns % 10**9:09}")

    def test_rename_link_and_mode_cost_no_copy(self):
        self.succeeds("convert", self.disk, self.out)
        before = os.stat(self.out).st_ino
        os.chmod(self.disk, 0o600)
        os.link(self.disk, self.path("second.raw"))
        renamed = self.path("renamed.raw")
        os.rename(self.disk, renamed)
        self.assertIn("is up to date", self.succeeds("convert", "-v", renamed, self.out).err)
        # Moved to another file system, with its times: another inode, the same last component.
        os.mkdir(self.path("elsewhere"))
        copied = shutil.copy2(renamed, self.path("elsewhere/disk.raw"))
        self.assertIn("is up to date", self.succeeds("convert", "-v", copied, self.out).err)
        self.assertEqual(os.stat(self.out).st_ino, before)
        # Neither the inode nor the name.
        self.fails(73, "convert", shutil.copy2(renamed, self.path("elsewhere/other.raw")), self.out)

    def test_a_manifest_without_ctime_is_as_good_as_before(self):
        self.succeeds("convert", self.disk, self.out)
        manifest = self.out + ".manifest"
        with open(manifest) as file:
            text = file.read()
        ctime = records(self.out)[0]["sources"][0]["ctime"]
        with open(manifest, "w") as file:
            file.write(text.replace(f'"ctime":"{ctime}",', ""))
        self.assertNotIn("ctime", records(self.out)[0]["sources"][0])
        self.assertIn("is up to date", self.succeeds("convert", "-v", self.disk, self.out).err)

    def test_reread_believes_no_times(self):
        self.succeeds("convert", self.disk, self.out)
        self.assertIn("is up to date", self.succeeds("convert", "-v", "--reread", self.disk, self.out).err)
        self.change_unseen()
        self.assertIn("is up to date", self.succeeds("convert", "-v", self.disk, self.out).err)
        again = self.succeeds("convert", "--reread", self.disk, self.out)
        self.assertIn("is not what was recorded of it", again.err)
        self.assert_same_file(self.out, self.disk)
        self.assertIn("is up to date", self.succeeds("convert", "-v", "--reread", self.disk, self.out).err)

    def test_reread_of_an_overlay_an_archive_and_a_fleet(self):
        image, over, archive = self.path("web.cow"), self.path("over.cow"), self.path("a.drover")
        self.succeeds("create", "-b", self.disk, image)
        self.succeeds("convert", "-O", "cow", "-B", self.disk, image, over)
        self.assertIn("is up to date", self.succeeds("convert", "-v", "--reread", "-O", "cow", "-B", self.disk, image, over).err)
        self.succeeds("pack", archive, image)
        self.assertIn("is up to date", self.succeeds("pack", "-v", "--reread", archive, image).err)
        fleet = self.path("fleet.yaml")
        with open(fleet, "w") as file:
            file.write("sources: [web.cow]\ntarget: {directory: moved}\n")
        self.succeeds("run", fleet)
        moved = self.path("moved/web.raw")
        inode = os.stat(moved).st_ino
        self.succeeds("run", "--reread", fleet)
        self.assertEqual(os.stat(moved).st_ino, inode)
        self.change_unseen()
        self.assertIn("made again", self.succeeds("pack", "--reread", archive, image).err)
        self.succeeds("verify", archive)
        self.succeeds("unpack", "-O", "raw", "-C", self.path("u"), archive)
        self.assertIn("made again", self.succeeds("run", "--reread", fleet).err)
        for restored in (moved, self.path("u/web.cow")):
            self.assert_same_file(restored, self.disk)

    def test_what_a_base_record_says_counts_only_while_the_source_is_what_it_was(self):
        base, image, over = self.path("base.img"), self.path("web.cow"), self.path("over.cow")
        self.succeeds("create", "-b", self.disk, image)
        self.succeeds("convert", "--as-base", self.disk, base)
        self.change_unseen()
        error = self.fails(65, "convert", "-O", "cow", "-B", base, image, over).err
        self.assertIn("differs from", error)


class RefusedSourceTests(DroverCase):
    def test_a_base_that_may_not_be_read_is_no_damage(self):
        base, image = self.path("base.img"), self.path("web.cow")
        with open(base, "wb") as file:
            file.write(os.urandom(MIB))
        self.succeeds("create", "-b", base, image)
        folder = self.path("closed")
        os.mkdir(folder, 0o700)
        os.rename(base, folder + "/base.img")
        os.symlink(folder + "/base.img", base)
        os.chmod(self.scratch, 0o755)
        child = os.fork()
        if child == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            result = drover("check", "--output", "json", image)
            os._exit(0 if result.code == 66 and result.json()["problems"][0]["kind"] == "unreadable" else 1)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        os.remove(folder + "/base.img")
        self.assertEqual(drover("check", image).code, 2)

    def test_pack_warns_of_a_base_whose_time_no_header_holds_and_nobody_is_told_to_touch_it(self):
        base, image = self.path("base.img"), self.path("web.cow")
        with open(base, "wb") as file:
            file.write(os.urandom(MIB))
        self.succeeds("create", "-b", base, image)
        os.utime(base, (-60, -60))
        with open(image, "r+b") as file:
            file.seek(8)
            file.write((2**32 - 60).to_bytes(4, "big"))
        self.assertIn("warning: ", self.succeeds("pack", self.path("a.drover"), image).err)
        self.assertEqual(self.succeeds("pack", "--flatten", self.path("b.drover"), image).err, "")
        self.fails(65, "unpack", "-C", self.path("u"), self.path("a.drover"))
        error = self.fails(65, "convert", "-O", "cow", "-B", base, image, self.path("c.cow")).err
        self.assertNotIn("touch", error)
        copy = self.path("copy.img")
        self.succeeds("convert", base, copy)
        self.succeeds("convert", "-O", "cow", "-B", copy, image, self.path("c.cow"))
