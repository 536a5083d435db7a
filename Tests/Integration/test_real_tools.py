"""Images of real programs read by Drover, and Drover's images read by real programs."""

import json
import os
import random
import shutil
import tempfile
from pathlib import Path

from cow_writer import set_mtime
from harness import MIB, REPOSITORY, SECTOR, DroverCase, digest, fingerprint, run_tool
from moves import make_image
from reference import merge, open_chain

FIXTURES = REPOSITORY / "Fixtures"
MISREAD_BY_QEMU_2_1 = ("16-sparse-64m", "17-bitmap-boundary")


class FixtureCase(DroverCase):
    archive = ""

    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="drover-fixture-")).resolve()
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        run_tool("tar", "-xf", FIXTURES / cls.archive, "-C", cls.folder)


class QemuFixtureTests(FixtureCase):
    """Twenty images of QEMU's own cow driver."""

    archive = "qemu.tar.xz"

    def each_case(self):
        for case in sorted((self.folder / "qemu").iterdir()):
            top = case / ("top.cow" if (case / "top.cow").exists() else "g.cow")
            yield case, top

    def test_there_are_twenty(self):
        self.assertEqual(len(list(self.each_case())), 20)

    def test_they_convert_to_their_recorded_digests(self):
        for case, top in self.each_case():
            if case.name == "22-missing-backing":
                continue
            expected = (case / "expected.raw.sha256").read_text().split()[0]
            with self.subTest(case.name):
                before = fingerprint(case.iterdir())
                target = self.path(f"{case.name}.raw")
                self.succeeds("convert", top, target)
                self.assertEqual(digest(target), expected)
                self.succeeds("check", top)
                self.assertEqual(fingerprint(case.iterdir()), before)

    def test_a_missing_backing_file_is_66(self):
        result = self.fails(66, "convert", self.folder / "qemu/22-missing-backing/g.cow", self.path("out.raw"))
        self.assertIn("nothere.raw", result.err)

    def test_maps_agree_with_qemu(self):
        for case, top in self.each_case():
            recorded = case / "map-2.1.3.json"
            if case.name in MISREAD_BY_QEMU_2_1 or not recorded.exists() or "ERROR" in recorded.read_text():
                continue
            with self.subTest(case.name):
                expected = [self.as_today(entry) for entry in json.loads(recorded.read_text())]
                found = self.succeeds("map", "--output", "json", top).json()
                self.assertEqual(merge(found), merge(expected))

    def as_today(self, entry):
        """QEMU 2.1 gave no `present`, and an offset where it read nothing from the layer past its backing file's end."""
        past_the_end = entry["depth"] == 0 and entry["zero"] and not entry["data"]
        entry["present"] = "offset" in entry and not past_the_end
        if not entry["present"]:
            entry.pop("offset", None)
        return entry

    def test_allocated_runs_of_the_top_layer(self):
        for case, top in self.each_case():
            recorded = case / "top-allocated-runs.json"
            if not recorded.exists():
                continue
            with self.subTest(case.name):
                found = self.succeeds("map", "--output", "json", top).json()
                runs = [e for e in merge(found) if e["depth"] == 0 and e["present"]]
                in_sectors = [[e["start"] // SECTOR, e["length"] // SECTOR] for e in runs]
                self.assertEqual(in_sectors, json.loads(recorded.read_text()))


class UmlFleetTests(FixtureCase):
    """A base and three guests of the UML kernel; their headers name a place that is not here."""

    archive = "uml-fleet.tar.xz"

    def each_guest(self):
        for line in (self.folder / "a/expect.tsv").read_text().splitlines():
            name, base, sha256, size = line.split("\t")
            yield self.folder / f"a/guests/{name}.cow", self.folder / f"a/base/{base}.img", sha256, int(size)

    @property
    def moved(self):
        return "--backing-map", f"/srv/uml/base={self.folder}/a/base"

    def test_they_convert_to_what_the_guest_read_and_are_clean(self):
        for image, base, sha256, size in self.each_guest():
            before = fingerprint([image, base])
            target = self.path(f"{image.stem}.raw")
            self.succeeds("convert", *self.moved, image, target)
            self.assertEqual((digest(target), os.path.getsize(target)), (sha256, size))
            run_tool("e2fsck", "-fn", target)
            self.assertEqual(fingerprint([image, base]), before)

    def test_rebuilt_overlays_give_uml_moo_the_same_disk(self):
        for image, base, sha256, _ in self.each_guest():
            for layout in ("uml-v3", "uml-v2"):
                target, merged = self.path(f"{image.stem}-{layout}.cow"), self.path("merged.raw")
                options = ("-O", "cow", "-B", base, "-o", f"layout={layout}")
                self.succeeds("convert", *self.moved, *options, image, target)
                run_tool("uml_moo", target, merged)
                self.assertEqual(digest(merged), sha256)


class ToolTests(DroverCase):
    """uml_mkcow, uml_moo and qemu-img on images made here."""

    def setUp(self):
        super().setUp()
        self.base, self.image = make_image(self.scratch, 12)

    def merged(self, image):
        run_tool("uml_moo", image, self.path("merged.raw"))
        return self.path("merged.raw")

    def test_uml_moo_merges_what_drover_wrote_to_the_same_bytes(self):
        raw = self.path("out.raw")
        self.succeeds("convert", self.image, raw)
        self.assert_same_file(self.merged(self.image), raw)
        for layout in ("uml-v3", "uml-v2"):
            target = self.path(f"{layout}.cow")
            self.succeeds("convert", "-O", "cow", "-B", self.base, "-o", f"layout={layout}", self.image, target)
            self.assert_same_file(self.merged(target), raw)

    def test_a_created_overlay_is_like_that_of_uml_mkcow(self):
        theirs, ours = self.path("theirs.cow"), self.path("ours.cow")
        run_tool("uml_mkcow", theirs, self.base)
        self.succeeds("create", "-b", self.base, ours)
        self.assertEqual(open_chain(ours).layers[0].header, open_chain(theirs).layers[0].header)
        self.assertEqual(os.path.getsize(ours), os.path.getsize(theirs))
        self.assert_same_file(self.merged(ours), self.base)

    def test_created_overlays_of_every_layout_show_their_base(self):
        for layout in ("uml-v3", "uml-v2", "qemu-v2"):
            image = self.path(f"{layout}.cow")
            self.succeeds("create", "-b", self.base, "-o", f"layout={layout}", image)
            chain = open_chain(image)
            self.assertEqual((chain.layers[0].header.layout.name, chain.layers[0].runs), (layout, []))
            self.succeeds("compare", image, self.base)
            # What is there byte for byte as it would be made is done; anything else is in the way.
            before = fingerprint([image])
            self.succeeds("create", "-b", self.base, "-o", f"layout={layout}", image)
            other = "uml-v2" if layout == "uml-v3" else "uml-v3"
            self.fails(73, "create", "-b", self.base, "-o", f"layout={other}", image)
            self.assertEqual(fingerprint([image]), before)
            with open(image, "r+b") as file:
                file.seek(-1, os.SEEK_END)
                file.write(b"x")
            self.fails(73, "create", "-b", self.base, "-o", f"layout={layout}", image)

    def test_qemu_img_sees_the_raw_image_as_drover_does(self):
        raw = self.path("out.raw")
        self.succeeds("convert", self.image, raw)
        run_tool("qemu-img", "compare", "-f", "raw", "-F", "raw", raw, self.merged(self.image))
        for image in (raw, self.base):
            theirs = json.loads(run_tool("qemu-img", "map", "-f", "raw", "--output", "json", image))
            self.assertEqual(self.succeeds("map", "--output", "json", image).json(), theirs)
            facts = json.loads(run_tool("qemu-img", "info", "-f", "raw", "--output", "json", image))
            ours = self.succeeds("info", "--output", "json", image).json()
            for key in ("virtual-size", "actual-size", "filename", "format"):
                self.assertEqual(ours[key], facts[key], key)

    def test_raw_images_of_any_length_convert_as_with_qemu_img(self):
        rng = random.Random(5)
        for length in (0, 1, 511, 512, 513, 4095, 4097, MIB - 1, 3 * MIB + 77):
            source, ours, theirs = self.path("source"), self.path("ours"), self.path("theirs")
            Path(source).write_bytes(rng.randbytes(length // 2) + bytes(length - length // 2))
            set_mtime(source, 1_600_000_000)
            with self.subTest(length=length):
                self.succeeds("convert", "--force", source, ours)
                run_tool("qemu-img", "convert", "-f", "raw", "-O", "raw", source, theirs)
                self.assert_same_file(ours, theirs)
