"""Images that are moved onto block devices, in place."""

import os
import random
import subprocess
import time
from pathlib import Path

import needs
from chains import random_chain
from devices import attach, mount
from harness import MIB, SECTOR, DroverCase, drover, run_tool, start
from moves import make_image

OLD = b"\xaa"


class DeviceTests(DroverCase):
    def setUp(self):
        super().setUp()
        needs.loop_devices()
        self.disk, self.manifest = self.path("disk"), self.path("disk.manifest")

    def device(self, length):
        """A device of `length` bytes, none of which is zero."""
        with open(self.disk, "wb") as file:
            for _ in range(0, length, MIB):
                file.write(OLD * min(MIB, length))
            file.truncate(length)
        return attach(self, self.disk)

    def convert(self, device, *arguments):
        return ("convert", "--onto-device", "--manifest", self.manifest, *arguments, device)

    def content(self, device, count):
        with open(device, "rb") as file:
            return file.read(count)

    def test_random_chains_are_on_the_device_and_what_lies_behind_them_stays(self):
        seed = random.SystemRandom().randrange(10**9)
        device = self.device(8 * MIB)
        for number in range(12):
            folder = Path(self.path(str(number)))
            folder.mkdir()
            image = random_chain(f"{seed}-{number}", folder).top
            raw = self.path("disk.raw")
            with self.subTest(f"{seed}-{number}"):
                if drover("convert", "--force", image, raw).code or os.path.getsize(raw) > 8 * MIB:
                    continue
                subprocess.run(f"tr '\\0' '\\252' < /dev/zero | dd of={device} bs=1M count=8 iflag=fullblock conv=fsync status=none", shell=True, check=True)
                options = random.choice(((), ("-S", "0"), ("--segment", "1M"), ("--jobs", "1")))
                self.succeeds(*self.convert(device, *options, "--restart", image))
                expected = Path(raw).read_bytes()
                found = self.content(device, 8 * MIB)
                self.assertEqual(found[: len(expected)], expected)
                self.assertEqual(set(found[len(expected) :]), set(OLD) if len(expected) < 8 * MIB else set())
                self.succeeds("verify", "--manifest", self.manifest, device)

    def test_a_killed_move_goes_on_and_what_was_written_to_meanwhile_begins_anew(self):
        _, image = make_image(self.scratch, 32)
        self.succeeds("convert", image, self.path("disk.raw"))
        device = self.device(33 * MIB)
        for spoils in (False, True):
            process = start(*self.convert(device, "-q", "--segment", "1M", "--rate", "6M", image))
            time.sleep(1)
            process.kill()
            process.communicate()
            self.assertIn("not complete", self.fails(65, "verify", "--manifest", self.manifest, device).err)
            if spoils:
                with open(device, "r+b") as file:
                    file.write(b"somebody else")
            result = drover(*self.convert(device, "-v", "--segment", "1M", image))
            self.assertEqual(result.code, 0, f"\n{result}")
            self.assertIn("from the start" if spoils else "resumed", result.err)
            self.assertEqual(self.content(device, 32 * MIB), Path(self.path("disk.raw")).read_bytes())
            self.succeeds("verify", "--manifest", self.manifest, device)

    def test_a_device_that_changed_is_damaged_and_is_written_again(self):
        _, image = make_image(self.scratch, 4)
        device = self.device(4 * MIB)
        self.succeeds(*self.convert(device, image))
        with open(device, "r+b") as file:
            file.seek(MIB)
            file.write(b"\1")
        self.fails(2, "verify", "--manifest", self.manifest, device)
        self.succeeds(*self.convert(device, image))
        self.succeeds("verify", "--manifest", self.manifest, device)

    def test_what_is_in_use_too_short_or_no_device_is_left_alone(self):
        base, image = make_image(self.scratch, 4)
        device = self.device(4 * MIB - SECTOR)
        self.assertIn("expected at least", self.fails(73, *self.convert(device, image)).err)
        self.assertIn("no block device", self.fails(73, *self.convert(self.disk, image)).err)
        self.assert_absent(self.path("none"))
        self.fails(73, *self.convert(self.path("none"), image))
        self.assertEqual(set(self.content(device, 4 * MIB)), set(OLD))
        formatted = self.path("formatted")
        with open(formatted, "wb") as file:
            file.truncate(16 * MIB)
        run_tool("mkfs.ext4", "-q", "-F", formatted)
        mounted = attach(self, formatted)
        mount(self, mounted, self.path("mounted"))
        self.assertIn("in use", self.fails(73, *self.convert(mounted, image)).err)
        # The base under a device that may be written to is in use itself.
        self.fails(66, *self.convert(attach(self, base), image))

    def test_a_device_is_no_source_of_its_own(self):
        device = self.device(4 * MIB)
        self.assertIn("source's own chain", self.fails(73, *self.convert(device, "-f", "raw", device)).err)

    def test_the_manifest_of_another_target_is_kept(self):
        _, image = make_image(self.scratch, 2)
        device = self.device(4 * MIB)
        self.succeeds("convert", image, self.disk + "2")
        before = Path(self.disk + "2.manifest").read_bytes()
        self.assertIn("is the manifest of", self.fails(73, "convert", "--onto-device", "--manifest", self.disk + "2.manifest", image, device).err)
        self.assertEqual(Path(self.disk + "2.manifest").read_bytes(), before)
        Path(self.manifest).write_text("something else\n")
        self.fails(65, *self.convert(device, image))
        self.assertEqual(Path(self.manifest).read_text(), "something else\n")

    def test_what_does_not_go_together_is_64(self):
        _, image = make_image(self.scratch, 2)
        for options in (("--onto-device",), ("--manifest", self.manifest), ("--onto-device", "--manifest", self.manifest, "-O", "qcow2"),
                        ("--onto-device", "--manifest", self.path("x.txt"))):  # fmt: skip
            self.fails(64, "convert", *options, image, "/dev/loop0" if "x.txt" not in options[-1] else self.device(4 * MIB))
        self.assertFalse(os.path.exists(self.manifest))
