"""A base that changed and its overlays: made anew together, named together, whatever comes between."""

import fcntl
import hashlib
import os
import random
import shutil
import struct
import subprocess
import unittest
from pathlib import Path

from cow_writer import set_mtime
from fleets import make_fleet, read_overlay
from harness import DroverCase, binary, drover, required_tool

KEEP = """
sources: [guests/*.cow]
target: {directory: migrated, format: cow, keep-chain: true}
"""
WRITE_LOCK = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


class FamilyCase(DroverCase):
    def moved(self, **options):
        """A fleet that was moved."""
        fleet = make_fleet(self.scratch / "fleet", **{"guests": 2, "bases": 1, "size": 1 << 20, **options})
        pipeline = fleet.pipeline(KEEP)
        self.succeeds("run", pipeline)
        return fleet, pipeline

    def renew(self, fleet, seed=7, mtime=1_600_000_000, base="base-0"):
        """Gives a base other bytes and another time, and its overlays' headers too."""
        path = fleet.root / f"bases/{base}.img"
        data = bytearray(path.read_bytes())
        data[4096:69632] = random.Random(seed).randbytes(65536)
        data[-4096:] = random.Random(seed).randbytes(4096)
        path.write_bytes(data)
        set_mtime(path, mtime, 5)
        for name in fleet.guests:
            if fleet.base_of[name] != base:
                continue
            with open(fleet.image(name), "r+b") as file:
                file.seek(8)
                file.write(struct.pack(">I", mtime))
            fleet.disks[name] = read_overlay(fleet.image(name))

    def target(self, fleet, name):
        return fleet.root / "migrated" / f"{name}.cow"

    def targets(self, fleet):
        return [p for p in (fleet.root / "migrated").rglob("*") if p.suffix in (".cow", ".raw")]

    def contents(self, fleet):
        return {p: (p.stat().st_ino, p.stat().st_mtime_ns, hashlib.sha256(p.read_bytes()).hexdigest()) for p in self.targets(fleet)}

    def assert_kept(self, fleet, names=None):
        for name in names or fleet.guests:
            self.assertTrue(read_overlay(self.target(fleet, name)) == fleet.disks[name], name)

    def assert_whole(self, fleet, pipeline):
        """All is new, sound, and nothing is left over."""
        self.assert_kept(fleet)
        for path in self.targets(fleet):
            self.succeeds("verify", path)
        self.assertEqual([p for p in (fleet.root / "migrated").rglob("*") if p.name.endswith(".partial")], [])
        totals = self.succeeds("run", "--output", "json", pipeline).json()["totals"]
        self.assertEqual(set(totals), {"up-to-date"})
        for path in self.targets(fleet):
            text = Path(f"{path}.manifest").read_text()
            last = text.rindex('{"consistent":')
            self.assertLess(last, len(text) - last, f"{path}'s manifest grows")

    def states(self, command, pipeline, code=0):
        return {i["name"]: i["state"] for i in self.succeeds(command, "--output", "json", pipeline, code=code).json()["items"]}


