"""What an archive's options change and what they do not: names, formats, compression, workers, and what lz4 makes of it."""

import json
import os
import re
import subprocess
from pathlib import Path

from archives import difference, make_fleet, names_of
from harness import SECTOR, DroverCase, required_tool, run_tool
from reference import open_chain

COMPRESSIONS = ("none", "lz4", "lz4:1", "lz4:3", "lz4:9", "lz4:12")


class ArchiveOptionTests(DroverCase):
    def setUp(self):
        super().setUp()
        self.fleet = make_fleet(self.scratch / "fleet", 4, 2, seed=5)
        self.archive, self.out = self.path("fleet.drover"), self.path("out")
        layers = {layer.path for image in self.fleet.images for layer in open_chain(image).layers}
        self.names = names_of(layers)

    def pack(self, *options, images=None):
        self.succeeds("pack", "--force", *options, self.archive, *(images or self.fleet.images))
        return Path(self.archive).read_bytes()

    def restored(self, image):
        return os.path.join(self.out, self.names[image])

    def files(self):
        found = (path for path in Path(self.out).rglob("*") if path.is_file() and path.suffix != ".manifest")
        return {str(path.relative_to(self.out)) for path in found}

    def test_the_number_of_workers_changes_no_byte(self):
        for compression in ("none", "lz4", "lz4:9"):
            expected = self.pack("--compression", compression, "--jobs", "1")
            for jobs in ("2", "3", "8"):
                self.assertTrue(self.pack("--compression", compression, "--jobs", jobs) == expected, (compression, jobs))
        for jobs in ("1", "3"):
            out = self.path(f"out-{jobs}")
            self.succeeds("unpack", "--jobs", jobs, "-C", out, self.archive)
            for image in self.fleet.images:
                self.assertEqual(difference(image, os.path.join(out, self.names[image])), "")

    def test_lz4_reads_every_compression_and_finds_the_same_payloads(self):
        contents = set()
        for compression in COMPRESSIONS:
            with self.subTest(compression=compression):
                self.pack("--compression", compression)
                contents.add(self.lz4_content())
                self.succeeds("verify", self.archive)
                listed = self.succeeds("list", "--output", "json", self.archive).json()
                self.assertEqual(sum(layer["data"] for layer in listed["layers"]), len(self.lz4_content()))
        self.assertEqual(len(contents), 1, "the payloads depend on the compression")

    def lz4_content(self):
        run_tool("lz4", "-t", self.archive)
        command = [required_tool("lz4"), "-dc", self.archive]
        return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout

    def test_the_payloads_are_the_layers_data_one_after_the_other(self):
        dense = make_fleet(self.scratch / "dense", 4, 2, seed=6, content="dense")
        for options in ((), ("-S", "0")):
            self.pack(*options, images=dense.images)
            listed = self.succeeds("list", "--output", "json", self.archive).json()["layers"]
            layers = {layer.path: layer for image in dense.images for layer in open_chain(image).layers}
            by_name = {name: layers[path] for path, name in names_of(layers).items()}
            self.assertEqual({layer["name"] for layer in listed}, set(by_name))
            expected = b""
            for layer in (by_name[layer["name"]] for layer in listed):
                expected += b"".join(layer.read(first, last) for first, last in layer.runs)
            self.assertTrue(self.lz4_content() == expected, "lz4 -dc prints something else than the layers' data")

    def test_options_do_change_the_id(self):
        ids = set()
        for options in ((), ("--compression", "none"), ("--compression", "lz4:9"), ("--flatten",)):
            self.pack(*options)
            ids.add(self.succeeds("list", "--output", "json", self.archive).json()["id"])
        self.assertEqual(len(ids), 4)

    def test_unpacked_to_raw(self):
        self.pack()
        self.succeeds("unpack", "-O", "raw", "-C", self.out, self.archive)
        for image in self.fleet.images:
            self.assertTrue(Path(self.restored(image)).read_bytes() == open_chain(image).guest(), image)
        self.assertEqual(self.files(), {self.names[image] for image in self.fleet.images})

    def test_unpacked_in_another_layout(self):
        flat = make_fleet(self.scratch / "flat", 2, 1, seed=7)
        self.pack(images=flat.images)
        for layout in ("uml-v3", "uml-v2", "qemu-v2"):
            with self.subTest(layout=layout):
                out = self.path(layout)
                self.succeeds("unpack", "-O", "cow", "-o", f"layout={layout}", "-C", out, self.archive)
                for image in flat.images:
                    self.assertEqual(difference(image, f"{out}/{os.path.relpath(image, self.scratch / 'flat')}", layout), "")
        self.fails((64, 65), "unpack", "-o", "layout=uml-v9", "-C", self.path("none"), self.archive)

    def test_packed_flattened(self):
        self.pack("--flatten")
        listed = self.succeeds("list", "--output", "json", self.archive).json()["layers"]
        self.assertEqual([layer["layout"] for layer in listed], ["raw"] * len(self.fleet.images))
        self.succeeds("unpack", "-C", self.out, self.archive)
        names = names_of(self.fleet.images)
        for image in self.fleet.images:
            self.assertTrue(Path(self.out, names[image]).read_bytes() == open_chain(image).guest(), image)

    def test_one_image_by_its_full_name_with_its_chain_alone(self):
        self.pack()
        for image in self.fleet.images:
            self.succeeds("unpack", "-C", self.out, self.archive, self.names[image])
            self.assertEqual(difference(image, self.restored(image)), "")
            chain = {self.names[layer.path] for layer in open_chain(image).layers}
            self.assertEqual(self.files(), chain)
            subprocess.run(["rm", "-r", self.out], check=True)

    def test_a_last_component_selects_if_it_is_unique(self):
        self.pack()
        top = next(image for image in self.fleet.images if image.endswith("top.cow"))
        self.succeeds("unpack", "-C", self.out, self.archive, "top.cow")
        self.assertEqual(difference(top, self.restored(top)), "")
        for names in (("root.cow",), ("top.cow", "root.cow"), ("nothing.cow",), ("vm1",), ("vm1/",), ("",), ("/vm1/root.cow",)):
            for archive in (self.archive, "-"):
                with self.subTest(names=names, archive=archive), open(self.archive, "rb") as file:
                    out = self.path("none")
                    code, text = self.run_with(file, "unpack", "-C", out, archive, *names)
                    self.assertEqual(code, 64, text)
                    self.assertRegex(text, r"\Adrover: [^\n]*\n\Z")
                    self.assertFalse(os.path.exists(out) and any(Path(out).iterdir()), "something was written")

    def run_with(self, file, *arguments):
        from harness import binary

        done = subprocess.run([binary(), *arguments], stdin=file, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stderr

    def test_several_names_from_a_pipe(self):
        self.pack()
        wanted = [self.fleet.images[1], self.fleet.images[2]]
        with open(self.archive, "rb") as file:
            code, text = self.run_with(file, "unpack", "-C", self.out, "-", *(self.names[image] for image in wanted))
        self.assertEqual(code, 0, text)
        for image in wanted:
            self.assertEqual(difference(image, self.restored(image)), "")
        self.assertFalse(os.path.exists(self.restored(self.fleet.images[0])), "an image that was not named is there")

    def test_the_list(self):
        data = self.pack()
        listed = self.succeeds("list", "--output", "json", self.archive).json()
        self.assertEqual(listed["size"], len(data))
        layers = {self.names[layer.path]: layer for image in self.fleet.images for layer in open_chain(image).layers}
        self.assertEqual({entry["name"] for entry in listed["layers"]}, set(layers))
        for entry in listed["layers"]:
            layer = layers[entry["name"]]
            self.assertEqual(entry["virtual-size"], layer.size)
            self.assertEqual(entry["layout"], layer.header.layout.name if layer.header else "raw")
            seconds, nanoseconds = entry["mtime"].split(".")
            self.assertEqual(int(seconds) * 10**9 + int(nanoseconds), layer.status.st_mtime_ns)
            if layer.header:
                below = os.path.realpath(os.fsdecode(layer.header.backing))
                self.assertEqual(entry["backing"], self.names[below])
                self.assertEqual(entry["data"] + entry["zeros"], sum(b - a for a, b in layer.runs) * SECTOR)
        images = {entry["name"] for entry in listed["layers"] if entry["image"]}
        self.assertEqual(images, {self.names[image] for image in self.fleet.images})
        text = self.succeeds("list", self.archive).out
        for name in self.names.values():
            self.assertRegex(text, rf"(?m)(^|\s){re.escape(name)}(\s|$)")

    def test_the_list_of_a_pipe_or_of_no_archive(self):
        data = self.pack()
        json.loads(self.succeeds("list", "--output", "json", self.archive).out)
        for content in (b"", b"text\n", data[:3], bytes(4096)):
            other = Path(self.path("other.drover"))
            other.write_bytes(content)
            self.fails(65, "list", other)
            self.fails(65, "verify", other)
            self.fails(65, "unpack", "-C", self.out, other)
        self.fails(66, "list", self.path("missing.drover"))
        self.fails(66, "verify", self.path("missing.drover"))
        self.fails(66, "unpack", "-C", self.out, self.path("missing.drover"))
