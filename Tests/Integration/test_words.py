"""What Drover says, and what it understands: other tools' names for commands, forms of sizes, files that are given by mistake, and what is wrong in words."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

from harness import MIB, DroverCase, drover, start
from moves import make_image


class WordTests(DroverCase):
    def setUp(self):
        super().setUp()
        self.base, self.image = make_image(self.scratch, 4)

    def test_names_of_other_tools(self):
        archive = self.path("a.drover")
        self.succeeds("backup", archive, self.image)
        for number, name in enumerate(("extract", "restore")):
            self.succeeds(name, "--quiet", "-C", self.path(f"out{number}"), archive)
        self.succeeds("copy", "--verbose", self.image, self.path("x.raw"))
        self.assertEqual(drover("help", "merge").out, drover("help", "commit").out)
        self.assertIn("did you mean", self.fails(64, "extrct", archive).err)

    def test_sizes(self):
        for text in ("10M", "10MiB", "10MB", "10mib", "10000000", "10kB"):
            self.succeeds("convert", "--force", "--restart", "--rate", text if text != "10kB" else "100000kB", self.image, self.path("x.raw"))
        for text in ("10QB", "M", "1.5M", "-1", "10 M", "99999999T"):
            self.assertIn("powers of 1024", self.fails(64, "convert", f"--rate={text}", self.image, self.path("x.raw")).err)
        result = drover("convert", "-p", "--force", "--restart", self.image, self.path("x.raw"))
        self.assertEqual((result.code, "100 %" in result.err), (0, True), result)

    def test_what_is_no_pipeline(self):
        archive, raw = self.path("a.drover"), self.path("x.raw")
        self.succeeds("pack", archive, self.image)
        self.succeeds("convert", self.image, raw)
        for name, kind in ((self.image, "a disk image"), (archive, "an archive"), (raw, "a disk image"), (f"{raw}.manifest", "a manifest")):
            self.assertIn(f"is {kind}", self.fails((65, 66), "run", name).err)

    def test_run_says_what_it_would_do(self):
        pipeline = self.path("fleet.yaml")
        Path(pipeline).write_text("version: 1\noperation: convert\nsources: ['*.cow']\ntarget:\n  format: raw\n  directory: out\n")
        planned = drover("plan", pipeline)
        self.assertEqual((planned.code, drover("run", "--dry-run", "--jobs", "2", pipeline).out), (0, planned.out), planned)
        self.assert_absent(self.path("out/image.raw"))

    def test_many_files_and_folders_are_verified(self):
        out = self.path("out")
        self.succeeds("pack", self.path("a.drover"), self.image)
        self.succeeds("unpack", "-C", out, self.path("a.drover"))
        self.succeeds("convert", self.image, f"{out}/flat.raw")
        self.assertIn("3 files sound", self.succeeds("verify", "-v", out).err)
        self.succeeds("verify", self.path("a.drover"), f"{out}/flat.raw")
        self.fails(66, "verify", self.path("a.drover"), self.path("nothing"))
        with open(f"{out}/flat.raw", "r+b") as file:
            file.write(b"other")
        result = drover("verify", out, self.path("a.drover"))
        self.assertEqual((result.code, result.err.count("\n")), (2, 1), result)
        os.remove(f"{out}/flat.raw")
        self.assertIn("flat.raw", self.fails((65, 66), "verify", out).err)
        os.makedirs(self.path("empty"))
        self.fails(66, "verify", self.path("empty"))

    def test_some_of_an_archive_are_listed(self):
        archive = self.path("a.drover")
        self.succeeds("pack", archive, self.base, self.image)
        for names, expected in ((["image.cow"], ["image.cow"]), (["*.raw"], ["base.raw"]), (["*", "image.cow"], ["base.raw", "image.cow"])):
            layers = self.succeeds("list", "--output", "json", archive, *names).json()["layers"]
            self.assertEqual([os.path.basename(layer["name"]) for layer in layers], expected)
        self.fails(66, "list", archive, "nothing")

    def test_an_archive_that_is_cut_short(self):
        archive, cut = self.path("a.drover"), self.path("cut.drover")
        self.succeeds("pack", archive, self.image)
        data = Path(archive).read_bytes()
        for length in (len(data) - 1, len(data) // 2, 400):
            Path(cut).write_bytes(data[:length])
            for arguments in (("list", cut), ("unpack", "-C", self.path("out"), cut), ("info", f"{cut}::image.cow")):
                result = drover(*arguments)
                self.assertIn("is cut short at offset", result.err)
                self.assertIn("unpack --salvage", result.err)

    def test_times_are_dates(self):
        os.utime(self.base, (1_600_000_000, 1_600_000_000))
        result = self.fails(65, "convert", self.image, self.path("x.raw"))
        self.assertIn("was modified 2020-09-13 12:26:40 UTC", result.err)
        self.assertIn("drover check -r mtime", result.err)

    def test_what_is_in_the_way_is_called_by_its_name(self):
        self.fails(73, "convert", self.image, self.path("no folder/x.raw"))
        self.assertIn("no folder/x.raw: cannot be created", drover("convert", self.image, self.path("no folder/x.raw")).err)

    def test_other_options_are_named(self):
        Path(self.image).write_bytes(random.Random(1).randbytes(8 * MIB))
        process = start("convert", "--rate", "1M", "--segment", "1M", self.image, self.path("x.raw"), stderr=subprocess.DEVNULL)
        while not Path(self.path("x.raw.manifest")).exists() or Path(self.path("x.raw.manifest")).read_text().count("\n") < 2:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        process.wait()
        self.assertIn("segment 1048576, now 67108864", self.fails(65, "convert", self.image, self.path("x.raw")).err)
