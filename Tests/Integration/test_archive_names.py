"""Archives made to do harm: names that lead elsewhere, links in the way, claims of what is not there.

They are sound in every digest, so it is what they say that has to be refused. Nothing may be written outside of `-C`.
"""

import json
import os
import resource
import subprocess
import time
import unicodedata
from pathlib import Path

from archive_writer import ArchiveWriter, Stretch, layer, number
from harness import MIB, SECTOR, DroverCase, binary

MEMORY = 512 * MIB
EXBI = 2**63 - 512
REFUSED = (
    *("/tmp/absolute", "//x", "..", "../x", "a/../b", "a/../../x", "a/..", ".", "./a", "a/./b", "a/.", "", "/", "a//b", "a/", "/a"),
    *("a\0b", "\0", "n" * 241, "a/" + "n" * 241 + "/b", "ä" * 121, "/".join(["n" * 200] * 21)),
    *("x.partial", "x.manifest", ".partial", ".manifest", "vm/x.partial", "x.partial/y", "x.manifest/y"),
)
ALLOWED = ("n" * 240, "ä" * 120, "...", "a..b", " ", "a b", "-n", "a\nb", "x\x1b[31m", "back\\slash", "partial", "x.partial.img", "~")
SETS = (("a", "a"), ("a", "b", "a"), ("a", "a/b"), ("a/b", "a"), ("a/b/c", "a/b"), ("a/b/c", "x", "a"))


def limited():
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))


