"""qcow2 images made by QEMU and read by Drover, and the other way round.

`DROVER_QCOW2` says how many random chains (default 15), `DROVER_SEED` repeats a run: it is printed at the start.
"""

import json
import os
import random
import sys
import time
from pathlib import Path

from chains import random_chain
from harness import MIB, DroverCase, drover, fingerprint, run_tool, start
from moves import make_image
from qcow2 import RandomQcow2, comparable

COUNT = int(os.environ.get("DROVER_QCOW2", "15"))
SEED = os.environ.get("DROVER_SEED") or str(random.SystemRandom().randrange(10**9))


def number(data, offset):
    return int.from_bytes(data[offset : offset + 8], "big")


class Qcow2SourceTests(DroverCase):
    def test_random_chains_have_the_bytes_and_the_map_that_qemu_finds(self):
        print(f"DROVER_SEED={SEED} DROVER_QCOW2={COUNT}", file=sys.stderr, flush=True)
        for number in range(COUNT):
            folder = Path(self.path(str(number)))
            folder.mkdir()
            made = RandomQcow2(random.Random(f"{SEED}-{number}"), str(folder))
            before = fingerprint(folder.iterdir())
            with self.subTest(f"{SEED}-{number}"):
                expected, found = self.path("expected.raw"), self.path(f"{number}.raw")
                run_tool("qemu-img", "convert", "-f", made.format, "-O", "raw", made.top, expected)
                result = drover("convert", made.top, found)
                if result.code == 65 and "is marked corrupt" in result.err:
                    continue  # by QEMU itself, while it made the image
                self.assertEqual(result.code, 0, f"\n{result}")
                self.assert_same_file(found, expected)
                theirs = json.loads(run_tool("qemu-img", "map", "-f", made.format, "--output=json", made.top))
                self.assertEqual(comparable(self.succeeds("map", "--output", "json", made.top).json()), comparable(theirs))
                self.succeeds("check", made.top)
                self.assertEqual(fingerprint(folder.iterdir()), before)

    def image(self, name="image.qcow2", size=4 * MIB, options="compat=1.1"):
        path = self.path(name)
        run_tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, path, str(size))
        run_tool("qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 1M", path)
        return path

    def test_what_is_not_read_is_refused_by_name(self):
        secret = ("--object", "secret,id=s,data=x")
        encrypted = self.path("encrypted.qcow2")
        run_tool("qemu-img", "create", "-q", "-f", "qcow2", *secret, "-o", "encrypt.format=luks,encrypt.key-secret=s", encrypted, str(MIB))
        external = self.path("external.qcow2")
        run_tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={self.path('data')}", external, str(MIB))
        corrupt = self.image("corrupt.qcow2")
        with open(corrupt, "r+b") as file:
            file.seek(79)
            file.write(b"\2")
        for path, text in ((encrypted, "encrypted"), (external, "external data file"), (corrupt, "corrupt")):
            self.assertIn(text, self.fails(65, "convert", path, self.path("out.raw")).err)

    def test_a_dirty_image_is_read(self):
        path = self.image(options="compat=1.1,lazy_refcounts=on")
        with open(path, "r+b") as file:
            file.seek(79)
            file.write(b"\1")
        self.succeeds("convert", path, self.path("out.raw"))

    def test_snapshots_are_left_out_with_a_warning(self):
        path = self.image()
        run_tool("qemu-img", "snapshot", "-c", "old", path)
        run_tool("qemu-io", "-f", "qcow2", "-c", "write -P 9 1M 64k", path)
        result = drover("convert", path, self.path("out.raw"))
        self.assertEqual(result.code, 0, f"\n{result}")
        self.assertIn("internal snapshots, 1, are left out", result.err)
        self.assertEqual(Path(self.path("out.raw")).read_bytes()[MIB], 9)

    def test_the_header_decides_what_the_backing_file_is(self):
        """A guest can write a qcow2 header to its raw disk."""
        inner = self.image("inner.qcow2")
        disk = Path(self.path("disk.raw"))
        disk.write_bytes(Path(inner).read_bytes())
        size = disk.stat().st_size
        top = self.path("top.qcow2")
        run_tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", disk, "-F", "raw", top)
        self.succeeds("convert", top, self.path("out.raw"))
        self.assertEqual(Path(self.path("out.raw")).read_bytes()[:size], disk.read_bytes())
        self.succeeds("convert", "--backing-format", "qcow2", top, self.path("probed.raw"))
        self.assertEqual(Path(self.path("probed.raw")).read_bytes()[MIB], 7)

    def test_a_cut_image_is_never_zeros(self):
        path = self.image()
        os.truncate(path, os.path.getsize(path) - MIB // 2)
        self.assertIn("truncated", self.fails(65, "convert", path, self.path("out.raw")).err)

    def test_a_damaged_compressed_cluster_is_named(self):
        path = self.path("image.qcow2")
        run_tool("qemu-img", "create", "-q", "-f", "qcow2", path, str(MIB))
        run_tool("qemu-io", "-f", "qcow2", "-c", "write -c -P 5 64k 64k", path)
        data = Path(path).read_bytes()
        table = number(data, number(data, 40)) & ~(1 << 63)
        begin = number(data, table + 8) & ((1 << 54) - 1)
        Path(path).write_bytes(data[:begin] + b"\xff" * 32 + data[begin + 32 :])
        self.assertIn("sector 128: the compressed cluster", self.fails(65, "convert", path, self.path("out.raw")).err)

    def test_a_huge_disk_takes_little_memory(self):
        path = self.path("huge.qcow2")
        run_tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", path, "32T")
        run_tool("qemu-io", "-f", "qcow2", "-c", "write -P 3 31T 1M", path)
        result = drover("map", "--output", "json", path, measured=True)
        self.assertEqual(len(result.json()), 3, f"\n{result}")

    def test_an_archive_takes_it_flattened_alone(self):
        path = self.image()
        self.assertIn("--flatten", self.fails(65, "pack", self.path("a.drover"), path).err)
        self.succeeds("pack", "--flatten", self.path("a.drover"), path)
        self.succeeds("verify", self.path("a.drover"))


class Qcow2TargetTests(DroverCase):
    OPTIONS = ((), ("-o", "cluster_size=512"), ("-o", "cluster_size=1M"), ("-o", "compression=zlib"), ("-o", "compression=zstd,cluster_size=4k"))

    def assert_sound(self, target, expected):
        """`target` shows what the raw image `expected` holds, to QEMU and to Drover."""
        run_tool("qemu-img", "check", "-q", target)
        run_tool("qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", expected, target)
        self.succeeds("compare", "-f", "raw", expected, target)
        self.succeeds("verify", target)

    def test_random_chains_are_what_they_were(self):
        print(f"DROVER_SEED={SEED} DROVER_QCOW2={COUNT}", file=sys.stderr, flush=True)
        for number in range(COUNT):
            chance = random.Random(f"{SEED}-{number}")
            folder = Path(self.path(str(number)))
            folder.mkdir()
            image = random_chain(f"{SEED}-{number}", folder).top if chance.random() < 0.7 else RandomQcow2(chance, str(folder)).top
            raw, target = self.path("disk.raw"), self.path("disk.qcow2")
            options = chance.choice(self.OPTIONS) + chance.choice(((), ("--segment", "1M"), ("--jobs", "1"), ("-S", "0")))
            with self.subTest(f"{SEED}-{number} {options}"):
                if drover("convert", "--force", image, raw).code:
                    continue  # what cannot be read cannot be written; test_random_chains knows which
                self.succeeds("convert", "--force", "-O", "qcow2", *options, image, target)
                self.assert_sound(target, raw)
                if options == ():
                    run_tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, self.path("theirs.qcow2"))
                    self.assertLessEqual(os.path.getsize(target), 1.02 * os.path.getsize(self.path("theirs.qcow2")))

    def test_random_overlays_stay_overlays(self):
        for number in range(COUNT):
            chance = random.Random(f"{SEED}-{number}")
            folder = Path(self.path(str(number)))
            folder.mkdir()
            made = random_chain(f"{SEED}-overlay-{number}", folder)
            base = made.images[-1].path
            raw, target = self.path("disk.raw"), self.path("disk.qcow2")
            with self.subTest(f"{SEED}-{number}"):
                if len(made.images) < 2 or drover("convert", "--force", made.top, raw).code:
                    continue
                options = chance.choice(self.OPTIONS)
                result = drover("convert", "--force", "-O", "qcow2", "-B", base, *options, made.top, target)
                if result.code == 65 and "a COW file, as a backing file" in result.err:
                    continue
                self.assertEqual(result.code, 0, f"\n{result}")
                self.assert_sound(target, raw)
                self.assertEqual(json.loads(run_tool("qemu-img", "info", "--output=json", target))["backing-filename-format"], "raw")

    def test_a_killed_move_goes_on(self):
        base, image = make_image(self.scratch, 64)
        run_tool("qemu-img", "convert", "-O", "raw", "-f", "raw", base, self.path("copy.raw"))
        self.succeeds("convert", image, self.path("disk.raw"))
        for options in self.OPTIONS:
            for over in ((), ("-B", base)):
                target = self.path("target.qcow2")
                for rate in ("2M", "4M"):
                    process = start("convert", "-q", "--segment", "1M", "--rate", rate, "-O", "qcow2", *options, *over, image, target)
                    time.sleep(0.4)
                    process.kill()
                    process.communicate()
                self.assertFalse(os.path.exists(target))
                self.succeeds("convert", "--segment", "1M", "-O", "qcow2", *options, *over, image, target)
                self.assert_sound(target, self.path("disk.raw"))
                for path in (target, f"{target}.manifest"):
                    os.unlink(path)

    def test_a_fleet_becomes_thin_overlays_of_one_base(self):
        base, image = make_image(self.scratch, 8)
        second = self.path("second.cow")
        Path(second).write_bytes(Path(image).read_bytes())
        pipeline = self.path("fleet.yaml")
        Path(pipeline).write_text("sources: ['*.cow']\ntarget: {directory: out, format: qcow2, keep-chain: true, options: {cluster_size: 4k}}\n")
        self.succeeds("run", pipeline)
        self.succeeds("convert", image, self.path("disk.raw"))
        out = Path(self.path("out"))
        moved = self.path("moved")
        out.rename(moved)
        for name in ("image.qcow2", "second.qcow2"):
            self.assertEqual(json.loads(run_tool("qemu-img", "info", "--output=json", f"{moved}/{name}"))["backing-filename"], "base.raw")
            self.assert_sound(f"{moved}/{name}", self.path("disk.raw"))

    def test_an_archive_becomes_qcow2_images(self):
        _, image = make_image(self.scratch, 8)
        archive, out = self.path("fleet.drover"), self.path("out")
        self.succeeds("pack", archive, image)
        self.succeeds("unpack", "-C", out, "-O", "qcow2", "-o", "compression=zstd", archive, "image.cow")
        self.succeeds("convert", image, self.path("disk.raw"))
        self.assert_sound(f"{out}/image.cow", self.path("disk.raw"))

    def test_what_it_cannot_hold_is_65_and_what_is_not_meant_64(self):
        _, image = make_image(self.scratch, 2)
        target = self.path("target.qcow2")
        for option in ("cluster_size=3000", "cluster_size=2M", "compression=lz4", "layout=uml-v3"):
            self.fails(64, "convert", "-O", "qcow2", "-o", option, image, target)
        self.fails(64, "convert", "-O", "cow", "-o", "compression=zlib", image, target)
        self.succeeds("create", "-b", image, self.path("over.cow"), "-o", "layout=qemu-v2")
        self.assertIn("COW file", self.fails(65, "convert", "-O", "qcow2", "-B", image, self.path("over.cow"), target).err)
        self.assert_absent(target, f"{target}.partial", f"{target}.manifest")

    def test_an_empty_overlay_is_made_once(self):
        base, _ = make_image(self.scratch, 3)
        target = self.path("new.qcow2")
        for options in ((), ("-o", "cluster_size=4k")):
            self.succeeds("create", "--force", "-O", "qcow2", *options, "-b", base, target)
            run_tool("qemu-img", "check", "-q", target)
            self.assert_same_file(target, target)
            run_tool("qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", base, target)
            before = os.stat(target)
            self.assertIn("is there already", self.succeeds("create", "-v", "-O", "qcow2", *options, "-b", base, target).err)
            self.assertEqual(os.stat(target).st_mtime_ns, before.st_mtime_ns)
        run_tool("qemu-io", "-f", "qcow2", "-c", "write -P 1 0 64k", target)
        self.fails(73, "create", "-O", "qcow2", "-o", "cluster_size=4k", "-b", base, target)
        self.fails(64, "create", "-O", "raw", "-b", base, self.path("new.raw"))

    def test_the_measure_is_the_length(self):
        base, image = make_image(self.scratch, 24)
        for options in ((), ("-o", "cluster_size=512"), ("-o", "cluster_size=1M")):
            measure = self.succeeds("measure", "-O", "qcow2", *options, "--output", "json", image).json()
            for skipped, key in (("0", "fully-allocated"), ("4k", "required")):
                target = self.path("target.qcow2")
                self.succeeds("convert", "--force", "--restart", "-S", skipped, "-O", "qcow2", *options, image, target)
                if key == "required":  # holes of the file system are coarser than clusters may be
                    self.assertLessEqual(os.path.getsize(target), measure[key])
                else:
                    self.assertEqual(os.path.getsize(target), measure[key])
