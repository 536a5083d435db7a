"""A fleet that was moved goes on living: sources go away and move, targets are written to, and nothing is lost out of sight."""

import os
import random
import shutil
import time
from pathlib import Path

from archives import make_fleet
from harness import MIB, DroverCase, drover, digest


class AfterwardsTests(DroverCase):
    def setUp(self):
        super().setUp()
        self.fleet = self.scratch / "fleet"
        (self.fleet / "guests").mkdir(parents=True)
        for number in range(4):
            (self.fleet / "guests" / f"{number}.img").write_bytes(random.Random(number).randbytes(MIB))
        self.pipelines = {
            name: self.fleet / f"{name}.yaml" for name in ("convert", "verify")
        }
        for operation, path in self.pipelines.items():
            path.write_text(f"version: 1\noperation: {operation}\nsources: ['guests/*.img']\ntarget:\n  directory: out\n  format: raw\n")
        time.sleep(0.05)
        self.succeeds("run", self.pipelines["convert"])

    def states(self):
        items = self.succeeds("status", "--output", "json", self.pipelines["convert"]).json()["items"]
        return {os.path.basename(item["target"]): (item["role"], item["state"]) for item in items}

    def test_targets_whose_sources_are_gone(self):
        os.remove(self.fleet / "guests/1.img")
        self.assertEqual(self.states()["1.raw"], ("orphan", "done"))
        self.assertIn("4 targets: 4 done (1 orphan: the sources are gone)", self.succeeds("status", self.pipelines["convert"]).out)
        self.assertIn("4 targets", self.succeeds("run", self.pipelines["verify"]).out)
        with open(self.fleet / "out/1.raw", "r+b") as file:
            file.seek(5000)
            file.write(b"damage")
        result = drover("run", self.pipelines["verify"])
        self.assertEqual((result.code, "1.img" in result.out + result.err), (1, True), result)
        self.assertEqual(self.states()["1.raw"], ("orphan", "altered"))
        # Nothing is made of it, and nothing of it is touched.
        before = digest(self.fleet / "out/1.raw")
        self.assertIn("3 targets", self.succeeds("run", self.pipelines["convert"]).out)
        self.assertEqual(digest(self.fleet / "out/1.raw"), before)
        self.succeeds("report", self.pipelines["convert"], "--html", self.path("report.html"))
        self.assertIn("1.img", Path(self.path("report.html")).read_text())

    def test_all_sources_are_gone(self):
        shutil.rmtree(self.fleet / "guests")
        self.assertEqual(set(self.states().values()), {("orphan", "done")})
        self.succeeds("run", self.pipelines["verify"])
        os.remove(self.fleet / "out/2.raw")
        self.assertEqual(drover("run", self.pipelines["verify"]).code, 1)
        self.assertIn("matches no file", self.fails(65, "run", self.pipelines["convert"]).err)
        shutil.rmtree(self.fleet / "out")
        self.assertIn("matches no file", self.fails(65, "status", self.pipelines["convert"]).err)

    def test_another_pipelines_targets_are_no_orphans(self):
        other = self.fleet / "other.yaml"
        other.write_text("version: 1\noperation: convert\nsources: ['guests/0.img']\ntarget:\n  directory: out\n  format: raw\n")
        self.assertEqual(len(self.succeeds("status", "--output", "json", other).json()["items"]), 1)

    def test_sources_that_moved_are_the_same(self):
        base = make_fleet(self.scratch / "herd", 3, 1, sectors=3000, seed=1)
        pipeline = self.scratch / "herd.yaml"

        pattern = os.path.relpath(os.path.dirname(base.images[0]), self.scratch / "herd")
        text = ("version: 1\nsources: ['{place}/{pattern}/*.cow']\nbacking-map: {{'{scratch}/herd': '{scratch}/{place}'}}\n"
                "target:\n  directory: moved\n  format: cow\n  keep-chain: true\n  name: '{{name}}.{{format}}'\n")
        pipeline.write_text(text.format(place="herd", pattern=pattern, scratch=self.scratch))
        time.sleep(0.05)
        self.succeeds("run", pipeline)
        os.rename(self.scratch / "herd", self.scratch / "elsewhere")
        pipeline.write_text(text.format(place="elsewhere", pattern=pattern, scratch=self.scratch))
        again = self.succeeds("run", "--output", "json", pipeline).json()
        self.assertEqual({item["outcome"] for item in again["items"]}, {"up-to-date"}, again)

    def test_a_target_and_its_source_that_both_changed_need_a_decision(self):
        source, target = self.fleet / "guests/2.img", self.fleet / "out/2.raw"
        with open(target, "r+b") as file:
            file.write(b"written by a guest")
        self.succeeds("run", self.pipelines["convert"])  # it alone is left alone
        with open(source, "r+b") as file:
            file.write(b"changed, too")
        time.sleep(0.05)
        before = digest(target)
        for _ in range(3):
            result = drover("run", self.pipelines["convert"])
            self.assertEqual(result.code, 1, result)
            self.assertEqual((result.out + result.err).count("--force makes it again"), 1)  # told once
            quiet = drover("run", "-q", self.pipelines["convert"])
            self.assertEqual((quiet.code, quiet.out, quiet.err), (1, "", result.err))
            self.assertIn("exclude", result.out + result.err)
            self.assertEqual(digest(target), before)
        self.assertEqual(drover("plan", self.pipelines["convert"]).code, 1)
        self.succeeds("run", "--force", self.pipelines["convert"], "2.img")
        self.assertEqual(digest(target), digest(source))
        self.succeeds("run", self.pipelines["convert"])
