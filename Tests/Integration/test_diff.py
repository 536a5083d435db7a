"""`convert -B BACKING --diff`: an overlay that holds just what differs, against a model.

`DROVER_DIFF` says how many random pairs (default 30), `DROVER_SEED` repeats a run: it is printed at the start.
"""

import os
import random
import re
import sys
import time
from pathlib import Path

from chains import random_chain
from harness import MIB, SECTOR, DroverCase, binary, drover, fingerprint, records, run_tool, start
from moves import make_image

COUNT = int(os.environ.get("DROVER_DIFF", "30"))
SEED = os.environ.get("DROVER_SEED") or str(random.SystemRandom().randrange(10**9))


class DiffTests(DroverCase):
    def pair(self, chance, size):
        """A raw base and a raw disk that differs from it here and there; the base may be longer or shorter."""
        base = bytearray(chance.randbytes(4096) * (size // 4096 + 1))[:size]
        for _ in range(chance.randrange(6)):
            start = chance.randrange(size // SECTOR) * SECTOR
            base[start : start + chance.randrange(size)] = bytes(len(base[start : start + chance.randrange(size)]))
        base = base[:size].ljust(size, b"\0")
        disk = bytearray(base)
        for _ in range(chance.randrange(12)):
            start = chance.randrange(size)
            count = min(int(2 ** chance.uniform(0, 20)), size - start)
            disk[start : start + count] = chance.choice((bytes(count), chance.randbytes(count), b"\5" * count))
        return bytes(base), bytes(disk)

    def write(self, name, data):
        """A raw file in which zeros may be holes."""
        path = self.path(name)
        with open(path, "wb") as file:
            for offset in range(0, len(data), 4096):
                piece = data[offset : offset + 4096]
                if any(piece) or offset % 3 == 0:
                    file.seek(offset)
                    file.write(piece)
            file.truncate(len(data))
        return path

    def held(self, target):
        extents = self.succeeds("map", "--output", "json", target).json()
        return {sector for e in extents if e["depth"] == 0 and e["present"]
                for sector in range(e["start"] // SECTOR, (e["start"] + e["length"]) // SECTOR)}

    def test_it_holds_the_pieces_that_differ_and_no_others(self):
        print(f"DROVER_SEED={SEED} DROVER_DIFF={COUNT}", file=sys.stderr, flush=True)
        for number in range(COUNT):
            chance = random.Random(f"{SEED}-{number}")
            size = chance.randrange(1, 9000) * SECTOR
            base, disk = self.pair(chance, size)
            layout = chance.choice(("uml-v3", "uml-v2", "qemu-v2", 512, 4096, 65536, MIB))
            if layout not in ("uml-v3", "uml-v2"):
                base = base[: chance.randrange(1, size // SECTOR + 1) * SECTOR] if chance.random() < 0.3 else base
                base += chance.randbytes(chance.randrange(3) * 70 * SECTOR) if chance.random() < 0.3 else b""
            options = ("-O", "qcow2", "-o", f"cluster_size={layout}") if isinstance(layout, int) else ("-O", "cow", "-o", f"layout={layout}")
            options += chance.choice(((), ("--segment", "1M"), ("--jobs", "1"), ("-S", "0")))
            unit = layout if isinstance(layout, int) else SECTOR
            with self.subTest(f"{SEED}-{number} {options}"):
                source, backing, target = self.write("disk.raw", disk), self.write("base.raw", base), self.path("target")
                shown = base[:size].ljust(size, b"\0")
                expected = {sector for start in range(0, size, unit) if disk[start : start + unit] != shown[start : start + unit]
                            for sector in range(start // SECTOR, min(start + unit, size) // SECTOR)}
                arguments = ("convert", "--force", "-B", backing, "-F", "raw", "--diff", "-f", "raw", *options, source, target)
                if layout == "uml-v2" and max(expected, default=0) >= size // SECTOR // 8 * 8:
                    self.assertIn("has no bits", self.fails(65, *arguments).err)
                    continue
                self.succeeds(*arguments)
                self.succeeds("verify", target)
                self.succeeds("convert", "--force", target, self.path("back.raw"))
                self.assert_same_file(self.path("back.raw"), source)
                self.assertEqual(self.held(target), expected)
                if unit > SECTOR or isinstance(layout, int):
                    run_tool("qemu-img", "check", "-q", target)
                    run_tool("qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", source, target)

    def test_random_chains_become_overlays_of_other_ones(self):
        for number in range(COUNT // 3):
            folders = [Path(self.path(f"{number}{side}")) for side in "ab"]
            for folder in folders:
                folder.mkdir()
            source, other = (random_chain(f"{SEED}-diff-{number}-{folder.name}", folder).top for folder in folders)
            raw, base, target = self.path("disk.raw"), self.path("base.raw"), self.path("target.qcow2")
            with self.subTest(f"{SEED}-diff-{number}"):
                if drover("convert", "--force", source, raw).code or drover("convert", "--force", other, base).code:
                    continue
                before = fingerprint(path for folder in folders for path in folder.rglob("*") if path.is_file())
                self.succeeds("convert", "--force", "-O", "qcow2", "-B", base, "-F", "raw", "--diff", source, target)
                run_tool("qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", raw, target)
                self.assertEqual(fingerprint(path for folder in folders for path in folder.rglob("*") if path.is_file()), before)

    def test_what_comes_from_the_base_is_not_read(self):
        """A flattened copy of an overlay becomes that overlay again; over its own chain's base no byte of that is read."""
        base, image = make_image(self.scratch, 64)
        flat, again = self.path("flat.raw"), self.path("again.cow")
        self.succeeds("convert", image, flat)
        self.succeeds("convert", "-O", "cow", "-B", base, "--diff", flat, again)
        self.succeeds("compare", flat, again)
        self.assertLessEqual(self.held(again), self.held(image))
        target, trace = self.path("kept.cow"), self.path("trace")
        run_tool("strace", "-f", "-qq", "-o", trace, "-e", "trace=read,pread64,preadv,preadv2", "-P", base,
                 binary(), "convert", "-q", "-O", "cow", "-B", base, "--diff", image, target)
        self.assertEqual(self.held(target), self.held(again))
        read = sum(int(line.rsplit("=", 1)[1]) for line in Path(trace).read_text().splitlines() if re.search(r"= \d+$", line))
        self.assertLess(read, 2 * SECTOR * len(self.held(image)) + MIB)

    def test_a_killed_move_goes_on_and_another_job_does_not(self):
        base, image = make_image(self.scratch, 64)
        flat, target = self.path("flat.raw"), self.path("target.cow")
        self.succeeds("convert", image, flat)
        whole = self.path("whole.cow")
        self.succeeds("convert", "-O", "cow", "-B", base, "--diff", flat, whole)
        process = start("convert", "-q", "--segment", "1M", "--rate", "6M", "-O", "cow", "-B", base, "--diff", flat, target)
        time.sleep(1)
        process.kill()
        process.communicate()
        self.assert_absent(target)
        self.succeeds("convert", "--segment", "1M", "-O", "cow", "-B", base, "--diff", flat, target)
        self.assertTrue(records(target)[0]["options"]["diff"])
        self.assert_same_file(target, whole)
        self.fails(73, "convert", "--segment", "1M", "-O", "cow", "-B", base, image, target)

    def test_it_needs_a_backing_file(self):
        _, image = make_image(self.scratch, 2)
        self.assertIn("-B", self.fails(64, "convert", "-O", "cow", "--diff", image, self.path("target.cow")).err)
        self.fails(64, "convert", "--diff", image, "-")
