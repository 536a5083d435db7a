"""`plan`, `run` and `status` of a pipeline: a fleet moved, run again, interrupted, damaged and mended."""

import fcntl
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import time
import unittest
from pathlib import Path

from fleets import make_fleet, read_overlay
from harness import DroverCase, binary, drover, fingerprint, records, required_tool, start

KEEP = """
version: 1
sources: [guests/*.cow]
target:
  directory: migrated
  format: cow
  keep-chain: true
"""

FLATTEN = """
sources: [guests/*.cow]
target: {directory: flat}
"""

# What a running UML holds on its overlay: a lock for writing on the whole file.
WRITE_LOCK = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


class FleetCase(DroverCase):
    def fleet(self, **options):
        return make_fleet(self.scratch / "fleet", **options)

    def assert_kept(self, fleet, names=None, directory="migrated"):
        """Every overlay is an overlay of the moved base, UML would open it, and its guest sees the same bytes."""
        for name in names or fleet.guests:
            overlay = fleet.root / directory / f"guests/{name}.cow"
            overlay = overlay if overlay.exists() else fleet.root / directory / f"{name}.cow"
            self.assertEqual(read_overlay(overlay), fleet.disks[name], name)

    def leftovers(self, directory):
        return [p for p in Path(directory).rglob("*") if p.name.endswith(".partial")]

    def inodes(self, directory):
        return {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in Path(directory).rglob("*") if p.suffix in (".cow", ".raw", ".drover")}


class Moving(FleetCase):
    def test_keeps_overlays_of_one_base_each(self):
        fleet = self.fleet(guests=12, extra=100)
        before = fingerprint(fleet.root.glob("*/*"))
        pipeline = fleet.pipeline(KEEP)
        report = self.succeeds("run", "--output", "json", pipeline).json()
        self.assertEqual(report["totals"], {"done": 15})
        self.assertEqual(len([i for i in report["items"] if i["role"] == "base"]), 3)
        self.assert_kept(fleet)
        for name in fleet.guests:
            moved = fleet.root / "migrated/bases" / f"{fleet.base_of[name]}.raw"
            self.assertEqual(moved.read_bytes(), fleet.base(name).read_bytes())
            self.assertEqual(moved.stat().st_mtime_ns, fleet.base(name).stat().st_mtime_ns)
        self.assertEqual(fingerprint(before), before)
        self.assertEqual(self.leftovers(fleet.root), [])

    def test_flattens(self):
        fleet = self.fleet()
        self.succeeds("run", fleet.pipeline(FLATTEN))
        for name in fleet.guests:
            self.assertEqual((fleet.root / f"flat/{name}.raw").read_bytes(), fleet.disks[name], name)

    def test_packs_one_archive_or_one_an_image(self):
        fleet = self.fleet(guests=6)
        one = fleet.pipeline("operation: pack\nsources: [guests/*.cow]\ntarget: {directory: out, archive: out/fleet.drover}\n", "one.yaml")
        self.succeeds("run", one)
        self.succeeds("verify", fleet.root / "out/fleet.drover")
        listed = self.succeeds("list", "--output", "json", fleet.root / "out/fleet.drover").json()
        self.assertEqual(len([layer for layer in listed["layers"] if layer["image"]]), 6)
        each = fleet.pipeline("operation: pack\nsources: [guests/*.cow]\ntarget: {directory: each}\n", "each.yaml")
        self.succeeds("run", each)
        for name in fleet.guests:
            self.succeeds("verify", fleet.root / f"each/{name}.drover")
        self.fails(64, "run", "--shard", "1/2", one)
        for pipeline in (one, each):
            self.assertIn("up to date", self.succeeds("run", pipeline).out)
            plan = self.succeeds("plan", "--output", "json", pipeline).json()
            self.assertEqual({item["state"] for item in plan["items"]}, {"up-to-date"})

    def test_an_archive_goes_on_at_its_checkpoint(self):
        fleet = self.fleet(guests=4)
        pipeline = fleet.pipeline("operation: pack\nsources: [guests/*.cow]\ntarget: {archive: fleet.drover}\n")
        self.succeeds("run", pipeline)
        archive = fleet.root / "fleet.drover"
        whole = archive.read_bytes()
        # As it is when a run is killed behind the last checkpoint.
        manifest = Path(f"{archive}.manifest")
        manifest.write_text("".join(line for line in manifest.read_text().splitlines(True) if '"complete"' not in line))
        archive.rename(f"{archive}.partial")
        self.assertEqual(self.succeeds("plan", "--output", "json", pipeline).json()["items"][0]["state"], "unfinished")
        self.assertIn("done, resumed", self.succeeds("run", pipeline).out)
        self.assertEqual(archive.read_bytes(), whole)

    def test_verifies(self):
        fleet = self.fleet(guests=4)
        self.succeeds("run", fleet.pipeline(KEEP))
        verify = fleet.pipeline("operation: verify" + KEEP, "verify.yaml")
        self.succeeds("run", verify)
        target = fleet.root / "migrated/bases/base-1.raw"
        with open(target, "r+b") as file:
            file.seek(70000)
            byte = file.read(1)
            file.seek(70000)
            file.write(bytes([byte[0] ^ 1]))
        result = self.succeeds("run", "--output", "json", verify, code=1)
        # Its overlays are whole, and stand on another base than the one they were made for.
        failed = [i["name"] for i in result.json()["items"] if i["outcome"] == "failed"]
        self.assertEqual(failed, ["bases/base-1.img", *(name for name in failed[1:] if name.startswith("guests/"))])
        self.assertEqual(len(failed), 2)

    def test_a_base_among_the_sources_is_moved_once(self):
        fleet = self.fleet(guests=4, bases=1)
        self.succeeds("run", fleet.pipeline(KEEP.replace("guests/*.cow", "guests/*.cow, bases/*.img")))
        self.assertEqual(len(list((fleet.root / "migrated").rglob("*.raw"))), 1)
        self.assert_kept(fleet)


