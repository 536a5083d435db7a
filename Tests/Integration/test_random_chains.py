"""Random chains of all layouts, converted, mapped and looked at, against the independent reference.

`DROVER_CHAINS` says how many (default 100), `DROVER_SEED` repeats a run: it is printed at the start.
"""

import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

from chains import random_chain
from harness import SECTOR, DroverCase, drover, fingerprint, is_zero, records
from overlay_rules import WRITTEN_LAYOUTS, can_hold, overlay_allocation
from reference import merge, open_chain

COUNT = int(os.environ.get("DROVER_CHAINS", "40"))
SEED = os.environ.get("DROVER_SEED") or str(random.SystemRandom().randrange(10**9))
RAW_OPTIONS = ((), (), ("--jobs", "1"), ("--jobs", "4"), ("-S", "64k"), ("-S", "0"), ("--segment", "1M"))
MOST_FAILURES = 5  # a test that failed for so many chains has said enough


class RandomChainTests(DroverCase):
    @classmethod
    def setUpClass(cls):
        print(f"DROVER_SEED={SEED} DROVER_CHAINS={COUNT}", file=sys.stderr, flush=True)
        cls.folder = Path(tempfile.mkdtemp(prefix="drover-chains-")).resolve()
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.chains = []
        for number in range(COUNT):
            folder = cls.folder / str(number)
            folder.mkdir()
            made = random_chain(f"{SEED}-{number}", folder)
            cls.chains.append((made, fingerprint(made.files)))

    def each_chain(self, check):
        """Calls `check(made, reference)` for every chain, whose files must be as before afterwards."""
        failures = 0
        for made, before in self.chains:
            passed = False
            with self.subTest(str(made)):
                check(made, open_chain(made.top))
                self.assertEqual(fingerprint(made.files), before, "a source was changed")
                passed = True
            failures += not passed
            if failures == MOST_FAILURES:
                return
            for path in self.scratch.iterdir():
                path.unlink()

    def assert_reads_as(self, path, chain):
        with open(path, "rb") as file:
            self.assert_same_bytes(file, chain.pieces(), path)

    def test_the_reference_agrees_with_the_generator(self):
        self.each_chain(self.check_reference)

    def check_reference(self, made, chain):
        self.assertEqual([os.path.realpath(layer.path) for layer in chain.layers], [i.path for i in made.images])
        self.assertTrue(chain.guest() == made.guest, "the two witnesses disagree; a bug of these tests")

    def test_flattened_to_raw(self):
        self.each_chain(self.check_raw)

    def check_raw(self, made, chain):
        target = self.path("out.raw")
        options = random.Random(made.seed).choice(RAW_OPTIONS)
        self.succeeds("convert", "-O", "raw", *options, made.top, target)
        self.assert_reads_as(target, chain)
        self.assert_absent(f"{target}.partial")
        self.assertEqual([records(target)[0]["record"], records(target)[-1]["record"]], ["job", "complete"])
        if "-S" not in options:
            self.assert_sparse(target, chain)
        self.succeeds("compare", "-F", "raw", made.top, target)  # its bytes may be those of a COW file
        self.succeeds("verify", target)

    def assert_sparse(self, target, chain):
        """Pages that are zero take no space."""
        page, guest = 4096, chain.guest()
        filled = sum(not is_zero(guest[at : at + page]) for at in range(0, len(guest), page))
        taken = os.stat(target).st_blocks * 512
        self.assertLessEqual(taken, filled * page * 1.05 + 65536, "zeros take space in the target")

    def test_flattened_to_cow(self):
        self.each_chain(self.check_flattened_cow)

    def check_flattened_cow(self, made, chain):
        target, back = self.path("out.cow"), self.path("back.raw")
        refused = self.fails(65, "convert", "-O", "cow", made.top, target)
        self.assertIn("qemu-v2", refused.err, "the error names a layout that needs no backing file")
        self.assert_absent(target, f"{target}.partial")
        self.succeeds("convert", "-O", "cow", "-o", "layout=qemu-v2", made.top, target)
        written = open_chain(target)
        self.assertEqual((len(written.layers), written.sectors), (1, chain.sectors))
        self.assertTrue(written.guest() == chain.guest(), "the written COW file shows other bytes")
        self.succeeds("convert", target, back)
        self.assert_reads_as(back, chain)

    def test_overlays_keep_their_backing_file(self):
        self.each_chain(self.check_overlays)

    def check_overlays(self, made, chain):
        bottom = len(chain.layers) - 1
        depths = {bottom, random.Random(made.seed).randint(1, bottom)} if bottom else set()
        for depth in depths:
            allocation = overlay_allocation(chain, depth)
            for layout in WRITTEN_LAYOUTS:
                self.check_overlay(made, chain, depth, layout, allocation)

    def check_overlay(self, made, chain, depth, layout, allocation):
        base, target = made.images[depth].path, self.path(f"{depth}-{layout}.cow")
        arguments = ("convert", "-O", "cow", "-B", base, "-o", f"layout={layout}", made.top, target)
        possible = can_hold(chain, depth, layout, allocation)
        if possible is False:
            self.fails(65, *arguments)
        elif possible is True:
            self.succeeds(*arguments)
        else:
            result = drover(*arguments)
            self.assertIn(result.code, (0, 65), f"\n{result}")
            possible = result.code == 0
        if not possible:
            self.assert_absent(target, f"{target}.partial")
            return
        written, what = open_chain(target), f"{layout} over layer {depth}, {base}"
        self.assertEqual(written.layers[0].header.layout.name, layout)
        self.assertTrue(os.path.samefile(written.layers[1].path, base), f"{what}: names {written.layers[1].path}")
        self.assertTrue(written.guest() == chain.guest(), f"{what}: shows other bytes")
        found = {sector for run in written.layers[0].runs for sector in range(*run)}
        self.assertEqual(sorted(allocation.must - found)[:5], [], f"{what}: bits are missing")
        self.assertEqual(sorted(found - allocation.must - allocation.may)[:5], [], f"{what}: bits too many")
        back = f"{target}.raw"
        self.succeeds("convert", target, back)
        self.assert_reads_as(back, chain)
        self.succeeds("check", target)

    def test_map(self):
        self.each_chain(self.check_map)

    def check_map(self, made, chain):
        entries = self.succeeds("map", "--output", "json", made.top).json()
        self.assertEqual(merge(entries), chain.block_map())
        guest = chain.guest()
        for entry in entries:
            start, end = entry["start"], entry["start"] + entry["length"]
            if entry["zero"]:
                self.assertTrue(is_zero(guest[start:end]), f"zero over data: {entry}")
            if not entry["data"]:
                self.assertTrue(is_zero(guest[start:end]), f"data false over data: {entry}")
                if entry["present"]:
                    self.assert_hole(chain.layers[entry["depth"]], entry)
        self.succeeds("map", made.top)

    def assert_hole(self, layer, entry):
        with open(layer.path, "rb") as file:
            try:
                data = os.lseek(file.fileno(), entry["offset"], os.SEEK_DATA)
            except OSError:  # no data up to the end of the file
                return
            self.assertGreaterEqual(data, entry["offset"] + entry["length"], f"data false over no hole: {entry}")

    def test_info_check_and_measure_agree(self):
        self.each_chain(self.check_facts)

    def check_facts(self, made, chain):
        guest = chain.guest()
        self.succeeds("check", made.top)
        self.succeeds("check", "--output", "json", made.top).json()
        facts = self.succeeds("info", "--output", "json", made.top).json()
        self.assertEqual(facts["virtual-size"], len(guest))
        self.assertTrue(os.path.samefile(facts["filename"], made.top))
        self.assertIn(chain.layers[0].header.layout.name, self.succeeds("info", made.top).out)
        whole = self.succeeds("info", "--backing-chain", "--output", "json", made.top).json()
        self.assertEqual([item["virtual-size"] for item in whole], [layer.sectors * SECTOR for layer in chain.layers])
        needs = self.succeeds("measure", "-O", "raw", "--output", "json", made.top).json()
        filled = sum(not is_zero(guest[at : at + SECTOR]) for at in range(0, len(guest), SECTOR))
        self.assertEqual(needs["fully-allocated"], len(guest))
        self.assertLessEqual(filled * SECTOR, needs["required"])
        self.assertLessEqual(needs["required"], needs["fully-allocated"])

    def test_compare_finds_the_first_sector_that_differs(self):
        self.each_chain(self.check_compare)

    def check_compare(self, made, chain):
        guest, other = bytearray(chain.guest()), self.path("other.raw")
        at = random.Random(made.seed).randrange(len(guest))
        guest[at] ^= 0x40
        Path(other).write_bytes(guest)
        differ = self.succeeds("compare", "-F", "raw", made.top, other, code=1)
        self.assertRegex(differ.out + differ.err, rf"\b{at // SECTOR}\b")
        self.succeeds("compare", "-f", "raw", "--output", "json", other, made.top, code=1).json()
        guest[at] ^= 0x40
        Path(other).write_bytes(guest + bytes(SECTOR))
        self.succeeds("compare", "-F", "raw", made.top, other, code=1)
        self.succeeds("compare", "-F", "raw", "--ignore-size", made.top, other)
