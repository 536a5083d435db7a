"""`run PIPELINE NAME…`: some images of a fleet alone, replaced by force or adopted."""

import os
import shlex
import subprocess
import unittest
from pathlib import Path

from fleets import make_fleet, read_overlay
from harness import DroverCase, binary

KEEP = """
sources: [guests/*.cow]
target: {directory: migrated, format: cow, keep-chain: true}
"""


class NamesCase(DroverCase):
    def fleet(self, **options):
        fleet = make_fleet(self.scratch / "fleet", **options)
        return fleet, fleet.pipeline(KEEP)

    def target(self, fleet, name):
        return fleet.root / "migrated" / name

    def alter(self, path):
        """As a guest does that runs on it: a byte of a base's disk changes, or of an overlay's bitmap. Returns what is there then."""
        with open(path, "r+b") as file:
            file.seek(8192)
            byte = file.read(1)
            file.seek(8192)
            file.write(bytes([byte[0] ^ 0x55]))
        return path.read_bytes()

    def outcomes(self, result):
        return {item["name"]: item["outcome"] for item in result.json()["items"]}


class Named(NamesCase):
    def test_only_the_named_images_and_their_bases_are_moved(self):
        fleet, pipeline = self.fleet(guests=6, bases=2)
        for names, expected in (
            (["guests/vm-000.cow"], {"bases/base-0.img", "guests/vm-000.cow"}),
            (["vm-002.cow", "vm-004.cow"], {"bases/base-0.img", "guests/vm-002.cow", "guests/vm-004.cow"}),
            (["vm-00[13].cow"], {"bases/base-1.img", "guests/vm-001.cow", "guests/vm-003.cow"}),
            (["guests/*5.cow"], {"bases/base-1.img", "guests/vm-005.cow"}),
        ):
            for command in ("plan", "status"):
                items = self.succeeds(command, "--output", "json", pipeline, *names).json()["items"]
                self.assertEqual({item["name"] for item in items}, expected, (command, names))
            self.assertEqual(set(self.outcomes(self.succeeds("run", "--output", "json", pipeline, *names))), expected, names)
        self.assertEqual(self.succeeds("run", "--output", "json", pipeline).json()["totals"], {"up-to-date": 8})

    def test_a_name_that_means_nothing_or_several_is_refused(self):
        fleet, pipeline = self.fleet(guests=2, bases=1)
        (fleet.root / "more").mkdir()
        os.link(fleet.image("vm-000"), fleet.root / "more/vm-000.cow")
        both = fleet.pipeline(KEEP.replace("guests/*.cow", "guests/*.cow, more/*.cow").replace("migrated", 'migrated, name: "{directory}/{name}.{format}"'))
        for command in ("run", "plan", "status"):
            self.assertIn("did you mean vm-001.cow?", self.fails(64, command, pipeline, "vm-01.cow").err)
            self.assertIn("drover plan", self.fails(64, command, pipeline, "x*").err)
            self.assertIn("guests/vm-000.cow, more/vm-000.cow", self.fails(64, command, both, "vm-000.cow").err)
        self.assertFalse((fleet.root / "migrated").exists())