class Again(FleetCase):
    def test_does_nothing_when_all_is_done(self):
        fleet = self.fleet()
        pipeline = fleet.pipeline(KEEP)
        self.succeeds("run", pipeline)
        before = self.inodes(fleet.root / "migrated")
        report = self.succeeds("run", "--output", "json", pipeline).json()
        self.assertEqual(report["totals"], {"up-to-date": 15})
        self.assertEqual(self.inodes(fleet.root / "migrated"), before)

    def test_one_changed_source_is_done_again_alone(self):
        fleet = self.fleet()
        pipeline = fleet.pipeline(KEEP)
        self.succeeds("run", pipeline)
        os.utime(fleet.image("vm-004"))
        self.assertEqual(self.succeeds("plan", "--output", "json", pipeline).json()["totals"]["to-do"], 1)
        report = self.succeeds("run", "--output", "json", pipeline).json()
        self.assertEqual([i["name"] for i in report["items"] if i["outcome"] == "done"], ["guests/vm-004.cow"])
        self.assert_kept(fleet)

    def test_a_changed_base_is_done_again_with_its_overlays(self):
        fleet = self.fleet(guests=6)
        pipeline = fleet.pipeline(KEEP + "ignore-mtime: true\n")
        self.succeeds("run", pipeline)
        os.utime(fleet.base("vm-000"))
        report = self.succeeds("run", "--output", "json", pipeline).json()
        self.assertEqual(report["totals"], {"done": 3, "up-to-date": 6})
        self.assert_kept(fleet)

    def test_a_target_that_somebody_wrote_to_is_left_alone(self):
        fleet = self.fleet(guests=3)
        pipeline = fleet.pipeline(KEEP)
        self.succeeds("run", pipeline)
        target = fleet.root / "migrated/vm-001.cow"
        with open(target, "r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\x55")
        used = target.read_bytes()
        for touched in (False, True):
            if touched:
                os.utime(fleet.image("vm-001"))
            report = self.succeeds("run", "--output", "json", pipeline, code=int(touched)).json()
            outcome = "failed" if touched else "left-alone"  # somebody has to decide which of both is kept
            self.assertEqual([i["outcome"] for i in report["items"] if i["name"] == "guests/vm-001.cow"], [outcome])
            self.assertEqual(target.read_bytes(), used)
            state = "failed" if touched else "altered"
            self.assertEqual(self.succeeds("status", "--output", "json", pipeline).json()["totals"], {"done": 5, state: 1})
        self.succeeds("run", "--force=altered", pipeline)
        self.assert_kept(fleet)

    def test_what_was_left_alone_is_no_longer_called_failed(self):
        fleet = self.fleet(guests=2, bases=1)
        pipeline = fleet.pipeline(KEEP)
        self.succeeds("run", pipeline)
        with open(fleet.image("vm-000"), "r+b") as holder:
            fcntl.fcntl(holder, fcntl.F_SETLK, WRITE_LOCK)
            self.succeeds("run", pipeline, code=1)
            self.assertEqual(self.succeeds("status", "--output", "json", pipeline).json()["totals"], {"done": 2, "failed": 1})
        os.utime(fleet.root / "migrated/vm-000.cow")
        self.assertIn("left alone", self.succeeds("run", pipeline).out)
        self.assertEqual(self.succeeds("status", "--output", "json", pipeline).json()["totals"], {"done": 2, "altered": 1})

    def test_a_target_whose_manifest_is_damaged_is_replaced_by_force_alone(self):
        # Its first line is none: nothing is known of the target.
        fleet = self.fleet(guests=1)
        pipeline = fleet.pipeline(KEEP)
        self.succeeds("run", pipeline)
        target, manifest = fleet.root / "migrated/vm-000.cow", fleet.root / "migrated/vm-000.cow.manifest"
        text = manifest.read_bytes()
        manifest.write_bytes(text[:200] + b"\n" + text[200:])
        with open(target, "r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\x55")
        used = target.read_bytes()
        for option in ("-q", "--restart"):
            self.succeeds("run", option, pipeline, code=1)
            self.assertEqual(target.read_bytes(), used, option)
        self.succeeds("run", "--force", pipeline, "vm-000.cow")
        self.assert_kept(fleet)

    def test_a_file_of_somebody_elses_stays(self):
        fleet = self.fleet(guests=3)
        (fleet.root / "migrated").mkdir()
        mine = fleet.root / "migrated/vm-001.cow"
        mine.write_bytes(b"mine")
        pipeline = fleet.pipeline(KEEP)
        self.succeeds("plan", pipeline, code=1)
        self.succeeds("run", pipeline, code=1)
        self.assertEqual(mine.read_bytes(), b"mine")
        self.assert_kept(fleet, ["vm-000", "vm-002"])


    def test_a_target_of_another_source_is_left_to_it(self):
        """Two fleets with one target directory, and bases and guests of one name."""
        one, two = make_fleet(self.scratch / "one", guests=2, bases=1), make_fleet(self.scratch / "two", guests=2, bases=1, seed=2)
        text = KEEP.replace("directory: migrated", "directory: ../both")
        self.succeeds("run", one.pipeline(text))
        before = self.inodes(self.scratch / "both")
        plan = self.succeeds("plan", "--output", "json", two.pipeline(text), code=1).json()
        self.assertEqual(plan["totals"]["wrong"], 3)
        self.succeeds("run", two.pipeline(text), code=1)
        self.assertEqual(self.inodes(self.scratch / "both"), before)
        self.assert_kept(one, directory="../both")
        self.succeeds("run", "--force=altered", two.pipeline(text))
        self.assert_kept(two, directory="../both")

    def test_a_base_is_not_replaced_under_an_overlay_that_is_in_use(self):
        fleet = self.fleet(guests=2, bases=1)
        pipeline = fleet.pipeline(KEEP + "ignore-mtime: true\n")
        self.succeeds("run", pipeline)
        used = fleet.root / "migrated/vm-000.cow"
        with open(used, "r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\x55")
        disk = read_overlay(used)
        os.utime(fleet.base("vm-000"))
        plan = self.succeeds("plan", "--output", "json", pipeline, code=1).json()
        self.assertEqual([i["state"] for i in plan["items"]], ["wrong", "wrong", "wrong"])
        result = self.succeeds("run", pipeline, code=1)
        self.assertIn("vm-000.cow stands on it and was written to since it was completed", result.err)
        self.assertEqual(read_overlay(used), disk)
        self.succeeds("run", "--force=altered", pipeline)
        self.assert_kept(fleet)

    def test_a_target_that_a_guest_has_locked_is_left_alone(self):
        fleet = self.fleet(guests=2, bases=1)
        pipeline = fleet.pipeline(FLATTEN)
        self.succeeds("run", pipeline)
        os.utime(fleet.image("vm-001"))
        target = fleet.root / "flat/vm-001.raw"
        with open(target, "r+b") as file:
            fcntl.fcntl(file, fcntl.F_SETLK, WRITE_LOCK)
            before = target.stat()
            plan = self.succeeds("plan", "--output", "json", pipeline).json()
            self.assertEqual([i["state"] for i in plan["items"]], ["up-to-date", "in-use"])
            report = self.succeeds("run", "--output", "json", pipeline).json()
            self.assertEqual([i["outcome"] for i in report["items"]], ["up-to-date", "left-alone"])
            self.assertEqual((target.stat().st_ino, target.stat().st_mtime_ns), (before.st_ino, before.st_mtime_ns))
            self.succeeds("run", "--force=altered", pipeline, code=0)
            self.assertEqual(target.stat().st_ino, before.st_ino)
        self.succeeds("run", pipeline)
        self.assertEqual(target.read_bytes(), fleet.disks["vm-001"])

    def test_verifying_counts_what_a_salvage_lost_as_damage(self):
        fleet = self.fleet(guests=1, bases=1)
        archive = fleet.root / "one.drover"
        self.succeeds("pack", archive, fleet.image("vm-000"))
        data = bytearray(archive.read_bytes())
        data[len(data) // 2] ^= 1
        archive.write_bytes(data)
        self.succeeds("unpack", "--salvage", "-C", fleet.root / "out", archive, code=2)
        pipeline = fleet.pipeline(
            'operation: verify\nsources: [bases/*.img, guests/*.cow]\ntarget: {directory: out, name: "{directory}/{name}.{extension}"}\n'
        )
        targets = list((fleet.root / "out").rglob("*.img")) + list((fleet.root / "out").rglob("*.cow"))
        self.assertEqual(len(targets), 2)
        for path in targets:
            path.rename(fleet.root / "out" / path.name)
            Path(f"{path}.manifest").rename(fleet.root / "out" / f"{path.name}.manifest")
        report = self.succeeds("run", "--output", "json", pipeline, code=1).json()
        self.assertIn("failed", report["totals"], report)


class Trouble(FleetCase):
    def test_a_target_directory_that_cannot_be_one_is_wrong_in_the_plan(self):
        fleet = self.fleet(guests=1, bases=1)
        (fleet.root / "file").write_text("")
        (fleet.root / "nowhere").symlink_to("away")
        for directory in ("file", "file/below", "nowhere"):
            pipeline = fleet.pipeline(FLATTEN.replace("flat", directory))
            self.assertIn("is no folder", self.succeeds("plan", pipeline, code=1).err)
            self.succeeds("run", pipeline, code=1)

    def test_three_in_trouble_stop_no_other(self):
        fleet = self.fleet(guests=60, bases=3)
        # One guest corrupt, one base missing (of a guest of its own), one overlay locked by a running guest.
        corrupt, locked, lonely = fleet.image("vm-007"), fleet.image("vm-011"), fleet.image("vm-060")
        whole = corrupt.read_bytes()
        corrupt.write_bytes(whole[:4000])
        own = fleet.root / "bases/own.img"
        shutil.copy2(fleet.base("vm-000"), own)
        data = bytearray(fleet.image("vm-000").read_bytes())
        old, new = os.fsencode(fleet.base("vm-000")), os.fsencode(own)
        at = data.index(old)
        data[at : at + len(old)] = new.ljust(len(old), b"\0")
        lonely.write_bytes(data)
        fleet.base_of["vm-060"], fleet.disks["vm-060"] = "own", fleet.disks["vm-000"]
        os.rename(own, fleet.root / "away")
        pipeline = fleet.pipeline(KEEP)
        with open(locked, "r+b") as holder:
            fcntl.fcntl(holder, fcntl.F_SETLK, WRITE_LOCK)
            plan = self.succeeds("plan", "--output", "json", pipeline, code=1).json()
            self.assertEqual(plan["totals"]["wrong"], 3)
            result = self.succeeds("run", "--output", "json", pipeline, code=1)
            report = result.json()
        self.assertEqual(report["totals"], {"done": 58 + 3, "failed": 3})
        self.assertEqual(len(result.err.splitlines()), 3)
        failed = {i["name"]: i["reason"] for i in report["items"] if i["outcome"] == "failed"}
        self.assertEqual(set(failed), {"guests/vm-007.cow", "guests/vm-011.cow", "guests/vm-060.cow"})
        self.assertIn("locked for writing", failed["guests/vm-011.cow"])
        self.assertIn("own.img", failed["guests/vm-060.cow"])
        status = self.succeeds("status", "--output", "json", pipeline).json()
        self.assertEqual(status["totals"], {"done": 61, "failed": 3})
        self.assertEqual({i["name"]: i["reason"] for i in status["items"] if i["state"] == "failed"}, failed)
        # Mended, only these are done, and a base that came back.
        corrupt.write_bytes(whole)
        os.rename(fleet.root / "away", own)
        report = self.succeeds("run", "--output", "json", pipeline).json()
        self.assertEqual(report["totals"], {"done": 3 + 1, "up-to-date": 61})
        self.assertEqual(self.succeeds("status", "--output", "json", pipeline).json()["totals"], {"done": 65})
        self.assert_kept(fleet)

    def test_a_base_that_cannot_be_moved_fails_its_overlays_alone(self):
        fleet = self.fleet(guests=6)
        (fleet.root / "migrated/bases/base-1.raw").mkdir(parents=True)
        report = self.succeeds("run", "--output", "json", fleet.pipeline(KEEP), code=1).json()
        failed = [i["name"] for i in report["items"] if i["outcome"] == "failed"]
        self.assertEqual(failed, ["bases/base-1.img", "guests/vm-001.cow", "guests/vm-004.cow"])
        self.assert_kept(fleet, ["vm-000", "vm-002", "vm-003", "vm-005"])

    def test_two_images_with_one_target_name_are_an_error_of_the_plan(self):
        fleet = self.fleet(guests=2, bases=1)
        shutil.copy(fleet.image("vm-000"), fleet.root / "guests/vm-000.old")
        text = KEEP.replace("guests/*.cow", "guests/*")
        result = self.succeeds("plan", fleet.pipeline(text), code=1)
        self.assertIn("is the target of both", result.err)
        self.succeeds("run", fleet.pipeline(text), code=1)
        self.assertFalse((fleet.root / "migrated/vm-000.cow").exists())

    def test_a_target_that_is_a_source_is_refused(self):
        fleet = self.fleet(guests=3, bases=1)
        before = fingerprint(fleet.root.glob("*/*"))
        text = KEEP.replace("migrated", "guests")
        result = self.succeeds("run", fleet.pipeline(text), code=1)
        self.assertIn("one of the fleet's own sources", result.err)
        self.assertEqual(fingerprint(before), before)

    def test_a_full_file_system_or_missing_place_says_so(self):
        fleet = self.fleet(guests=2, bases=1)
        (fleet.root / "migrated").write_text("a file")
        result = self.succeeds("run", fleet.pipeline(KEEP), code=1)
        self.assertIn("is no folder", result.err)


class Interrupted(FleetCase):
    def test_killed_again_and_again_it_comes_out_the_same(self):
        fleet = self.fleet(guests=20, size=8 << 20)
        pipeline = fleet.pipeline(KEEP)
        rng = random.Random(5)
        ends = 0
        for _ in range(40):
            process = start("run", "-q", pipeline, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                ends += process.wait(rng.uniform(0.01, 0.15)) == 0
                break
            except subprocess.TimeoutExpired:
                process.send_signal(rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
                process.wait(30)
            for target in (fleet.root / "migrated").rglob("*.cow"):
                self.assertEqual(records(target)[-1]["record"], "complete", f"{target} has its name before it is whole")
        self.succeeds("run", pipeline)
        self.assert_kept(fleet)
        self.assertEqual(self.leftovers(fleet.root), [])

    def test_a_replacement_killed_at_any_step_is_done_by_the_next_run(self):
        fleet = self.fleet(guests=1)
        pipeline = fleet.pipeline(FLATTEN)
        self.succeeds("run", pipeline)
        flat, kept = fleet.root / "flat", fleet.root / "kept"
        subprocess.run(["cp", "-a", flat, kept], check=True)
        os.utime(fleet.image("vm-000"))
        for call in ("ftruncate", "pwrite64", "/^rename"):
            for step in range(1, 30):
                shutil.rmtree(flat)
                subprocess.run(["cp", "-a", kept, flat], check=True)
                kill = ["strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={step}"]
                required_tool("strace")
                if subprocess.run([*kill, binary(), "run", pipeline], stdin=subprocess.DEVNULL, capture_output=True).returncode == 0:
                    break
                self.assertIn(self.succeeds("status", "--output", "json", pipeline).json()["items"][0]["state"], ("done", "waiting", "interrupted"))
                old = json.loads((kept / "vm-000.raw.manifest").read_text().splitlines()[-1])
                is_named = os.stat(flat / "vm-000.raw").st_mtime_ns != int(old["mtime"].replace(".", ""))
                report = self.succeeds("run", "--output", "json", pipeline).json()
                # One that died when the new target had its name only has to drop the old one's record.
                self.assertEqual(report["totals"], {"up-to-date" if is_named else "done": 1}, (call, step))
                self.assertEqual((flat / "vm-000.raw").read_bytes(), fleet.disks["vm-000"])
                self.assertEqual(sorted(os.listdir(flat)), ["vm-000.raw", "vm-000.raw.manifest"])
            self.assertGreater(step, 1, f"{call} was never met")

    def test_what_takes_the_name_meanwhile_stays(self):
        fleet = self.fleet(guests=1)
        for operation, name in (("convert", "vm-000.raw"), ("pack", "vm-000.drover")):
            pipeline = fleet.pipeline(f"operation: {operation}\nsources: [guests/*.cow]\ntarget: {{directory: {operation}}}\n")
            process = start("run", "-q", "--rate", "2M", pipeline, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            target = fleet.root / operation / name
            while not Path(f"{target}.partial").exists() and process.poll() is None:
                time.sleep(0.01)
            target.write_bytes(b"mine")
            self.assertIn(b"exists (--force replaces it)", process.communicate(timeout=30)[1])
            self.assertEqual(process.returncode, 1)
            self.assertEqual(target.read_bytes(), b"mine")

    def test_sigterm_ends_with_75_and_the_status_tells(self):
        fleet = self.fleet(guests=8, size=8 << 20)
        pipeline = fleet.pipeline(KEEP + "rate: 2M\n")
        process = start("run", "-q", pipeline, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 20
        running = {}
        while time.monotonic() < deadline and not running.get("running"):
            running = drover("status", "--output", "json", pipeline).json()["totals"]
            time.sleep(0.05)
        self.assertIn("running", running)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(20), 75)
        self.assertIn(b"run the same command again", process.stderr.read())
        process.stderr.close()
        self.assertNotIn("running", drover("status", "--output", "json", pipeline).json()["totals"])
        self.succeeds("run", "--rate", "1T", pipeline)
        self.assert_kept(fleet)

    def test_a_stopped_run_ends_with_75_although_an_image_failed(self):
        fleet = self.fleet(guests=8, size=8 << 20)
        fleet.image("vm-000").write_bytes(fleet.image("vm-000").read_bytes()[:4000])
        process = start("run", "-q", fleet.pipeline(FLATTEN + "rate: 2M\n"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.assertIn(b"vm-000", process.stderr.readline())
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(20), 75)
        process.stderr.close()

    def test_two_runs_at_once_move_every_base_once(self):
        fleet = self.fleet(guests=16, size=4 << 20)
        pipeline = fleet.pipeline(KEEP)
        shards = [start("run", "--output", "json", "--shard", f"{n}/4", pipeline, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for n in (1, 2, 3, 4)]
        outputs = [shard.communicate(timeout=60)[0] for shard in shards]
        self.assertEqual([shard.returncode for shard in shards], [0] * 4)
        done = [i["name"] for output in outputs for i in json.loads(output)["items"] if i["outcome"] == "done"]
        self.assertEqual(len(done), len(set(done)), "something was moved twice")
        self.assertEqual(len(done), 19)
        self.assert_kept(fleet)

    def test_a_run_beside_another_waits_for_it(self):
        fleet = self.fleet(guests=6)
        pipeline = fleet.pipeline(KEEP)
        runs = [start("run", pipeline, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(3)]
        self.assertEqual([run.wait(60) for run in runs], [0, 0, 0])
        self.assert_kept(fleet)


class Shards(FleetCase):
    def test_every_image_is_in_one_shard(self):
        fleet = self.fleet(guests=7)
        pipeline = fleet.pipeline(KEEP)
        seen = []
        for number in (1, 2, 3):
            plan = self.succeeds("plan", "--output", "json", "--shard", f"{number}/3", pipeline).json()
            seen += [i["name"] for i in plan["items"] if i["role"] == "image"]
        self.assertEqual(sorted(seen), [f"guests/{name}.cow" for name in fleet.guests])

    def test_an_array_task_finds_its_own(self):
        fleet = self.fleet(guests=4, bases=1)
        pipeline = fleet.pipeline(KEEP)
        task = {"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_STEP": "2", "SLURM_ARRAY_TASK_COUNT": "2"}
        run = start("run", "--output", "json", pipeline, stdout=subprocess.PIPE, env={**os.environ, **task})
        report = json.loads(run.communicate(timeout=30)[0])
        self.assertEqual([i["name"] for i in report["items"]], ["bases/base-0.img", "guests/vm-001.cow", "guests/vm-003.cow"])
        del task["SLURM_ARRAY_TASK_COUNT"]
        run = start("run", pipeline, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **task})
        self.assertEqual(run.wait(30), 64)

    def test_a_shard_that_is_none_is_refused(self):
        fleet = self.fleet(guests=1, bases=1)
        for shard in ("0/3", "4/3", "x", "1/0"):
            self.fails(64, "run", "--shard", shard, fleet.pipeline(KEEP))


class ManyImages(FleetCase):
    def test_a_thousand_that_are_done_take_less_than_a_second(self):
        fleet = self.fleet(guests=1, bases=1)
        for number in range(1, 1000):
            shutil.copy(fleet.image("vm-000"), fleet.root / f"guests/vm-{number:03}.cow")
        pipeline = fleet.pipeline(KEEP)
        self.succeeds("run", pipeline)
        result = self.succeeds("run", pipeline, measured=True)
        self.assertIn("1001 up to date", result.out)
        self.assertLess(result.peak, 64 << 20)


if __name__ == "__main__":
    unittest.main()
