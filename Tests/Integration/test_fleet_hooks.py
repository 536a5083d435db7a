"""What the system around a run is told: figures for Prometheus, hooks, and the systemd units."""

import json
import os
import random
import re
import shutil
import subprocess
import time
from pathlib import Path

from harness import MIB, REPOSITORY, DroverCase, binary, drover, run_tool

SAMPLE = re.compile(r'^(drover_run_\w+)\{pipeline="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(?:,outcome="([a-z-]+)")?\} (-?\d+(?:\.\d+)?)$')


class HookTests(DroverCase):
    def setUp(self):
        super().setUp()
        (self.scratch / "guests").mkdir()
        for number in range(3):
            (self.scratch / "guests" / f"{number}.img").write_bytes(random.Random(number).randbytes(MIB))
        time.sleep(0.05)

    def pipeline(self, text, name="fleet.yaml"):
        path = self.scratch / name
        path.write_text(f"version: 1\nsources: ['guests/*.img']\ntarget:\n  directory: out\n{text}")
        return path

    def hook(self, name, script, mode=0o755):
        path = self.scratch / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(mode)
        return name

    def samples(self, path):
        """The figures of a file, as strict as a collector's parser: HELP and TYPE first, one family after the other."""
        found, family = {}, None
        text = Path(path).read_text()
        self.assertTrue(text.endswith("\n"))
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                self.assertEqual(line, f"# TYPE {family} gauge")
            elif line.startswith("# HELP "):
                family = line.split()[2]
                self.assertNotIn(family, found)
            else:
                name, _, outcome, value = SAMPLE.fullmatch(line).groups()
                self.assertEqual(name, family)
                found.setdefault(name, {})[outcome] = float(value)
        return found

    def test_figures(self):
        pipeline = self.pipeline("metrics: figures.prom\n", 'a "fleet".yaml')
        before = time.time()
        self.succeeds("run", pipeline)
        figures = self.samples(self.path("figures.prom"))
        self.assertEqual(figures["drover_run_targets"]["done"], 3)
        self.assertEqual((figures["drover_run_exit_code"][None], figures["drover_run_running"][None]), (0, 0))
        self.assertLessEqual(before - 1, figures["drover_run_began_seconds"][None])
        self.assertGreaterEqual(figures["drover_run_ended_seconds"][None], figures["drover_run_began_seconds"][None])
        self.assertEqual(figures["drover_run_bytes"][None], 3 * MIB)
        self.assertEqual(os.stat(self.path("figures.prom")).st_mode & 0o777, 0o644)
        self.assert_absent(self.path("figures.prom.tmp"))
        (self.scratch / "guests/1.img").write_bytes(b"\x1f\x8b\x08\x00" * 300)
        self.succeeds("run", pipeline, code=1)
        figures = self.samples(self.path("figures.prom"))
        self.assertEqual((figures["drover_run_targets"]["failed"], figures["drover_run_exit_code"][None]), (1, 1))

    def test_figures_of_parts(self):
        self.fails(64, "run", "--shard", "1/2", self.pipeline("metrics: figures.prom\n"))
        pipeline = self.pipeline("metrics: 'figures-{shard}.prom'\n")
        for part in (1, 2):
            self.succeeds("run", "--shard", f"{part}/2", pipeline)
        self.assertEqual(sum(self.samples(self.path(f"figures-{part}-of-2.prom"))["drover_run_targets"]["done"] for part in (1, 2)), 3)

    def test_figures_that_cannot_be_written_are_a_warning(self):
        result = drover("run", self.pipeline("metrics: no-folder/figures.prom\n"))
        self.assertEqual(result.code, 0)
        self.assertIn("warning: ", result.err)

    def test_hooks_hear_how_it_ended(self):
        after = self.hook("after.sh", 'cat > "$(dirname "$0")/after.json"; echo heard; env > "$(dirname "$0")/environment"; ls /proc/self/fd | wc -l')
        error = self.hook("error.sh", 'cat > "$(dirname "$0")/error.json"')
        pipeline = self.pipeline(f"hooks: {{after: [./{after}], error: [./{error}]}}\n")
        os.environ["MAKEFLAGS"] = "w"
        try:
            result = drover("run", "--output", "json", pipeline)
        finally:
            del os.environ["MAKEFLAGS"]
        self.assertEqual((result.code, result.err), (0, "heard\n4\n"))  # nothing on standard output; three files and the folder's
        told = json.loads(Path(self.path("after.json")).read_text())
        self.assertEqual((told["exit-code"], told["totals"]), (0, {"done": 3}))
        self.assertEqual(told["items"], result.json()["items"])
        self.assertNotIn("MAKEFLAGS", Path(self.path("environment")).read_text())
        self.assert_absent(self.path("error.json"))
        for command in ("plan", "status"):
            os.remove(self.path("after.json")) if os.path.exists(self.path("after.json")) else None
            self.succeeds(command, pipeline)
            self.succeeds("run", "--dry-run", pipeline)
            self.assert_absent(self.path("after.json"))
        (self.scratch / "guests/1.img").write_bytes(b"\x1f\x8b\x08\x00" * 300)
        self.assertEqual(drover("run", pipeline).code, 1)
        for name in ("after.json", "error.json"):
            self.assertEqual(json.loads(Path(self.path(name)).read_text())["totals"], {"up-to-date": 2, "failed": 1})

    def test_a_hook_that_fails_is_a_warning(self):
        hooks = [
            self.hook("fails.sh", "exit 3"), self.hook("dies.sh", "kill -9 $$"), self.hook("deaf.sh", "exec <&-; exit 0"),
            self.hook("no-program.sh", "", 0o644), self.hook("open.sh", "touch ran", 0o757), "missing.sh",
        ]
        Path(self.path("folder.sh")).mkdir()
        pipeline = self.pipeline(f"hooks: {{after: [{', '.join(f'./{name}' for name in [*hooks, 'folder.sh'])}]}}\n")
        result = drover("run", pipeline, cwd=self.scratch)
        self.assertEqual(result.code, 0, result)
        warnings = [line for line in result.err.splitlines() if "hook" in line]
        self.assertEqual(len(warnings), 6, result.err)
        self.assertIn("ended with 3", warnings[0])
        self.assertIn("ended by signal 9", warnings[1])
        self.assertIn("may be written to by everybody", result.err)
        self.assert_absent(self.path("ran"))

    def test_a_name_is_never_looked_for_in_path(self):
        result = drover("run", self.pipeline("hooks: {after: [touch]}\n"), cwd=self.scratch)
        self.assertEqual((result.code, "a hook was not run" in result.err), (0, True), result)

    def test_keys(self):
        for text in ("hooks: [x]\n", "hooks: {before: [x]}\n", "hooks: {after: x}\n", "metrics: []\n", "metrics: ''\n"):
            self.assertIn("fleet.yaml:", self.fails(65, "plan", self.pipeline(text)).err)


class UnitTests(DroverCase):
    def test_systemd_takes_the_units(self):
        for unit in (REPOSITORY / "Pipelines/systemd").iterdir():
            text = unit.read_text().replace("/usr/bin/drover", binary())
            (self.scratch / unit.name.replace("@", "@fleet")).write_text(text)
        for unit in ("drover@fleet.service", "drover@fleet.timer"):
            done = subprocess.run(["systemd-analyze", "verify", "--man=no", self.scratch / unit], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