class Forced(NamesCase):
    def test_force_is_about_the_named_images_alone(self):
        fleet, pipeline = self.fleet(guests=3, bases=1)
        self.succeeds("run", pipeline)
        used = {name: self.alter(self.target(fleet, f"{name}.cow")) for name in ("vm-000", "vm-001")}
        self.assertIn("--force=altered", self.fails(64, "run", "--force", pipeline).err)
        result = self.succeeds("run", "--output", "json", pipeline, "vm-00*.cow")
        for name, content in used.items():
            self.assertEqual(self.target(fleet, f"{name}.cow").read_bytes(), content)
        # The command that the line names replaces this one alone, and says so before.
        line = next(line for line in result.err.splitlines() if "vm-001" in line)
        command = shlex.split(line[line.index("(drover ") + 1 : line.index(" replaces it)")])
        self.assertEqual(command[-3:], [pipeline, "guests/vm-001.cow", "--force"])
        run = subprocess.run([binary(), *command[1:]], capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual([line for line in run.stderr.splitlines() if "will be lost" in line and "vm-001.cow" in line], run.stderr.splitlines())
        self.assertEqual(read_overlay(self.target(fleet, "vm-001.cow")), fleet.disks["vm-001"])
        self.assertEqual(self.target(fleet, "vm-000.cow").read_bytes(), used["vm-000"])
        # A base is not replaced for the sake of an image that is named.
        base = self.alter(self.target(fleet, "bases/base-0.raw"))
        self.succeeds("run", "--force", pipeline, "vm-002.cow", code=1)
        self.assertEqual(self.target(fleet, "bases/base-0.raw").read_bytes(), base)
        result = self.succeeds("run", "--force=altered", pipeline)
        self.assertEqual(len([line for line in result.err.splitlines() if "will be lost" in line]), 2, result.err)
        for name in fleet.guests:
            self.assertEqual(read_overlay(self.target(fleet, f"{name}.cow")), fleet.disks[name])


class Adopted(NamesCase):
    def state(self, fleet):
        return {p: (p.stat().st_ino, p.stat().st_mtime_ns, p.read_bytes()) for p in (fleet.root / "migrated").rglob("*") if p.suffix in (".raw", ".cow")}

    def test_a_base_without_its_manifest_fails_no_overlay_and_is_adopted(self):
        fleet, pipeline = self.fleet(guests=5, bases=1)
        self.succeeds("run", pipeline)
        before = self.state(fleet)
        Path(f"{self.target(fleet, 'bases/base-0.raw')}.manifest").unlink()
        self.assertEqual(self.succeeds("plan", "--output", "json", pipeline, code=1).json()["totals"]["wrong"], 1)
        result = self.succeeds("run", "--output", "json", pipeline, code=1)
        self.assertEqual(result.json()["totals"], {"failed": 1, "up-to-date": 5})
        self.assertIn("bases/base-0.img --adopt", result.err)
        self.assertEqual(self.succeeds("run", "--output", "json", "--adopt", pipeline).json()["totals"], {"adopted": 1, "up-to-date": 5})
        self.assertEqual(self.state(fleet), before)
        for path in before:
            self.succeeds("verify", path)
        self.assertEqual(self.succeeds("run", "--output", "json", pipeline).json()["totals"], {"up-to-date": 6})

    def test_overlays_and_flat_images_are_adopted_where_they_are_the_same(self):
        fleet, kept = self.fleet(guests=4, bases=2)
        for pipeline, folder in ((kept, "migrated"), (fleet.pipeline("sources: [guests/*.cow]\ntarget: {directory: flat}\n", "flat.yaml"), "flat")):
            self.succeeds("run", pipeline)
            targets = [p for p in (fleet.root / folder).rglob("*") if p.suffix in (".cow", ".raw")]
            before = {p: (p.stat().st_ino, p.stat().st_mtime_ns, p.read_bytes()) for p in targets}
            for path in targets:
                Path(f"{path}.manifest").unlink()
            report = self.succeeds("run", "--output", "json", "--adopt", pipeline).json()
            self.assertEqual(report["totals"], {"adopted": len(targets)})
            self.assertEqual({p: (p.stat().st_ino, p.stat().st_mtime_ns, p.read_bytes()) for p in targets}, before)
            for path in targets:
                self.succeeds("verify", path)
            self.assertEqual(self.succeeds("run", "--output", "json", pipeline).json()["totals"], {"up-to-date": len(targets)})

    def test_what_differs_is_not_adopted(self):
        fleet, pipeline = self.fleet(guests=4, bases=1)
        self.succeeds("run", pipeline)
        data, header, only, longer = (self.target(fleet, f"vm-00{n}.cow") for n in range(4))
        kept = [self.alter(data)]
        content = bytearray(header.read_bytes())
        content[100] ^= 1
        header.write_bytes(content)
        kept.append(bytes(content))
        os.utime(only)
        with open(longer, "ab") as file:
            file.write(bytes(512))
        kept.append(longer.read_bytes())
        Path(f"{header}.manifest").unlink()
        Path(f"{longer}.manifest").unlink()
        result = self.succeeds("run", "--adopt", "--output", "json", pipeline, code=1)
        self.assertEqual(
            self.outcomes(result),
            {
                "bases/base-0.img": "up-to-date", "guests/vm-000.cow": "left-alone", "guests/vm-001.cow": "failed",
                "guests/vm-002.cow": "adopted", "guests/vm-003.cow": "failed",
            },
        )
        self.assertIn("is not what the move makes", result.err)
        self.assertEqual([data.read_bytes(), header.read_bytes(), longer.read_bytes()], kept)
        base = self.target(fleet, "bases/base-0.raw")
        Path(f"{base}.manifest").unlink()
        os.utime(base)
        self.assertIn("its mtime is", self.succeeds("run", "--adopt", pipeline, "base-0.img", code=1).err)

    def test_packing_adopts_nothing(self):
        fleet, _ = self.fleet(guests=1, bases=1)
        self.fails(64, "run", "--adopt", fleet.pipeline("operation: pack\nsources: [guests/*.cow]\ntarget: {directory: out}\n"))


if __name__ == "__main__":
    unittest.main()
