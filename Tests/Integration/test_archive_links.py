"""Names that are links to one another: each that was asked for is in the archive and comes back, and the data is stored once."""

import io
import os
import random
import subprocess
from pathlib import Path

from archive_reader import read_archive
from archive_writer import ArchiveWriter, layer
from archives import difference, write_overlay
from cow_writer import set_mtime
from harness import MIB, DroverCase, binary, digest


class ArchiveLinkTests(DroverCase):
    def setUp(self):
        super().setUp()
        self.folder = self.scratch / "fleet"
        self.folder.mkdir()
        self.base, self.image = self.make("base.img"), self.make("web.cow")
        Path(self.base).write_bytes(random.Random(1).randbytes(2 * MIB))
        set_mtime(self.base, 1_500_000_000, 5)
        write_overlay(self.image, self.base, 2 * MIB, random.Random(2), [(3, 900), (2000, 30)], content="dense")
        self.archive, self.out = self.path("fleet.drover"), self.path("out")

    def make(self, name):
        return str(self.folder / name)

    def link(self, name, target, symbolic=False):
        (os.symlink if symbolic else os.link)(target, self.make(name))
        return self.make(name)

    def assert_kept(self, expected, *sources, options=()):
        """`expected`: names in the archive and the file that each must be equal to."""
        self.succeeds("pack", "--restart", "--force", *options, self.archive, *sources)
        data = Path(self.archive).read_bytes()
        layers = read_archive(io.BytesIO(data)).layers
        self.assertEqual(sorted(name for found in layers for name in found.names), sorted(expected))
        self.assertLess(len(data), 2 * MIB + 600 * 1024 + (2 * MIB if options else 0), "data is stored twice")
        self.succeeds("verify", self.archive)
        listed = self.succeeds("list", "--output", "json", self.archive).json()["layers"]
        self.assertEqual(sorted(entry["name"] for entry in listed), sorted(expected))
        for number, source in enumerate((self.archive, "-")):
            out = f"{self.out}-{number}"
            with open(self.archive, "rb") as file:
                done = subprocess.run([binary(), "unpack", "-C", out, source], stdin=file, capture_output=True, timeout=60)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assert_restored(expected, out, bool(options))
            for path in Path(out).iterdir():
                path.unlink()

    def assert_restored(self, expected, out, is_flat=False):
        found = {path.name for path in Path(out).iterdir() if path.suffix != ".manifest"}
        self.assertEqual(found, set(expected))
        for name, original in expected.items():
            self.assertEqual(os.stat(f"{out}/{name}").st_nlink, 1, "two guests would write to one file")
            if is_flat:
                self.assertEqual(self.succeeds("compare", f"{out}/{name}", original).code, 0)
            else:
                self.assertEqual(difference(original, f"{out}/{name}"), "", name)
            self.succeeds("verify", f"{out}/{name}")

    def test_hard_links(self):
        names = {"base.img": self.base, "web.cow": self.image}
        links = [self.link(f"web-{number}.cow", self.image) for number in (2, 3)]
        self.assert_kept(names | {"web-2.cow": self.image, "web-3.cow": self.image}, *links, self.image)
        disk = self.link("disk.img", self.base)
        self.assert_kept(names | {"disk.img": self.base}, self.image, disk)
        self.assert_kept(names | {"disk.img": self.base}, disk, self.image, self.image)
        self.assert_kept({"disk.img": self.base}, disk)

    def test_symbolic_links(self):
        names = {"base.img": self.base, "web.cow": self.image}
        one, two = (self.link(f"link-{number}.cow", "web.cow", symbolic=True) for number in (1, 2))
        self.assert_kept(names | {"link-1.cow": self.image}, self.image, one)
        self.assert_kept(names, one)
        self.assert_kept({"base.img": self.base, "link-1.cow": self.image, "link-2.cow": self.image}, one, two)
        base = self.link("disk.img", "base.img", symbolic=True)
        self.assert_kept(names, self.image, base)
        self.assert_kept(names | {"disk.img": self.base}, self.image, base, self.base)

    def test_a_folder_that_is_a_link(self):
        self.link("by", ".", symbolic=True)
        self.succeeds("pack", self.archive, self.image, self.make("by/web.cow"))
        self.succeeds("unpack", "-C", self.out, self.archive)
        for name in ("web.cow", "by/web.cow"):
            self.assertEqual(difference(self.image, f"{self.out}/{name}"), "", name)

    def test_flattened(self):
        links = self.link("hard.cow", self.image), self.link("soft.cow", "web.cow", symbolic=True)
        names = dict.fromkeys(("web.cow", "hard.cow", "soft.cow"), self.image)
        self.assert_kept(names, self.image, *links, options=("--flatten",))

    def test_a_fleet(self):
        self.link("hard.cow", self.image), self.link("soft.cow", "web.cow", symbolic=True)
        Path(self.path("fleet.yaml")).write_text('operation: pack\nsources: ["fleet/*.cow"]\ntarget: {archive: fleet.drover}\n')
        self.succeeds("run", "-q", self.path("fleet.yaml"))
        listed = self.succeeds("list", "--output", "json", self.archive).json()["layers"]
        self.assertEqual(sorted(entry["name"] for entry in listed if entry["image"]), ["hard.cow", "soft.cow", "web.cow"])
        self.assertIn("up to date", self.succeeds("run", self.path("fleet.yaml")).out)

    def test_one_name_of_several(self):
        self.succeeds("pack", self.archive, self.image, self.link("hard.cow", self.image), self.link("disk.img", self.base))
        self.succeeds("unpack", "-C", self.out, self.archive, "hard.cow")
        self.assert_restored({"base.img": self.base, "hard.cow": self.image}, self.out)
        self.succeeds("unpack", "-C", self.out, self.archive, "web.cow", "disk.img", "web.cow")
        self.assert_restored({"base.img": self.base, "hard.cow": self.image, "web.cow": self.image, "disk.img": self.base}, self.out)
        alone = self.path("alone")
        self.succeeds("unpack", "-C", alone, self.archive, "disk.img")
        self.assert_restored({"disk.img": self.base}, alone)
        self.succeeds("unpack", "-O", "raw", "-C", self.path("raw"), self.archive, "hard.cow", "web.cow")
        self.assertEqual(*(digest(self.path(f"raw/{name}.cow")) for name in ("hard", "web")))
        self.succeeds("compare", self.path("raw/web.cow"), self.image)

    def test_what_is_lost_is_said_of_all_names_and_restored_under_all(self):
        self.succeeds("pack", "--compression", "none", self.archive, self.image, self.link("hard.cow", self.image))
        data = bytearray(Path(self.archive).read_bytes())
        data[2 * MIB + 300_000] ^= 1
        Path(self.archive).write_bytes(data)
        self.assertIn("web.cow, hard.cow: sectors", self.succeeds("verify", self.archive, code=2).err)
        self.succeeds("unpack", "--salvage", "-C", self.out, self.archive, code=2)
        self.assertEqual(*(digest(f"{self.out}/{name}.cow") for name in ("hard", "web")))
        for name in ("hard", "web"):
            self.succeeds("verify", f"{self.out}/{name}.cow", code=2)

    def test_names_in_an_archive_are_checked_wherever_they_stand(self):
        for also in (["../x"], ["a"], ["b"], ["c", "c"], ["a/b"], ["c.partial"], ["/tmp/x"], [""], "c", [1]):
            with self.subTest(also=also):
                Path(self.archive).write_bytes(ArchiveWriter([layer("a", also=also), layer("b")]).bytes())
                self.fails(65, "unpack", "-C", self.out, self.archive)
                self.fails(65, "list", self.archive)
                self.assert_absent(self.out)
