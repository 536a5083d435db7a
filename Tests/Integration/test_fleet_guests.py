"""The example pipelines, run on the guests that the User-Mode Linux kernel wrote; the kernel itself judges what comes out."""

import shutil
import unittest
from pathlib import Path

from harness import REPOSITORY, DroverCase, digest, fingerprint, required_tool, run_tool
from uml import Guest


class ExamplePipelines(DroverCase):
    def setUp(self):
        super().setUp()
        required_tool("linux.uml")
        run_tool("tar", "-xf", REPOSITORY / "Fixtures/uml-fleet.tar.xz", "-C", self.scratch)
        self.fleet = self.scratch / "a"
        lines = (self.fleet / "expect.tsv").read_text().splitlines()
        self.expected = {name: sha256 for name, _, sha256, _ in (line.split("\t") for line in lines)}
        self.before = fingerprint([*self.fleet.glob("guests/*"), *self.fleet.glob("base/*")])

    def example(self, name):
        return shutil.copy(REPOSITORY / "Pipelines" / name, self.fleet)

    def assert_guests_see(self, overlays):
        script = "".join(f"disk_digest $DISK{number}\n" for number in range(len(overlays)))
        self.assertEqual(Guest.run(script, [str(overlay) for overlay in overlays]).lines(), list(self.expected.values()))

    def test_convert_keeps_a_fleet_that_boots(self):
        pipeline = self.example("convert.yaml")
        self.assertIn("4 to do", self.succeeds("plan", pipeline).out)
        self.assertIn("4 done", self.succeeds("run", pipeline).out)
        moved = self.fleet / "migrated"
        self.assertEqual(digest(moved / "base/a.img"), digest(self.fleet / "base/a.img"))
        self.assert_guests_see([moved / f"{name}.cow" for name in self.expected])
        self.assertIn("4 up to date", self.succeeds("run", pipeline).out)
        self.assertEqual(fingerprint(self.before), self.before)

    def test_a_guest_that_writes_to_its_target_keeps_what_it_wrote(self):
        pipeline = self.example("convert.yaml")
        self.succeeds("run", pipeline)
        target = self.fleet / "migrated/a2-small.cow"
        script = "mount -t ext4 $DISK0 /mnt; echo used >/mnt/used; umount /mnt; disk_digest $DISK0"
        (seen,) = Guest.run(script, [str(target)]).lines()
        self.assertIn("1 left alone", self.succeeds("run", pipeline).out)
        self.assertEqual(Guest.run("disk_digest $DISK0", [str(target)]).lines(), [seen])

    def test_a_running_guest_is_explained_and_done_when_it_has_ended(self):
        pipeline = self.example("convert.yaml")
        # The header names the place where the fleet once lived; a guest is told where its base is now.
        disk = f"{self.fleet / 'guests/a1-idle.cow'},{self.fleet / 'base/a.img'}"
        with Guest("mount -t ext4 $DISK0 /mnt; ready; wait_for_host; umount /mnt", [disk]) as guest:
            guest.wait_until_ready()
            result = self.succeeds("run", pipeline, code=1)
            self.assertIn("locked for writing", result.err)
            self.assertIn("3 done, 1 failed", result.out)
            guest.go_on()
            self.assertEqual(guest.wait().status, 0)
        self.assertIn("1 done, 3 up to date", self.succeeds("run", pipeline).out)

    def test_archive_packs_them_and_they_boot_again(self):
        pipeline = self.example("archive.yaml")
        self.succeeds("run", pipeline)
        archive = self.fleet / "fleet.drover"
        self.succeeds("verify", archive)
        self.succeeds("unpack", "-C", self.path("out"), archive)
        self.assert_guests_see([next(Path(self.path("out")).rglob(f"{name}.cow")) for name in self.expected])


if __name__ == "__main__":
    unittest.main()