class Renewed(FamilyCase):
    def test_base_and_overlays_are_renewed(self):
        fleet, pipeline = self.moved(guests=5, bases=2)
        other = {p: s for p, s in self.contents(fleet).items() if "base-1" in str(p) or p.name in ("vm-001.cow", "vm-003.cow")}
        self.renew(fleet)
        plan = self.succeeds("plan", "--output", "json", pipeline).json()
        # The old generation stays until the new one is there: all of it needs room.
        self.assertEqual(plan["totals"]["to-do"], 4)
        self.assertGreater(plan["totals"]["bytes-to-write"], 65536)
        self.assertEqual(self.succeeds("run", "--output", "json", pipeline).json()["totals"], {"done": 4, "up-to-date": 3})
        self.assert_whole(fleet, pipeline)
        self.assertEqual({p: s for p, s in self.contents(fleet).items() if p in other}, other)

    def test_a_base_whose_time_alone_changed_is_renewed_with_its_overlays(self):
        fleet, pipeline = self.moved()
        base = fleet.base("vm-000")
        self.renew(fleet)
        self.succeeds("run", pipeline)
        for name in fleet.guests:
            with open(fleet.image(name), "r+b") as file:
                file.seek(8)
                file.write(struct.pack(">I", 1_650_000_000))
        set_mtime(base, 1_650_000_000, 1)
        self.assertEqual(self.kill_at("renameat", 1, pipeline), -9)
        self.assertIn("to-name", self.states("plan", pipeline).values())
        for path in self.targets(fleet):
            self.succeeds("verify", path, code=2)
        self.succeeds("run", pipeline)
        self.assert_whole(fleet, pipeline)

    def test_a_base_with_other_bytes_and_the_same_time_is_found_by_reading_it(self):
        fleet, pipeline = self.moved()
        base = fleet.base("vm-000")
        time = base.stat().st_mtime_ns
        self.renew(fleet, mtime=time // 10**9)
        os.utime(base, ns=(time, time))
        self.succeeds("run", "--reread", pipeline)
        self.assert_whole(fleet, pipeline)

    def test_a_base_that_is_the_same_again_needs_no_family(self):
        fleet, pipeline = self.moved()
        target = fleet.root / "migrated/bases/base-0.raw"
        before = target.stat()
        # Written to, and made anew by force: overlays that are used hold up nothing, because their base is what it was.
        with open(target, "r+b") as file:
            file.write(b"x")
        os.utime(self.target(fleet, "vm-001"))
        self.succeeds("run", "--force", pipeline, "base-0.img", "vm-000.cow", "--without", "vm-001.cow")
        self.assertEqual(target.stat().st_mtime_ns, before.st_mtime_ns)
        self.assert_kept(fleet)

    def test_a_base_whose_target_is_gone_is_renewed_with_its_overlays_too(self):
        fleet, pipeline = self.moved()
        old = {p: state for p, state in self.contents(fleet).items() if p.suffix == ".cow"}
        (fleet.root / "migrated/bases/base-0.raw").unlink()
        self.renew(fleet)
        for name in fleet.guests:
            self.succeeds("run", pipeline, f"{name}.cow", code=75 if name == "vm-000" else 0)
            if name == "vm-000":
                self.assertEqual(self.contents(fleet), old)
        self.assert_whole(fleet, pipeline)

    def kill_at(self, call, step, *arguments):
        kill = [required_tool("strace"), "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={step}"]
        return subprocess.run([*kill, binary(), "run", "-q", *arguments], stdin=subprocess.DEVNULL, capture_output=True).returncode


class Killed(FamilyCase):
    def test_killed_at_any_step_the_same_command_completes_it(self):
        required_tool("strace")
        fleet, pipeline = self.moved()
        before = dict(fleet.disks)
        migrated, kept = fleet.root / "migrated", fleet.root / "kept"
        subprocess.run(["cp", "-a", migrated, kept], check=True)
        self.renew(fleet)
        named = 0
        for call in ("renameat", "fsync"):
            for step in range(1, 400):
                shutil.rmtree(migrated)
                subprocess.run(["cp", "-a", kept, migrated], check=True)
                kill = ["strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={step}"]
                died = subprocess.run([*kill, binary(), "run", "-q", "--jobs", "1", pipeline], stdin=subprocess.DEVNULL, capture_output=True)
                if died.returncode == 0:
                    break
                self.assertEqual(died.returncode, -9, died.stderr)
                named += self.assert_nobody_is_deceived(fleet, before, pipeline, (call, step))
                self.succeeds("run", "-q", pipeline)
                self.assert_kept(fleet)
                self.assertEqual(sorted(p.name for p in migrated.rglob("*") if p.name.endswith(".partial")), [], (call, step))
                self.assertEqual(set(self.states("status", pipeline).values()), {"done"}, (call, step))
            self.assertGreater(step, 1, f"{call} was never met")
        self.assert_whole(fleet, pipeline)
        self.assertGreater(named, 2, "no run died while it gave the names")

    def assert_nobody_is_deceived(self, fleet, before, pipeline, at):
        """Every overlay shows a whole old or a whole new disk, or nobody opens it. Returns whether the names were being given."""
        isNaming = "to-name" in self.states("status", pipeline).values()
        self.assertEqual("to-name" in self.states("plan", pipeline).values(), isNaming, at)
        for name in fleet.guests:
            verified = drover("verify", self.target(fleet, name)).code
            try:
                disk = read_overlay(self.target(fleet, name))
            except AssertionError:
                self.assertTrue(isNaming, at)
                self.assertEqual(verified, 2, at)
                continue
            self.assertTrue(disk in (before[name], fleet.disks[name]), at)
            self.assertEqual(verified, 2 if isNaming else 0, at)
        return isNaming


class HeldUp(FamilyCase):
    def test_an_overlay_in_use_or_altered_keeps_the_old_family_whole(self):
        fleet, pipeline = self.moved(guests=3)
        before = dict(fleet.disks)
        self.renew(fleet)
        used = self.target(fleet, "vm-001")
        state = self.contents(fleet)
        with open(used, "r+b") as holder:
            # Reading the file in this process would drop the lock.
            fcntl.fcntl(holder, fcntl.F_SETLK, WRITE_LOCK)
            result = self.succeeds("run", pipeline, code=1)
        self.assertIn("vm-001.cow stands on it and is in use by process", result.err)
        self.assertEqual(self.contents(fleet), state)
        os.utime(used)
        state = self.contents(fleet)
        result = self.succeeds("run", pipeline, code=1)
        self.assertIn("--without guests/vm-001.cow goes on without it", result.err)
        self.assertEqual(self.contents(fleet), state)
        for name in fleet.guests:
            self.assertTrue(read_overlay(self.target(fleet, name)) == before[name], name)
        # Without it the others go on; it stays as it is, and fits no longer.
        self.succeeds("run", "--without", "vm-001.cow", pipeline)
        self.assert_kept(fleet, ["vm-000", "vm-002"])
        self.assertEqual(self.contents(fleet)[used], state[used])
        self.succeeds("verify", used, code=2)
        self.succeeds("run", "--force", pipeline, "vm-001.cow")
        self.assert_whole(fleet, pipeline)

    def test_an_overlay_that_fails_keeps_the_old_family_whole(self):
        fleet, pipeline = self.moved(guests=3)
        self.renew(fleet)
        state = self.contents(fleet)
        image = fleet.image("vm-002")
        content = image.read_bytes()
        image.write_bytes(content[:9000])
        result = self.succeeds("run", pipeline, code=1)
        self.assertIn("vm-002.cow", result.err)
        self.assertEqual(self.contents(fleet), state)
        # What fails only while it is read: the others are made and wait.
        image.write_bytes(content)
        self.assertEqual(self.run_without_room_for(fleet, pipeline, "vm-002"), 1)
        self.assertEqual(self.contents(fleet), state)
        self.assertEqual(
            self.states("status", pipeline),
            {"bases/base-0.img": "held", "guests/vm-000.cow": "held", "guests/vm-001.cow": "held", "guests/vm-002.cow": "failed"},
        )
        self.assertEqual(
            self.states("plan", pipeline),
            {"bases/base-0.img": "held", "guests/vm-000.cow": "held", "guests/vm-001.cow": "held", "guests/vm-002.cow": "stale"},
        )
        for path in self.targets(fleet):
            self.succeeds("verify", path)
        (fleet.root / "migrated/vm-002.cow.partial").rmdir()
        self.succeeds("run", pipeline)
        self.assert_whole(fleet, pipeline)

    def run_without_room_for(self, fleet, pipeline, name):
        Path(f"{self.target(fleet, name)}.partial").mkdir()
        result = drover("run", pipeline)
        self.assertIn(f"waits for guests/{name}.cow", result.err)
        return result.code

    def test_a_guest_that_starts_between_the_record_and_the_names_loses_nothing(self):
        fleet, pipeline = self.moved()
        self.renew(fleet)
        self.assertEqual(Renewed.kill_at(self, "renameat", 1, pipeline), -9)
        named = [n for n in fleet.guests if not Path(f"{self.target(fleet, n)}.partial").exists()]
        other = next(n for n in fleet.guests if n not in named) if len(named) < 2 else None
        if other is None:
            return
        path = self.target(fleet, other)
        with open(path, "r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\x55")
        used = self.contents(fleet)[path]
        result = self.succeeds("run", pipeline, code=1)
        self.assertIn(f"guests/{other}.cow --force replaces it", result.err)
        self.assertEqual(self.contents(fleet)[path], used)
        self.succeeds("run", "--force", pipeline, f"{other}.cow")
        self.succeeds("run", pipeline)
        self.assert_whole(fleet, pipeline)


class Parts(FamilyCase):
    def test_the_last_shard_names_the_family(self):
        fleet, pipeline = self.moved(guests=5)
        self.renew(fleet)
        state = self.contents(fleet)
        result = self.succeeds("run", "--shard", "1/2", pipeline, code=75)
        self.assertIn("waits for guests/vm-001.cow, guests/vm-003.cow", result.err)
        self.assertEqual(self.contents(fleet), state)
        # Again it does nothing, and does not say that it is done.
        report = self.succeeds("run", "--output", "json", "--shard", "1/2", pipeline, code=75).json()
        self.assertEqual(report["totals"], {"held": 4})
        self.assertEqual(self.succeeds("run", "--output", "json", "--shard", "2/2", pipeline).json()["totals"], {"done": 3})
        self.assert_whole(fleet, pipeline)

    def test_shards_at_once_end_with_one_family(self):
        fleet, pipeline = self.moved(guests=8)
        for seed in range(3):
            self.renew(fleet, seed, 1_600_000_000 + seed)
            runs = [
                subprocess.Popen([binary(), "run", "-q", "--shard", f"{n}/4", pipeline], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                for n in (1, 2, 3, 4)
            ]
            codes = [run.wait(60) for run in runs]
            self.assertLessEqual(set(codes), {0, 75})
            self.assertIn(0, codes)
            self.assert_whole(fleet, pipeline)

    def test_a_named_image_waits_for_the_others(self):
        fleet, pipeline = self.moved(guests=3)
        self.renew(fleet)
        state = self.contents(fleet)
        self.succeeds("run", pipeline, "vm-000.cow", code=75)
        self.assertEqual(self.contents(fleet), state)
        self.assertEqual(self.states("plan", pipeline)["guests/vm-000.cow"], "held")
        self.succeeds("run", pipeline)
        self.assert_whole(fleet, pipeline)

    def test_a_base_that_changes_again_is_made_again(self):
        fleet, pipeline = self.moved(guests=3)
        self.renew(fleet)
        self.succeeds("run", pipeline, "vm-000.cow", code=75)
        self.renew(fleet, 8, 1_700_000_000)
        self.succeeds("run", pipeline)
        self.assert_whole(fleet, pipeline)

    def test_convert_gives_no_base_the_name_that_waits(self):
        fleet, pipeline = self.moved()
        self.renew(fleet)
        self.succeeds("run", pipeline, "vm-000.cow", code=75)
        state = self.contents(fleet)
        result = self.fails(73, "convert", "--as-base", "-f", "raw", fleet.base("vm-000"), fleet.root / "migrated/bases/base-0.raw")
        self.assertIn("family", result.err)
        self.assertEqual(self.contents(fleet), state)


class Verified(FamilyCase):
    def test_an_overlay_whose_base_is_another_is_not_sound(self):
        fleet, _ = self.moved(guests=1)
        overlay, base = self.target(fleet, "vm-000"), fleet.root / "migrated/bases/base-0.raw"
        self.succeeds("verify", overlay)
        time = base.stat().st_mtime_ns
        os.utime(base, ns=(time, time + 10**9))
        self.assertIn("base-0.raw is not the one", self.fails(2, "verify", overlay).err)
        os.utime(base, ns=(time, time))
        self.succeeds("verify", overlay)


if __name__ == "__main__":
    unittest.main()
