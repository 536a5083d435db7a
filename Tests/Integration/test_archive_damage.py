"""A small archive damaged in every way: always found, never a silent difference, a crash or a hang, in 512 MiB of memory.

`DROVER_DAMAGE=all` flips every bit and cuts at every length; by default a sample is drawn, which `DROVER_SEED` repeats.
"""

import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from archive_writer import ArchiveWriter, layer
from archives import frames, make_fleet, names_of
from cow_writer import set_mtime
from harness import DroverCase, binary, drover
from reference import open_chain

ALL = os.environ.get("DROVER_DAMAGE") == "all"
SEED = os.environ.get("DROVER_SEED") or str(random.SystemRandom().randrange(10**9))
DRAWN = random.Random(SEED)
FLIPS, CUTS = 200, 60
UNPACKED = 1 if ALL else 12  # one in so many is unpacked too, which takes longer than to verify it
MEMORY = 512 << 20
SECONDS = 20


def limited():
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))  # not the address space: malloc reserves 64 MiB a thread
    resource.setrlimit(resource.RLIMIT_FSIZE, (MEMORY, MEMORY))


class ArchiveDamageTests(DroverCase):
    @classmethod
    def setUpClass(cls):
        print(f"DROVER_SEED={SEED}", file=sys.stderr, flush=True)
        cls.folder = Path(tempfile.mkdtemp(prefix="drover-damage-")).resolve()
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        fleet = make_fleet(cls.folder / "fleet", 3, 1, sectors=40, seed=1)
        cls.data = cls.pack(fleet)
        cls.frames = frames(cls.data)
        cls.head = cls.frames[1].end  # nothing can be known of an archive without its first record
        chains = [open_chain(image) for image in fleet.images]
        layers = {layer.path: layer for chain in chains for layer in chain.layers}
        cls.images = {name: layers[path] for path, name in names_of(layers).items()}
        for image in fleet.files:  # the same names, sizes and mtimes with other bytes: the same id
            cls.change(image)
        cls.other = cls.pack(fleet)
        if cls.other[: cls.head] != cls.data[: cls.head] or cls.other == cls.data:
            raise AssertionError("the second archive is not another one of the same fleet; a bug of these tests")
        for image in fleet.files:
            cls.change(image)

    @classmethod
    def pack(cls, fleet):
        archive = cls.folder / "fleet.drover"
        result = drover("pack", "--force", "--restart", archive, *fleet.images)
        if result.code:
            raise AssertionError(str(result))
        return archive.read_bytes()

    @staticmethod
    def change(image):
        """Inverts the data of an image, mtime as before; doing it twice undoes it."""
        status, layer = os.stat(image), open_chain(image).layers[0]
        with open(image, "r+b") as file:
            for first, last in layer.runs:
                if not (data := layer.read(first, last)).count(0) == len(data):
                    file.seek(layer.data_offset + first * 512)
                    file.write(bytes(255 - byte for byte in data))
        set_mtime(image, *divmod(status.st_mtime_ns, 10**9))

    def run_limited(self, *arguments, data=None):
        """Runs Drover on little memory. It must end by itself, with one of its own exit codes."""
        with tempfile.TemporaryFile() as file:
            file.write(data or b"")
            file.seek(0)
            done = subprocess.run(
                [binary(), *arguments], stdin=file, capture_output=True, text=True, timeout=SECONDS, preexec_fn=limited
            )
        self.assertGreaterEqual(done.returncode, 0, f"killed by a signal: {arguments}\n{done.stderr}")
        self.assertIn(done.returncode, (0, 2, 65), f"{arguments}\n{done.stderr}")
        for line in done.stderr.splitlines():
            self.assertTrue(line.startswith("drover: "), done.stderr)
        return done

    def check(self, data, what, unpack=True, first=0, salvage=True):
        """`data` was damaged from the byte `first` on; all commands have to notice it."""
        self.assertNotEqual(data, self.data, f"not damaged: {what}")
        archive = Path(self.path("damaged.drover"))
        archive.write_bytes(data)
        with self.subTest(what):
            done = self.run_limited("verify", str(archive))
            self.assertIn(done.returncode, (2, 65) if first < self.head else (2,), done.stderr)
            self.assertTrue(done.stderr.strip(), "nothing was said about it")
            if unpack:
                self.check_unpacked(archive, data)
            if unpack and salvage:
                self.check_salvaged(archive, first)

    def check_unpacked(self, archive, data):
        for source in (str(archive), "-"):
            out = self.fresh("out")
            done = self.run_limited("unpack", "-C", out, source, data=data)
            if done.returncode == 0:
                self.assertEqual(self.wrong_files(out, {}), [], f"silently different: {source}")
                self.assertTrue(all(Path(out, name).exists() for name in self.images))
            elif os.path.exists(out):
                self.assertEqual(self.wrong_files(out, {}), [], f"wrong under its final name: {source}\n{done.stderr}")
            self.assertNotEqual((done.returncode, source), (0, "-"), "a damaged pipe was taken for whole")

    def fresh(self, name):
        shutil.rmtree(self.path(name), ignore_errors=True)
        return self.path(name)

    def check_salvaged(self, archive, first):
        out = self.fresh("salvaged")
        done = self.run_limited("unpack", "--salvage", "-C", out, str(archive))
        self.assertIn(done.returncode, (2, 65) if first < self.head else (2,), done.stderr)
        lost = {}
        for name, begin, end in re.findall(r": (\S+): sectors? (\d+)(?: to (\d+))?", done.stderr):
            lost.setdefault(name, set()).update(range(int(begin), int(end or begin) + 1))
        if done.returncode == 2:
            self.assertEqual(self.wrong_files(out, lost), [], f"neither restored nor listed\n{done.stderr}")

    def wrong_files(self, out, lost):
        """What differs from the packed layers apart from `lost`, the sectors that were called so."""
        wrong = []
        for name, layer in self.images.items():
            path = os.path.join(out, name)
            if not os.path.exists(path):
                if lost and len(lost.get(name, ())) < layer.sectors:
                    wrong.append(f"{name} is missing")
                continue
            found = open_chain(path).layers[0]
            ours, theirs = (
                {sector: one.read(sector, sector + 1) for run in one.runs for sector in range(*run)}
                for one in (layer, found)
            )
            for sector in range(layer.sectors):
                if sector not in lost.get(name, ()) and ours.get(sector) != theirs.get(sector):
                    wrong.append(f"{name}: sector {sector}")
                    break
        return wrong

    def test_the_archive_itself_is_sound(self):
        done = self.run_limited("verify", str(self.folder / "fleet.drover"))
        self.assertEqual(done.returncode, 0, done.stderr)
        Path(self.path("a.drover")).write_bytes(self.data)
        self.assertEqual(self.run_limited("unpack", "-C", self.path("out"), self.path("a.drover")).returncode, 0)
        self.assertEqual(self.wrong_files(self.path("out"), {}), [])

    def test_flipped_bits(self):
        bits = range(8 * len(self.data))
        flips = bits if ALL else sorted(random.Random(SEED).sample(bits, FLIPS))
        for number, bit in enumerate(flips):
            data = bytearray(self.data)
            data[bit // 8] ^= 1 << bit % 8
            self.check(bytes(data), f"bit {bit % 8} of byte {bit // 8}", number % UNPACKED == 0, bit // 8)

    def test_cut_tails(self):
        edges = {end + more for frame in self.frames[:-1] for end in [frame.end] for more in (-1, 0, 1)}
        lengths = range(len(self.data))
        cuts = lengths if ALL else sorted(edges | set(random.Random(SEED).sample(lengths, CUTS)))
        for number, length in enumerate(cuts):
            self.check(self.data[:length], f"cut to {length} bytes", number % UNPACKED == 0, length)

    def isDrawn(self, one_in):
        """Whether this is one of so many that a normal run tries."""
        return ALL or DRAWN.randrange(one_in) == 0

    def joined(self, pieces):
        return b"".join(frame.of(self.data) for frame in pieces)

    def test_swapped_repeated_and_removed_frames(self):
        for number, frame in enumerate(self.frames):
            rest = self.frames[:number], self.frames[number + 1 :]
            self.check(self.joined([*rest[0], *rest[1]]), f"frame {number} removed", self.isDrawn(3), frame.start)
            self.check(self.joined([*rest[0], frame, frame, *rest[1]]), f"frame {number} repeated", self.isDrawn(3), frame.start)
            for other in range(number + 1, len(self.frames)):
                swapped = list(self.frames)
                swapped[number], swapped[other] = swapped[other], frame
                self.check(self.joined(swapped), f"frames {number} and {other} swapped", self.isDrawn(10), frame.start)

    def test_removed_and_repeated_runs_of_frames(self):
        for first in range(2, len(self.frames)):
            for last in range(first + 2, len(self.frames)):
                before, run, after = self.frames[:first], self.frames[first:last], self.frames[last:]
                start = self.frames[first].start
                self.check(self.joined([*before, *after]), f"frames {first} to {last - 1} removed", False, start)
                self.check(self.joined([*before, *run, *run, *after]), f"frames {first} to {last - 1} repeated", False, start)

    def test_frames_from_another_archive_of_the_same_fleet(self):
        theirs = frames(self.other)
        self.assertEqual(len(theirs), len(self.frames))
        for number in range(3, len(self.frames)):
            for last in range(number + 1, len(self.frames) + 1):
                pieces = [frame.of(self.data) for frame in self.frames]
                pieces[number:last] = [frame.of(self.other) for frame in theirs[number:last]]
                data = b"".join(pieces)
                if data not in (self.data, self.other):
                    what = f"frames {number} to {last - 1} of another archive"
                    ours = last <= len(self.frames) - 2  # index and trailer say whose archive it is
                    self.check(data, what, self.isDrawn(12), self.frames[number].start, ours)

    def test_something_behind_it(self):
        empty_frame, skippable = self.data[: self.frames[0].end], b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
        for tail in (b"\0", b"x", bytes(512), empty_frame, skippable, self.data, self.frames[-1].of(self.data)):
            self.check(self.data + tail, f"{len(tail)} bytes {tail[:8]!r} behind it", True, len(self.data))

    def test_something_before_it_or_in_it(self):
        for piece in (b"\0", bytes(512), self.data[: self.frames[0].end], b"\x50\x2a\x4d\x18\x04\0\0\0abcd"):
            for at in (frame.start for frame in self.frames):
                self.check(self.data[:at] + piece + self.data[at:], f"{len(piece)} bytes put in at {at}", self.isDrawn(8), at)

    def test_bytes_overwritten(self):
        rng = random.Random(SEED)
        for number in range(2000 if ALL else 100):
            data, at = bytearray(self.data), rng.randrange(len(self.data))
            length = min(rng.choice((1, 2, 4, 8, 512, 4096)), len(data) - at)
            data[at : at + length] = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
            if bytes(data) != self.data:
                self.check(bytes(data), f"{length} bytes at {at}", number % UNPACKED == 0, at)

    def test_a_version_byte_that_was_changed(self):
        for frame in (frame for frame in self.frames if frame.is_record):
            for version in (0, 1, 3, 255):
                data = bytearray(self.data)
                data[frame.start + 12] = version
                self.check(bytes(data), f"version {version} at {frame.start}", self.isDrawn(4), frame.start)

    def test_an_unknown_version_is_refused_by_name(self):
        for writer in (ArchiveWriter([layer("base.img")], version=3), ArchiveWriter([layer("base.img")], header_version=3)):
            archive = Path(self.path("version.drover"))
            archive.write_bytes(writer.bytes())
            out = self.path("out")
            for arguments in (["list"], ["verify"], ["unpack", "-C", out], ["unpack", "--salvage", "-C", out]):
                done = self.run_limited(*arguments, str(archive))
                self.assertEqual(done.returncode, 65, f"{arguments}: {done.stderr}")
                self.assertRegex(done.stderr, r"version (is )?3\b")
                self.assertFalse(os.path.exists(out) and os.listdir(out), "something was restored")
