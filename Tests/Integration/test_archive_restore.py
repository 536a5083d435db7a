"""What a restored file's header cannot hold, times that are none, bases that are restored alone, raw bytes that look like COW."""

import contextlib
import os
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path

from archive_reader import Damaged, read_archive
from archive_writer import ArchiveWriter, Stretch, layer
from archives import difference
from cow_writer import CowWriter, encode_header, set_mtime
from harness import MIB, SECTOR, DroverCase, binary
from reference import open_chain

MTIME = 1_500_000_000


def small_files():
    """Should Drover write what it must refuse, it fills no disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * MIB, 64 * MIB))


class Understating(ArchiveWriter):
    """Says in its index that no layer holds zeros."""

    def stretch(self, index, stretch, counts):
        piece = super().stretch(index, stretch, counts)
        counts["zeros"] = 0
        return piece


class ArchiveRestoreTests(DroverCase):
    def setUp(self):
        super().setUp()
        self.archive, self.out = self.path("fleet.drover"), self.path("out")

    def write(self, layers, stretches=None):
        Path(self.archive).write_bytes(ArchiveWriter(layers, stretches).bytes())

    def unpack(self, source, *options, out=None, limited=False):
        with open(self.archive, "rb") as file:
            command = [binary(), "unpack", *options, "-C", out or self.out, source]
            limit = small_files if limited else None
            return subprocess.run(command, stdin=file, capture_output=True, text=True, timeout=60, preexec_fn=limit)

    def assert_refused_untouched(self, text, *options, out=None):
        """From a file and from a pipe: 65, one line that says `text`, and not even a folder is there."""
        out = out or self.out
        for source in (self.archive, "-"):
            done = self.unpack(source, *options, out=out)
            self.assertEqual(done.returncode, 65, done.stderr)
            self.assertRegex(done.stderr, rf"\Adrover: [^\n]*{text}[^\n]*\n\Z")
            self.assertFalse(os.path.lexists(out), f"something was written: {done.stderr}")

    # Raw bytes that look like an image

    def make_disguised(self, name, size=64 * SECTOR):
        """A raw base whose bytes are those of a COW file or of qcow2, and an overlay of it. Returns base, overlay and guest bytes."""
        base, image = self.path(f"{name}.img"), self.path(f"{name}.ovl")
        if name == "qcow2":
            Path(base).write_bytes(b"QFI\xfb\0\0\0\3" + bytes(96) + b"q" * (size - 104))
        else:
            inner = CowWriter(name, 16 * SECTOR, b"/nowhere/else.img", 7)
            inner.allocate(0, 4)
            inner.write_data(0, b"i" * 4 * SECTOR)
            inner.save(base)
            with open(base, "r+b") as file:
                file.truncate(-(-os.path.getsize(base) // SECTOR) * SECTOR)
        set_mtime(base, MTIME)
        size = os.path.getsize(base)
        writer = CowWriter("uml-v3", size, os.fsencode(base), MTIME)
        writer.allocate(3, 2)
        writer.write_data(3, b"o" * 2 * SECTOR)
        writer.save(image)
        guest = bytearray(Path(base).read_bytes())
        guest[3 * SECTOR : 5 * SECTOR] = b"o" * 2 * SECTOR
        return base, image, bytes(guest)

    def test_a_raw_base_that_looks_like_an_image_is_flattened(self):
        for name in ("qcow2", "uml-v3", "qemu-v2", "uml-v2"):
            base, image, guest = self.make_disguised(name)
            self.succeeds("pack", "--force", "--restart", "--backing-format", "raw", self.archive, image)
            for source in (self.archive, "-"):
                with self.subTest(name=name, source=source):
                    out = self.path(f"out-{name}-{len(source)}")
                    done = self.unpack(source, "-O", "raw", out=out)
                    self.assertEqual(done.returncode, 0, done.stderr)
                    self.assertTrue(Path(out, f"{name}.ovl").read_bytes() == guest)
                    self.assertEqual(sorted(os.listdir(out)), [f"{name}.ovl", f"{name}.ovl.manifest"])
            self.succeeds("pack", "--force", "--restart", "-f", "raw", self.archive, base)
            self.succeeds("unpack", "-O", "raw", "-C", self.path(f"raw-{name}"), self.archive)
            self.assertTrue(Path(self.path(f"raw-{name}"), f"{name}.img").read_bytes() == Path(base).read_bytes())

    def test_an_overlay_that_would_be_read_otherwise_is_not_packed(self):
        for name, text in (("uml-v3", "COW file"), ("qemu-v2", "COW file"), ("qcow2", "qcow2 image")):
            base, uml, _ = self.make_disguised(name)
            image = self.path(f"{name}.cow")
            writer = CowWriter("qemu-v2", os.path.getsize(base), os.fsencode(base), MTIME)
            writer.allocate(1, 1)
            writer.save(image)
            refused = self.fails(65, "pack", "--backing-format", "raw", self.archive, image)
            self.assertIn(text, refused.err)
            self.assert_absent(self.archive, f"{self.archive}.manifest", f"{self.archive}.partial")
            made = self.path("made.cow")
            for command in (
                ("create", "-b", base, "-F", "raw", "-o", "layout=qemu-v2", made),
                ("convert", "-O", "cow", "-B", base, "-F", "raw", "-o", "layout=qemu-v2", "--backing-format", "raw", uml, made),
            ):
                self.assertIn(text, self.fails(65, *command).err)
                self.assert_absent(made)
            self.succeeds("pack", "--flatten", "--force", "--backing-format", "raw", self.path("flat.drover"), image)

    def test_an_overlay_that_would_be_read_otherwise_is_not_restored(self):
        cow = encode_header("uml-v3", 65536, MTIME, b"/somewhere/else.img")
        for start, size, layout, text in (
            (cow, MIB, "qemu-v2", "COW file"),
            (b"QFI\xfb\0\0\0\3", MIB, "qemu-v2", "qcow2 image"),
            (encode_header("qemu-v2", MIB, MTIME, b"x.img"), MIB, "uml-v3", "the same size"),
        ):
            data = start.ljust(-(-len(start) // SECTOR) * SECTOR, b"\1")
            sectors = len(data) // SECTOR
            layers = [layer("base.img", size), layer("top.cow", size, layout, backing=0)]
            Path(self.archive).write_bytes(ArchiveWriter(layers, [[Stretch(0, 2048, [(0, sectors, data)])], [Stretch(0, 2048)]]).bytes())
            for source in (self.archive, "-"):
                with self.subTest(layout=layout, source=source):
                    out = self.path(f"out{len(source)}-{text[:3]}")
                    done = self.unpack(source, out=out)
                    self.assertEqual(done.returncode, 65)
                    self.assertIn(text, done.stderr)
                    left = os.listdir(out) if os.path.isdir(out) else []
                    self.assertEqual([name for name in left if name.startswith("top")], [])
                    if source != "-":
                        self.assertEqual(left, [], "something was written before it was refused")
            self.succeeds("unpack", "-O", "raw", "-C", self.path(f"raw-{text[:3]}"), self.archive)
            if layout != "uml-v3":
                self.succeeds("unpack", "-o", "layout=uml-v3", "-C", self.path(f"uml-{text[:3]}"), self.archive)

    # What a header cannot hold

    def test_a_path_that_is_too_long_is_known_before_anything_is_written(self):
        deep = "/".join(["d" * 200] * 6)
        chain = [layer("base.img"), layer("fine.cow", layout="uml-v3", backing=0)]
        long = [layer(f"{deep}/b.img"), layer(f"{deep}/q.cow", layout="qemu-v2", backing=2)]
        self.write([*chain, *long])
        self.assert_refused_untouched("qemu-v2 cannot hold a backing path of")
        self.write([*chain, layer(f"{deep}/b.img"), layer("v3.cow", layout="uml-v3", backing=2)])
        self.assertEqual(self.unpack(self.archive).returncode, 0)
        self.assert_refused_untouched("qemu-v2 cannot hold a backing path of", "-o", "layout=qemu-v2", out=self.path("other"))

    def test_a_time_past_32_bits_is_known_before_anything_is_written(self):
        for seconds in (1 << 32, -1):
            base = layer("base.img") | {"mtime": f"{seconds}.000000000"}
            self.write([layer("a.img"), base, layer("b.cow", layout="uml-v3", backing=1)])
            self.assert_refused_untouched("no COW layout can hold")
            self.assert_refused_untouched("no COW layout can hold", "--force")
            out = self.path(f"raw{seconds}")
            self.assertEqual(self.unpack("-", "-O", "raw", out=out).returncode, 0)
            self.assertEqual(sorted(name for name in os.listdir(out) if "manifest" not in name), ["a.img", "b.cow", "base.img"])

    def test_a_disk_past_the_limit_of_uml_is_known_before_anything_is_written(self):
        size = 9 << 40
        self.write(
            [layer("a.img"), layer("base.img", size), layer("b.cow", size, "uml-v3", backing=1)],
            [[Stretch(0, 8)], [Stretch(0, size // SECTOR)], [Stretch(0, size // SECTOR, [(5, 6, b"x" * SECTOR)])]],
        )
        self.assert_refused_untouched("pass 2\\^31 bytes")
        self.assertEqual(self.unpack("-", "-O", "raw").returncode, 0)
        with open(os.path.join(self.out, "b.cow"), "rb") as file:
            file.seek(5 * SECTOR)
            self.assertEqual(file.read(2 * SECTOR), b"x" * SECTOR + bytes(SECTOR))

    def test_only_what_is_asked_for_is_checked(self):
        base = layer("base.img") | {"mtime": "-1.000000000"}
        self.write([layer("a.img"), base, layer("b.cow", layout="uml-v3", backing=1)])
        self.succeeds("unpack", "-C", self.out, self.archive, "a.img", "base.img")
        self.fails(65, "unpack", "-C", self.out, self.archive, "b.cow")

    def test_runs_past_the_last_bit_of_a_layer_are_damage(self):
        """uml-v2 has bits for whole groups of eight sectors."""
        for data in (None, b"x" * SECTOR):
            for first, end, is_sound in ((0, 8, True), (7, 8, True), (8, 9, False), (12, 13, False), (0, 9, False)):
                run = (first, end, data and data * (end - first))
                with self.subTest(run=run[:2], data=bool(data)):
                    layers = [layer("base.img", 13 * SECTOR), layer("v2.cow", 13 * SECTOR, "uml-v2", backing=0)]
                    self.write(layers, [[Stretch(0, 13)], [Stretch(0, 13, [run])]])
                    with open(self.archive, "rb") as file, contextlib.nullcontext() if is_sound else self.assertRaises(Damaged):
                        read_archive(file)
                    self.succeeds("verify", self.archive, code=0 if is_sound else 2)
                    for source in (self.archive, "-"):
                        out = self.path("out")
                        shutil.rmtree(out, ignore_errors=True)
                        done = self.unpack(source, out=out)
                        self.assertEqual(done.returncode, 0 if is_sound else 65, done.stderr)
                        self.assertEqual(os.path.exists(f"{out}/v2.cow"), is_sound)

    # Room

    def test_bitmaps_that_cannot_fit_are_refused_before_anything_is_written(self):
        """A small archive of allocated zeros needs a bit for every sector of them."""
        sectors = (8 << 40) // SECTOR - (1 << 21)
        folder = tempfile.mkdtemp(prefix="drover-test-", dir="/dev/shm")  # a file system that says for sure what it has left
        self.addCleanup(shutil.rmtree, folder)
        self.out = os.path.join(folder, "out")
        free = os.statvfs(folder).f_bfree * os.statvfs(folder).f_frsize
        count = free // (sectors // 8) + 2
        layers = [layer(f"{number}.cow", sectors * SECTOR, "qemu-v2") for number in range(count)]
        self.write(layers, [[Stretch(0, sectors, [(0, sectors, None)])] for _ in layers])
        self.assertLess(os.path.getsize(self.archive), MIB)
        for more in ((), ("--force",)):
            done = self.unpack(self.archive, *more, limited=True)
            self.assertEqual(done.returncode, 74, done.stderr)
            self.assertRegex(done.stderr, r"needs \d+ bytes or more there; \d+ are free")
            self.assertFalse(any(path.is_file() for path in Path(self.out).rglob("*")))
        self.succeeds("verify", self.archive)

    def test_bitmaps_that_fit_are_written(self):
        sectors = (1 << 40) // SECTOR
        self.write([layer("a.cow", sectors * SECTOR, "qemu-v2")], [[Stretch(0, sectors, [(0, sectors, None)])]])
        for _ in range(2):
            self.succeeds("unpack", "-C", self.out, self.archive)
        allocated = self.succeeds("check", "--output", "json", f"{self.out}/a.cow").json()["allocated-clusters"]
        self.assertEqual(allocated, sectors)
        self.assertLess(os.stat(f"{self.out}/a.cow").st_blocks * 512, sectors // 8 + MIB)

    def test_a_layer_that_holds_more_than_its_index_says_is_damage(self):
        layers = [layer("a.cow", MIB, "qemu-v2"), layer("b.img")]
        Path(self.archive).write_bytes(Understating(layers, [[Stretch(0, 2048, [(0, 2048, None)])], [Stretch(0, 8)]]).bytes())
        for names in ((), ("a.cow",)):
            result = self.fails(65, "unpack", "-C", self.out, self.archive, *names)
            self.assertIn("than its index says", result.err)
            self.assertFalse(os.path.exists(f"{self.out}/a.cow"))

    # Times

    def test_a_time_that_is_none_is_damage(self):
        for mtime in ("", "1", "1.5", "1.0000000000", "a.000000000", "1.00000000x", "+1.000000000", "1.-00000001", "9" * 30 + ".000000000"):
            with self.subTest(mtime=mtime):
                self.write([layer("a.img"), layer("base.img") | {"mtime": mtime}])
                self.assert_refused_untouched("base.img has the mtime")
                self.fails(65, "list", self.archive)
                self.succeeds("verify", self.archive, code=2)

    def test_a_time_may_be_any_of_64_bits(self):
        for seconds in (-(2**63), -1, 0, 2**63 - 1):
            with self.subTest(seconds=seconds):
                self.write([layer("a.img", mtime=f"{seconds}.999999999")])
                self.assertEqual(self.succeeds("list", "--output", "json", self.archive).json()["layers"][0]["mtime"], f"{seconds}.999999999")
                self.succeeds("verify", self.archive)
                self.succeeds("unpack", "--force", "-C", self.out, self.archive)

    def test_a_base_restored_alone_fits_the_overlays_that_follow(self):
        base, image = self.path("base.img"), self.path("vm.cow")
        Path(base).write_bytes(os.urandom(MIB))
        set_mtime(base, MTIME, 123_456_789)
        writer = CowWriter("uml-v3", MIB, os.fsencode(base), MTIME)
        writer.allocate(5, 20)
        writer.save(image)
        self.succeeds("pack", self.archive, base, image)
        for form in ((self.archive,), ("-o", "layout=qemu-v2", self.archive)):
            out = self.path(f"out{len(form)}")
            self.succeeds("unpack", "-C", out, *form, "base.img")
            self.assertEqual(os.stat(f"{out}/base.img").st_mtime_ns, MTIME * 10**9 + 123_456_789)
            self.succeeds("unpack", "-C", out, *form, "vm.cow")
            self.assertEqual(open_chain(f"{out}/vm.cow").layers[0].header.mtime, MTIME)
            self.succeeds("check", f"{out}/vm.cow")
            self.succeeds("verify", f"{out}/base.img")
        self.assertEqual(difference(image, f"{self.path('out1')}/vm.cow"), "")
