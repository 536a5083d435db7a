"""Who may read and write what Drover makes, and whose it is. Needs root: files are given away, and read by somebody else."""

import os
import subprocess
import time
import unittest

import needs
from harness import DroverCase, manifest_of, run_tool, start, stop

GUEST, OTHER = 64055, 64056


class AccessTests(DroverCase):
    def setUp(self):
        super().setUp()
        needs.root()
        os.umask(0o022)
        self.base, self.image = self.path("base.img"), self.path("web.cow")
        with open(self.base, "wb") as file:
            file.write(os.urandom(1 << 20))
        self.succeeds("create", "-b", self.base, self.image)

    def own(self, path, mode, owner=0, group=0):
        os.chown(path, owner, group)
        os.chmod(path, mode)

    def assert_is(self, path, mode, owner=0, group=0):
        status = os.stat(path)
        found = (oct(status.st_mode & 0o7777), status.st_uid, status.st_gid)
        self.assertEqual(found, (oct(mode), owner, group), path)

    def test_a_new_target_is_read_by_those_who_may_read_all_of_its_sources(self):
        cases = (
            ((0o644, 0, 0), (0o644, 0, 0), (0o644, 0, 0)),
            ((0o600, GUEST, GUEST), (0o644, 0, 0), (0o600, GUEST, 0)),
            ((0o640, GUEST, OTHER), (0o640, GUEST, OTHER), (0o640, GUEST, OTHER)),
            ((0o640, GUEST, GUEST), (0o600, 0, 0), (0o600, 0, 0)),
        )
        for number, (image, base, flat) in enumerate(cases):
            with self.subTest(image=image, base=base):
                self.own(self.image, *image)
                self.own(self.base, *base)
                raw, cow, archive = (self.path(f"{number}.{name}") for name in ("raw", "cow", "drover"))
                self.succeeds("convert", self.image, raw)
                self.succeeds("convert", "-O", "cow", "-B", self.base, self.image, cow)
                self.succeeds("pack", archive, self.image)
                group = flat[2] if image[2] == base[2] else 0
                self.assert_is(raw, flat[0], flat[1], group)
                # What stays in the backing file is not in the overlay.
                self.assert_is(cow, image[0], *image[1:])
                self.assertEqual(os.stat(archive).st_mode & 0o777, flat[0])
                for target in (raw, cow, archive):
                    self.assertEqual(os.stat(manifest_of(target)).st_mode, os.stat(target).st_mode, target)

    def test_nobody_reads_it_before_it_has_its_name(self):
        large = self.path("large.raw")
        with open(large, "wb") as file:
            file.write(os.urandom(24 << 20))
        process = start("convert", "-q", "--rate", "2M", large, self.path("out.raw"), stderr=subprocess.DEVNULL)
        try:
            partial = self.path("out.raw.partial")
            end = time.monotonic() + 20
            while not (os.path.exists(partial) and os.path.exists(self.path("out.raw.manifest"))) and time.monotonic() < end:
                time.sleep(0.005)
            self.assert_is(partial, 0o600)
            self.assert_is(self.path("out.raw.manifest"), 0o600)
        finally:
            stop(process)

    def test_a_folders_default_list_opens_nothing(self):
        run_tool("setfacl", "-d", "-m", f"u:{GUEST}:rwx", self.scratch)
        self.own(self.base, 0o600)
        self.succeeds("convert", self.base, self.path("out.raw"))
        self.assertNotIn(str(GUEST), run_tool("getfacl", "-n", self.path("out.raw")))
        self.assert_is(self.path("out.raw"), 0o600)

    def test_a_file_that_is_replaced_keeps_what_somebody_gave_it(self):
        restored = self.path("restored")
        archive = self.path("all.drover")
        self.succeeds("pack", archive, self.image)
        self.succeeds("unpack", "-C", restored, archive)
        pipeline = self.path("fleet.yaml")
        with open(pipeline, "w") as file:
            file.write("sources: [web.cow]\ntarget: {directory: out}\n")
        self.succeeds("run", "-q", pipeline)
        self.succeeds("convert", self.image, self.path("out.raw"))
        targets = [self.path("out.raw"), self.path("out/web.raw"), archive, f"{restored}/web.cow"]
        for target in targets:
            self.own(target, 0o660, GUEST, OTHER)
            run_tool("setfacl", "-m", "u:12345:r", target)
        before = {target: run_tool("getfacl", "-n", "-p", target) for target in targets}
        os.utime(self.image)
        self.succeeds("convert", "--force", self.image, targets[0])
        self.succeeds("run", "-q", pipeline)
        os.utime(targets[3])
        self.succeeds("unpack", "--force", "-C", restored, archive)
        self.succeeds("pack", "--force", archive, self.image)
        for target in targets:
            self.assertEqual(run_tool("getfacl", "-n", "-p", target), before[target])
            self.assertEqual(os.stat(manifest_of(target)).st_uid, GUEST)

    def test_an_archive_gives_modes_and_owners_back(self):
        self.own(self.image, 0o640, GUEST, OTHER)
        self.own(self.base, 0o604 | 0o040, OTHER, GUEST)
        archive = self.path("all.drover")
        self.succeeds("pack", archive, self.image)
        self.succeeds("unpack", "-C", self.path("restored"), archive)
        self.assert_is(self.path("restored/web.cow"), 0o640, GUEST, OTHER)
        self.assert_is(self.path("restored/base.img"), 0o644, OTHER, GUEST)
        self.succeeds("unpack", "-O", "raw", "-C", self.path("flat"), archive)
        self.assert_is(self.path("flat/web.cow"), 0o600, GUEST, 0)


if __name__ == "__main__":
    unittest.main()
