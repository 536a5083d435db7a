"""A fleet moved by a Slurm array on three nodes, one of which dies; and by one that is told to stop."""

import os
import time
import unittest
from pathlib import Path

from fleets import make_fleet, read_overlay
from harness import REPOSITORY, DroverCase, binary, records
from slurm import LocalSlurm

SCRIPT = str(REPOSITORY / "Pipelines" / "slurm" / "migrate.sbatch")
PIPELINE = """
sources: [guests/*.cow]
target: {directory: migrated, format: cow, keep-chain: true}
"""


class SlurmArray(DroverCase):
    def setUp(self):
        super().setUp()
        self.fleet = make_fleet(self.scratch / "fleet", guests=60, bases=3, size=4 << 20)
        self.pipeline = self.fleet.pipeline(PIPELINE)
        os.environ["DROVER"] = binary()
        (self.scratch / "slurm").mkdir()
        self.slurm = LocalSlurm(self.scratch / "slurm", nodes=3)
        self.slurm.__enter__()
        self.addCleanup(self.slurm.__exit__)

    def submit(self, *options, array="1-3"):
        return self.slurm.run("sbatch", "--parsable", f"--array={array}", SCRIPT, self.pipeline, *options, cwd=self.scratch).strip()

    def log(self):
        return "\n".join(f"{p.name}: {p.read_text()}" for p in sorted(self.scratch.glob("drover-*.log")))

    def wait_until_complete(self, job, seconds=90):
        def isDone(states):
            self.assertNotIn("FAILED", states.values(), self.log())
            return len(states) >= 3 and set(states.values()) == {"COMPLETED"}

        self.slurm.wait_until(job, isDone, seconds, "the array to complete")

    def wait_for_targets(self, count, seconds=30):
        deadline = time.monotonic() + seconds
        while len(list((self.fleet.root / "migrated").glob("*.cow"))) < count:
            self.assertLess(time.monotonic(), deadline, f"no {count} targets\n{self.log()}")
            time.sleep(0.05)

    def assert_whole(self):
        for name in self.fleet.guests:
            self.assertEqual(read_overlay(self.fleet.root / f"migrated/{name}.cow"), self.fleet.disks[name], name)
        self.assertEqual([str(p) for p in Path(self.fleet.root).rglob("*.partial")], [])
        self.assertEqual(self.succeeds("status", "--output", "json", self.pipeline).json()["totals"], {"done": 63})
        for base in (self.fleet.root / "migrated/bases").glob("*.raw"):
            self.assertEqual(len([r for r in records(base) if r["record"] == "job"]), 1)

    def test_a_node_dies_and_the_fleet_is_whole(self):
        job = self.submit("--rate", "2M")
        self.wait_for_targets(3)
        node = self.slurm.node_of(job, 2)
        self.slurm.kill_node(node)
        time.sleep(1)
        self.slurm.start_node(node)
        self.wait_until_complete(job)
        self.assert_whole()

    def test_a_task_that_is_told_to_stop_is_queued_again_and_goes_on(self):
        job = self.submit("--rate", "1M")
        self.wait_for_targets(2)
        self.slurm.run("scancel", "--batch", "--signal=TERM", f"{job}_1")
        deadline = time.monotonic() + 30
        while "queued again" not in self.log():
            self.assertLess(time.monotonic(), deadline, self.log())
            time.sleep(0.1)
        self.wait_until_complete(job, 120)
        self.assert_whole()

    def test_a_task_that_is_cancelled_stays_so_and_the_next_goes_on(self):
        job = self.submit("--rate", "1M")
        self.wait_for_targets(2)
        self.slurm.run("scancel", job)
        self.slurm.wait_until(job, lambda states: set(states.values()) == {"CANCELLED"}, 60, "the array to be cancelled")
        time.sleep(5)
        self.assertNotIn("queued again", self.log())
        self.assertEqual(self.slurm.run("squeue", "-h", "-j", job).strip(), "")
        self.wait_until_complete(self.submit(), 120)
        self.assert_whole()

    def test_run_again_nothing_is_done(self):
        job = self.submit()
        self.wait_until_complete(job)
        self.assert_whole()
        before = {p: p.stat().st_ino for p in (self.fleet.root / "migrated").rglob("*.cow")}
        self.wait_until_complete(self.submit())
        self.assertEqual({p: p.stat().st_ino for p in (self.fleet.root / "migrated").rglob("*.cow")}, before)


if __name__ == "__main__":
    unittest.main()
