"""Real power cuts on ext4 and XFS: what a command called done is there, and what it did not is gone on with.

They need root and loop devices; elsewhere the tests say that they were left out. `make powercut CYCLES=1000` does more of the
random ones, whose seed is `DROVER_SEED`.
"""

import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

import harness
import needs
from harness import REPOSITORY, DroverCase, required_tool

sys.path.insert(0, str(REPOSITORY / "Tests" / "Crash"))

from powercut import Bench, cut_power, scratch, what_is_missing  # noqa: E402
from shim import Fault, build_shim  # noqa: E402

# A program that syncs when it is watched alone, and not when something is to happen: what a power cut must find.
PLANTED = f"""#!{sys.executable} -SE
import os, sys
target, syncs = sys.argv[-1], "CRASH_AT" not in os.environ
with open(sys.argv[-2], "rb") as source, open(target + ".partial", "wb", buffering=0) as file:
    file.write(source.read())
    if syncs:
        os.fsync(file.fileno())
os.rename(target + ".partial", target)
if syncs:
    os.fsync(os.open(os.path.dirname(target), os.O_RDONLY))
"""
CYCLES, LONGEST = 20, 30  # seconds; what is not done by then is left to other seeds
KINDS = ("ext4", "xfs")


class PowerCutTests(DroverCase):
    def setUp(self):
        super().setUp()
        for name in ("mkfs.ext4", "mkfs.xfs", "mount", "umount", "losetup"):
            required_tool(name)
        missing = what_is_missing()
        needs.need(not missing, "power cuts", f"{missing}; root, and modprobe loop; of a container: --privileged")
        self.library = build_shim(self.path(""))
        place = tempfile.mkdtemp(prefix="drover-powercut-", dir=scratch())
        self.addCleanup(shutil.rmtree, place, ignore_errors=True)
        self.bench = Bench(os.path.realpath(place), self.library)
        self.addCleanup(self.bench.close)

    def assert_holds(self, kind, name, fault, seed=0):
        with self.subTest(disk=kind, command=name, fault=str(fault)):
            wrong = self.bench.cycle(kind, name, fault, seed)
            if wrong:
                self.fail(f"\nTests/Crash/powercut.py --cycle {kind},{name},{fault},{seed}\n" + "\n".join(wrong))

    def calls(self, kind, name, *operations):
        return [call for call in self.bench.stage(kind, name)[1].calls if call.operation in operations]

    def test_every_promise_holds_after_random_cuts(self):
        seed = int(os.environ.get("DROVER_SEED") or random.randrange(10**6))
        done, failures = cut_power(CYCLES, seed, LONGEST)
        print(f"{done} power cuts, DROVER_SEED={seed} ", end="", file=sys.stderr, flush=True)
        if failures:
            self.fail("\n" + "\n".join(f"Tests/Crash/powercut.py {text}" for text in failures))

    def test_a_planted_fault_is_found(self):
        planted = Path(self.path("planted"))
        planted.write_text(PLANTED)
        planted.chmod(0o755)
        self.addCleanup(setattr, harness, "DROVER", harness.DROVER)
        harness.DROVER = str(planted)
        for kind in KINDS:
            wrong = self.bench.cycle(kind, "convert-raw", Fault(99, "cut=2"))
            self.assertIn("after a power cut, and the command had said 0", "\n".join(wrong), kind)

    def test_a_name_that_a_killed_run_gave_is_durable_when_the_next_one_says_so(self):
        """A run dies between its rename and the folder's sync, or that sync fails; the next one finds the target and says 0."""
        for kind in KINDS:
            for name in ("convert-raw", "pack", "unpack", "run-keep"):
                calls = self.bench.stage(kind, name)[1].calls
                rename = max(call.number for call in calls if call.operation == "rename" and call.second)
                self.assert_holds(kind, name, Fault(rename, "kill", "after"))
                sync = next((call.number for call in calls if call.number > rename and call.operation == "sync"), None)
                self.assertIsNotNone(sync, f"{name}: nothing is synced behind the last rename")
                self.assert_holds(kind, name, Fault(sync, "fail=EIO"))

    def test_a_manifest_of_which_later_pages_were_written_first_is_not_believed(self):
        """The job is written, or records are, and the disk has some pages of it in any order when the power goes."""
        rng = random.Random(int(os.environ.get("DROVER_SEED") or 5))
        for kind in KINDS:
            for name in ("run-stale-wide", "convert-long"):
                writes = [call.number for call in self.calls(kind, name, "write", "sync") if call.path.endswith(".manifest")]
                for number in (writes[1], *rng.sample(writes[2:-1], 1)):
                    self.assert_holds(kind, name, Fault(number, f"pages={rng.choice((1, 2))}"), rng.randrange(10**6))
                # The completion and not all of what stands before it.
                self.assert_holds(kind, name, Fault(writes[-1], "pages=1"), rng.randrange(2))
