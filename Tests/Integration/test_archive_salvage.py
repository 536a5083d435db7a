"""What `--salvage` leaves: files with a record of what is missing in them, the same when it is run again, and known to `verify`."""

import os
import re
from pathlib import Path

from archives import frames, make_fleet
from harness import DroverCase, manifest_of, records

MIB_SECTORS = 2048


class SalvageTests(DroverCase):
    def setUp(self):
        super().setUp()
        self.fleet = make_fleet(self.scratch / "fleet", 3, 1, sectors=12000, seed=9, content="dense")
        self.archive, self.out = self.path("fleet.drover"), self.path("out")
        self.succeeds("pack", self.archive, *self.fleet.images)
        self.data = Path(self.archive).read_bytes()
        self.frames = frames(self.data)
        self.hurt, self.salvage = self.path("hurt.drover"), ["unpack", "--salvage", "-C", self.out, self.path("hurt.drover")]

    def damage(self, *numbers):
        """Flips a bit in the middle of these frames."""
        data = bytearray(self.data)
        for number in numbers:
            data[(self.frames[number].start + self.frames[number].end) // 2] ^= 1
        Path(self.hurt).write_bytes(data)

    def payloads(self):
        return [number for number, frame in enumerate(self.frames) if not frame.is_record and number > 0]

    def files(self):
        return sorted(str(path) for path in Path(self.out).rglob("*") if path.is_file() and path.suffix != ".manifest")

    def states(self):
        return {path: (os.stat(path).st_ino, os.stat(path).st_mtime_ns, Path(manifest_of(path)).read_bytes()) for path in self.files()}

    def lost(self, text):
        """The file's path below `out` to its lost sectors, from what was said."""
        found = {}
        for name, first, last in re.findall(r"(\S+): sectors (\d+) to (\d+) (?:are damaged|could not)", text):
            found.setdefault(os.path.relpath(name, self.out) if name.startswith("/") else name, []).append((int(first), int(last)))
        return found

    def test_a_checkpoint_of_another_move_is_not_forgotten(self):
        self.damage(self.payloads()[1])
        listed = [layer["name"] for layer in self.succeeds("list", "--output", "json", self.archive).json()["layers"]]
        place = Path(self.out) / listed[0]
        place.parent.mkdir(parents=True)
        self.succeeds("convert", "--segment", "1M", self.fleet.images[0], place)
        os.rename(place, f"{place}.partial")
        manifest = Path(manifest_of(place))
        # A raw target has two lines of it where times have settled.
        lines = manifest.read_bytes().splitlines(keepends=True)
        manifest.write_bytes(b"".join(line for line in lines if b'"record":"complete"' not in line))
        before = manifest.read_bytes()
        self.fails(65, *self.salvage)
        self.assertEqual(manifest.read_bytes(), before)
        self.succeeds(*self.salvage, "--restart", code=2)

    def test_verify_names_what_was_not_restored(self):
        payloads = self.payloads()
        self.damage(payloads[1], payloads[-1])
        lost = self.lost(self.succeeds(*self.salvage, code=2).err)
        self.assertEqual(sum(map(len, lost.values())), 2, lost)
        for path in self.files():
            name = os.path.relpath(path, self.out)
            with self.subTest(name=name):
                found = self.succeeds("verify", path, code=2 if name in lost else 0)
                self.assertEqual(self.lost(found.err), {name: lost[name]} if name in lost else {})
                end = records(path)[-1]
                pairs = [(first, last - first + 1) for first, last in lost.get(name, [])]
                self.assertEqual(end.get("lost"), [{"start": a, "count": b} for a, b in pairs] or None)
                self.assertEqual(records(path)[0]["options"].get("salvaged"), True if pairs else None)

    def test_verify_still_finds_damage_that_comes_later(self):
        self.damage(self.payloads()[1])
        self.succeeds(*self.salvage, code=2)
        base = f"{self.out}/bases/base-0.img"
        with open(base, "r+b") as file:
            file.seek(5_000_000)
            byte = file.read(1)
            file.seek(5_000_000)
            file.write(bytes([byte[0] ^ 1]))
        text = self.succeeds("verify", base, code=2).err
        self.assertIn("could not be restored", text)
        self.assertIn("are not what was written", text)

    def test_of_a_copy_with_other_damage_it_is_refused(self):
        self.damage(self.payloads()[2])
        self.succeeds(*self.salvage, code=2)
        self.damage(self.payloads()[1])
        self.fails(73, *self.salvage)
        self.succeeds(*self.salvage, "--restart", "--force", code=2)
        self.succeeds(*self.salvage, code=2)

    def test_a_sound_archive_replaces_salvaged_files_by_force_alone(self):
        self.damage(self.payloads()[1])
        self.succeeds(*self.salvage, code=2)
        unpack = ["unpack", "-C", self.out, self.archive]
        self.fails(73, *unpack)
        self.succeeds(*unpack, "--force")
        for path in self.files():
            self.succeeds("verify", path)

    def test_a_skip_is_said_once(self):
        """Behind a lost record the index is no longer held against what was read."""
        self.damage([number for number, frame in enumerate(self.frames) if frame.is_record][-5])
        for more in ((), ("base-0.img",)):
            lines = self.succeeds(*self.salvage, "--restart", "--force", *more, code=2).err.splitlines()
            self.assertEqual(len(lines), 1, lines)
        self.assertNotIn("index is not true", self.succeeds("verify", self.hurt, code=2).err)
