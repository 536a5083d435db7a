"""Small files and links that travel with the images of an archive."""

import os
import random
from pathlib import Path

from archive_reader import read_archive
from harness import DroverCase, drover

TIME = 1_577_934_245_123_456_789


class CompanionTests(DroverCase):
    def setUp(self):
        super().setUp()
        self.lab = self.scratch / "lab"
        (self.lab / "sub").mkdir(parents=True)
        rng = random.Random(3)
        self.images = [self.lab / "a.img", self.lab / "sub" / "b.img"]
        for image in self.images:
            image.write_bytes(rng.randbytes(70_000))
        (self.lab / "lab.conf").write_text("pc1[mem]=64\n")
        (self.lab / "pc1.startup").write_text("#!/bin/sh\n")
        (self.lab / "sub" / "empty.xml").write_text("")
        (self.lab / "a.img.manifest").write_text("none of the images' files")
        os.symlink("lab.conf", self.lab / "current.conf")
        os.symlink("/nowhere/at/all", self.lab / "broken.conf")
        for name, mode in (("lab.conf", 0o640), ("pc1.startup", 0o755)):
            os.chmod(self.lab / name, mode)
            os.utime(self.lab / name, ns=(TIME, TIME))
        os.utime(self.lab / "current.conf", ns=(TIME, TIME + 7), follow_symlinks=False)
        self.archive = self.path("lab.drover")
        self.options = ("--with", "*.conf", "--with", "*.startup", "--with", "sub/*", "--with", "a*")

    def assert_restored(self, out):
        for name in ("lab.conf", "pc1.startup", "sub/empty.xml", "a.img", "sub/b.img"):
            was, now = self.lab / name, Path(out, name)
            self.assertTrue(was.read_bytes() == now.read_bytes(), name)
            if not name.endswith(".img"):
                self.assertEqual(now.stat().st_mtime_ns, was.stat().st_mtime_ns, name)
                self.assertEqual(now.stat().st_mode, was.stat().st_mode, name)
        for name in ("current.conf", "broken.conf"):
            self.assertEqual(os.readlink(Path(out, name)), os.readlink(self.lab / name))
            self.assertEqual(os.lstat(Path(out, name)).st_mtime_ns, os.lstat(self.lab / name).st_mtime_ns)

    def test_they_come_back_with_mode_and_time(self):
        self.succeeds("pack", *self.options, self.archive, *self.images)
        self.succeeds("verify", self.archive)
        for folder in ("out", "out"):
            self.succeeds("unpack", "-C", self.path(folder), self.archive)
            self.assert_restored(self.path("out"))
        layers = {layer["name"]: layer for layer in self.succeeds("list", "--output", "json", self.archive).json()["layers"]}
        self.assertEqual(sorted(layers), ["a.img", "broken.conf", "current.conf", "lab.conf", "pc1.startup", "sub/b.img", "sub/empty.xml"])
        self.assertEqual(layers["broken.conf"]["link"], "/nowhere/at/all")
        self.assertEqual([name for name, layer in layers.items() if not layer["with"]], ["a.img", "sub/b.img"])
        self.succeeds("unpack", "-C", self.path("one"), self.archive, "lab.conf", "current.conf")
        self.assertEqual({name for name in os.listdir(self.path("one")) if not name.endswith(".manifest")}, {"lab.conf", "current.conf"})

    def test_in_a_line_of_nights(self):
        self.succeeds("pack", *self.options, self.archive, *self.images)
        new, alone = self.path("new.drover"), self.path("alone.drover")
        (self.lab / "lab.conf").write_text("pc1[mem]=128\n")
        os.unlink(self.lab / "broken.conf")
        os.symlink("elsewhere", self.lab / "broken.conf")
        self.succeeds("pack", "--since", self.archive, *self.options, new, *self.images)
        self.succeeds("pack", alone, new)
        first = read_archive(open(self.archive, "rb"))
        second, third = read_archive(open(new, "rb"), first), read_archive(open(alone, "rb"))
        self.assertEqual(second.state(), third.state())
        for number, archive in enumerate((new, alone)):
            self.succeeds("unpack", "-C", self.path(f"out{number}"), archive)
            self.assert_restored(self.path(f"out{number}"))
        # Over the night before: a link that leads elsewhere is replaced where that was asked for alone.
        self.succeeds("unpack", "-C", self.path("before"), self.archive)
        self.assertEqual(drover("unpack", "-C", self.path("before"), new, "broken.conf").code, 73)
        self.succeeds("unpack", "--force", "-C", self.path("before"), new)
        self.assert_restored(self.path("before"))

    def test_what_is_in_the_way_stays(self):
        self.succeeds("pack", *self.options, self.archive, *self.images)
        out = Path(self.path("out"))
        out.mkdir()
        (out / "current.conf").write_text("somebody's")
        self.assertEqual(drover("unpack", "--force", "-C", out, self.archive).code, 73)
        self.assertEqual((out / "current.conf").read_text(), "somebody's")

    def test_patterns_that_find_nothing_that_may_travel(self):
        for pattern, code in (("none*", 66), ("../*", 64), ("/etc/passwd", 64)):
            self.assertEqual(drover("pack", "--with", pattern, self.archive, *map(str, self.images)).code, code, pattern)
        with open(self.lab / "huge.conf", "wb") as file:
            file.truncate(17 << 20)
        self.assertEqual(drover("pack", "--with", "huge*", self.archive, *map(str, self.images)).code, 65)
        self.assertFalse(os.path.exists(self.archive))