class ArchiveNameTests(DroverCase):
    def setUp(self):
        super().setUp()
        self.archive, self.out = self.path("bad.drover"), self.path("box/out")
        os.makedirs(self.out)
        self.outside = self.scratch / "outside"
        self.outside.mkdir()
        (self.outside / "kept").write_bytes(b"kept")

    def write(self, *names, **options):
        writer = ArchiveWriter([layer(name) for name in names], **options)
        Path(self.archive).write_bytes(writer.bytes())

    def run_it(self, *arguments, codes=(65,), seconds=20):
        """Runs Drover in a folder of its own, from the file and from a pipe if it is `unpack`."""
        with open(self.archive, "rb") as file:
            command = [binary(), *arguments]
            options = {"capture_output": True, "cwd": self.path("box"), "timeout": seconds, "preexec_fn": limited}
            done = subprocess.run(command, stdin=file, **options)
        text = done.stderr.decode(errors="replace")
        self.assertIn(done.returncode, codes, f"{arguments}\n{text}")
        if done.returncode:
            self.assertRegex(text, r"\A(drover: [^\n\x00-\x1f]*\n)+\Z")
        return done

    def assert_untouched(self):
        self.assertEqual(sorted(os.listdir(self.scratch)), ["bad.drover", "box", "outside"])
        self.assertEqual(os.listdir(self.path("box")), ["out"])
        self.assertEqual((os.listdir(self.outside), (self.outside / "kept").read_bytes()), (["kept"], b"kept"))
        self.assertFalse(os.path.exists("/tmp/absolute"))

    def assert_refused(self, codes=(65,)):
        for source in (self.archive, "-"):
            for more in ((), ("-O", "raw"), ("--force",), ("--salvage",)):
                if (source, more) != ("-", ("--salvage",)):
                    self.run_it("unpack", *more, "-C", self.out, source, codes=(*codes, 2) if more == ("--salvage",) else codes)
                    self.assertEqual([path for path in Path(self.out).rglob("*") if path.is_file()], [])
                    self.assert_untouched()

    def test_names_that_are_refused(self):
        for name in REFUSED:
            with self.subTest(name=name[:40]):
                self.write("fine.img", name)
                self.assert_refused()
                self.run_it("list", self.archive)
                self.run_it("verify", self.archive, codes=(2, 65))

    def test_a_file_whose_name_is_no_utf8_is_not_packed(self):
        for folder, name in ((b"in", b"caf\xe9.img"), (b"caf\xe9", b"a.img")):
            place = os.path.join(os.fsencode(self.scratch), folder)
            os.makedirs(place)
            os.makedirs(os.path.join(place, b"x"))
            for file in (os.path.join(place, name), os.path.join(place, b"x", b"other.img")):
                Path(os.fsdecode(file)).write_bytes(bytes(4096))
            images = [os.path.join(place, name), os.path.join(place, b"x", b"other.img")]
            if folder == b"in":
                result = self.fails(65, "pack", self.archive, *images)
                self.assertRegex(result.err, "no UTF-8, which an archive cannot hold .rename it.")
                self.assert_absent(self.archive, f"{self.archive}.manifest")
            else:
                self.succeeds("pack", self.archive, *images)  # the folder is no part of the names

    def test_names_that_do_not_go_together(self):
        for names in SETS:
            with self.subTest(names=names):
                self.write(*names)
                self.assert_refused()
                self.run_it("list", self.archive)

    def test_names_that_are_allowed(self):
        self.write(*ALLOWED, *(f"deep/{name}" for name in ALLOWED))
        self.run_it("verify", self.archive, codes=(0,))
        listed = self.run_it("list", self.archive, codes=(0,)).stdout
        self.assertFalse(set(listed) & (set(range(32)) - {10}), "control characters are printed")
        self.assertEqual(listed.count(b"\n"), 2 * len(ALLOWED) + 2, "a name breaks the table")
        self.run_it("unpack", "-C", self.out, self.archive, codes=(0,))
        for name in ALLOWED:
            self.assertEqual(Path(self.out, "deep", name).read_bytes()[:512], bytes(range(256)) * 2)
        self.assert_untouched()

    def test_links_in_the_way_are_not_followed(self):
        self.write("vm/root.img")
        ways = {
            "vm": self.outside,
            "vm/root.img": self.outside / "kept",
            "vm/root.img ": self.outside / "new",  # a dangling one
            "vm/root.img.partial": self.outside / "kept",
            "vm/root.img.partial ": self.outside / "new",
            "vm/root.img.manifest": self.outside / "kept",
            "vm/root.img.manifest ": self.outside / "new",
        }
        for name, target in ways.items():
            with self.subTest(name=name, target=target.name):
                link = Path(self.out, name.strip())
                link.parent.mkdir(exist_ok=True)
                link.symlink_to(target)
                self.unpack_against_links()
                link.unlink()
                for path in sorted(Path(self.out).rglob("*"), reverse=True):
                    path.rmdir() if path.is_dir() else path.unlink()

    def unpack_against_links(self):
        for source in (self.archive, "-"):
            for more in ((), ("--force",), ("--restart", "--force"), ("-O", "raw")):
                self.run_it("unpack", *more, "-C", self.out, source, codes=(0, 65, 73))
                self.assert_untouched()

    def test_the_folder_itself_may_be_a_link(self):
        self.write("vm/root.img")
        os.symlink(self.out, self.path("box/link"))
        self.run_it("unpack", "-C", "link", self.archive, codes=(0,))
        self.assertTrue(Path(self.out, "vm/root.img").is_file())

    def test_a_file_where_a_folder_must_be(self):
        self.write("vm/root.img")
        Path(self.out, "vm").write_bytes(b"mine")
        for more in ((), ("--force",)):
            self.run_it("unpack", *more, "-C", self.out, self.archive, codes=(73,))
            self.assertEqual(Path(self.out, "vm").read_bytes(), b"mine")

    def test_sizes_are_claims(self):
        for size in (1 << 40, 1 << 43, 1 << 50, EXBI):
            for layout in ("raw", "qemu-v2"):
                with self.subTest(size=size, layout=layout):
                    Path(self.archive).write_bytes(ArchiveWriter([layer("huge.img", size, layout)]).bytes())
                    self.assertLess(os.path.getsize(self.archive), 4096)
                    self.run_it("list", self.archive, codes=(0,))
                    began = time.monotonic()
                    self.run_it("verify", self.archive, codes=(0,))
                    self.run_it("unpack", "-C", self.out, self.archive, codes=(0, 64, 65, 73, 74))
                    self.assertLess(time.monotonic() - began, 5)
                    used = sum(path.stat().st_blocks * 512 for path in Path(self.out).rglob("*") if path.is_file())
                    self.assertLess(used, 4 * MIB, "the disk is filled by a claim")
                    for path in Path(self.out).iterdir():
                        path.unlink()

    def test_sizes_that_cannot_be(self):
        for size in (2**63 - 511, 2**63, 2**64 - 1, 2**64, 10**30, -1, 1.5, "4096", None):
            with self.subTest(size=size):
                Path(self.archive).write_bytes(ArchiveWriter([layer("a", size) | {"size": size}], [[]]).bytes())
                self.assert_refused()

    def test_records_that_claim_too_much(self):
        data, huge = bytes(range(256)) * 2, 0xFFFF_FFFF
        claims = [{"content": huge}, {"content": MIB + SECTOR}, {"content": 0}, {"content": SECTOR * 2}, {"frame": huge}]
        claims += [{"frame": 0}, {"frame": 1}, {"count": huge}, {"count": 0}, {"count": 2}, {"layer": 1}, {"layer": huge}]
        claims += [{"first": 1}, {"first": 2**64 - 2048}, {"end": 2**64 - 1}, {"end": 0}, {"end": 7}, {"end": 9}]
        claims += [{"runs": run} for run in (b"", b"\x80", b"\xff" * 9 + b"\x01", number(0) + number(2**62), number(9) + number(4))]
        claims += [{"runs": number(0) + number(0)}, {"runs": number(2**63 - 1) + number(4)}, {"runs": number(0) + number(4) + b"\0"}]
        claims += [{"runs": number(0) + number(4 + kind) + number(0) + number(0)} for kind in (2, 3)]
        for claim in claims:
            with self.subTest(claim=claim):
                stretches = [[Stretch(0, 8, [(0, 1, data)], claim)]]
                Path(self.archive).write_bytes(ArchiveWriter([layer("a")], stretches).bytes())
                self.run_it("verify", self.archive, codes=(2,))
                for source, more in ((self.archive, ()), ("-", ()), (self.archive, ("--salvage",))):
                    codes = (2,) if more else (65,)
                    self.run_it("unpack", "--restart", *more, "-C", self.out, source, codes=codes)
                    used = sum(path.stat().st_blocks * 512 for path in Path(self.out).iterdir())
                    self.assertLess(used, 4 * MIB)
                    self.assertTrue(more or not Path(self.out, "a").exists())
                for path in Path(self.out).iterdir():
                    path.unlink()

    def test_digests_of_nothing_where_there_is_no_frame(self):
        for claim in ({}, {"of_frame": b"y" * 16}, {"of_content": b"x" * 16}, {"of_frame": bytes(16), "of_content": bytes(16)}):
            for stretch in (Stretch(0, 16, [], claim), Stretch(0, 16, [(2, 5, None)], claim)):
                with self.subTest(stretch=stretch):
                    layers = [layer("a", 8192, "qemu-v2")]
                    Path(self.archive).write_bytes(ArchiveWriter(layers, [[stretch]]).bytes())
                    self.run_it("verify", self.archive, codes=(2 if claim else 0,))
                    for source in (self.archive, "-"):
                        self.run_it("unpack", "--restart", "--force", "-C", self.out, source, codes=(65 if claim else 0,))
                    self.run_it("list", self.archive, codes=(0,))

    def test_names_of_very_many_components(self):
        deep = "/".join("abcdefgh"[n % 8] for n in range(1900))
        self.write(*(f"{deep}{n}" for n in range(200)))
        for command in (("list", self.archive), ("verify", self.archive), ("unpack", "-C", self.out, self.archive, "nothing")):
            start = time.monotonic()
            self.run_it(*command, codes=(0, 64))
            self.assertLess(time.monotonic() - start, 8)  # a second of a debug build; it was minutes
        self.write(*(f"{deep}{n}" for n in range(200)), f"{deep}7/x")
        self.run_it("list", self.archive)

    def test_json_shows_no_character_that_turns_the_writing(self):
        names = [f"a{c}b" for c in "\x01\x1b\x7f\x80\x9b\u00ad\u061c\u200e\u2028\u202e\u2066\ufeff\U000e0041"] + ["ä漢🐧"]
        self.write(*names)
        listed = self.run_it("list", "--output", "json", self.archive, codes=(0,)).stdout.decode()
        self.assertEqual([entry["name"] for entry in json.loads(listed)["layers"]], names)
        self.assertEqual([c for c in listed if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")], [])
        self.assertIn("ä漢🐧", listed)

    def test_json_that_would_take_many_times_its_length(self):
        writer = ArchiveWriter([layer("a")])
        header = writer.header()[:-1] + b',"x":[' + b"{}," * 4_000_000 + b"{}]}"
        writer.header = lambda: header
        Path(self.archive).write_bytes(writer.bytes())
        for command in (["list", self.archive], ["verify", self.archive], ["unpack", "-C", self.out, "-"]):
            self.run_it(*command, codes=(2, 65))

    def test_backing_files_that_cannot_be(self):
        below = [layer("a", backing=0), layer("a", layout="uml-v3", backing=0), layer("a", layout="uml-v3", backing=7)]
        below += [layer("a", layout="qemu-v2", backing=-1), layer("a", layout="qemu-v2", backing="a"), layer("a", layout="vmdk")]
        for entry in below:
            with self.subTest(entry=entry):
                Path(self.archive).write_bytes(ArchiveWriter([entry]).bytes())
                self.assert_refused()
        deep = [layer("0")] + [layer(str(n), layout="qemu-v2", backing=n - 1) for n in range(1, 70)]
        Path(self.archive).write_bytes(ArchiveWriter(deep).bytes())
        self.assert_refused()

    def test_headers_that_are_none(self):
        class Other(ArchiveWriter):
            text = b""

            def header(self):
                return self.text

        for text in (b"", b"[]", b"{}", b"null", b'{"layers":[],"version":1}', b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe"):
            with self.subTest(text=text[:20]):
                writer = Other([])
                writer.text = text
                Path(self.archive).write_bytes(writer.bytes())
                self.run_it("list", self.archive)
                self.assert_refused()
