"""A real User-Mode Linux guest judges the overlays that Drover writes, and Drover reads what the guest wrote."""

import os
import random

from harness import MIB, REPOSITORY, DroverCase, digest, drover, fingerprint, required_tool, run_tool
from uml import Guest


class UMLCase(DroverCase):
    """The fleet of the fixtures, moved: its base converted once, each guest an overlay of the new base."""

    def setUp(self):
        super().setUp()
        required_tool("linux.uml")
        run_tool("tar", "-xf", REPOSITORY / "Fixtures/uml-fleet.tar.xz", "-C", self.scratch)
        self.old_base = self.path("a/base/a.img")
        self.map = ["--backing-map", f"/srv/uml={self.path('a')}"]
        lines = (self.scratch / "a/expect.tsv").read_text().splitlines()
        self.expected = {name: sha256 for name, _, sha256, _ in (line.split("\t") for line in lines)}
        self.base = self.path("base.img")
        self.succeeds("convert", self.old_base, self.base)

    def source(self, name):
        return self.path(f"a/guests/{name}.cow")

    def rebuilt(self, name, *options):
        target = self.path(f"{name}.cow")
        self.succeeds("convert", *self.map, "-O", "cow", "-B", self.base, *options, self.source(name), target)
        return target

    def flattened(self, image):
        target = self.path("flattened.raw")
        self.succeeds("convert", "--force", image, target)
        return target

    def assert_clean_ext4(self, raw):
        run_tool("e2fsck", "-f", "-n", raw)


class AGuestOnARebuiltOverlay(UMLCase):
    def test_reads_what_it_read_before_the_move(self):
        overlays = [self.rebuilt(name) for name in self.expected]
        before = fingerprint([*overlays, self.base])
        script = "".join(f"disk_digest $DISK{number}\n" for number in range(len(overlays)))
        self.assertEqual(Guest.run(script, overlays).lines(), list(self.expected.values()))
        self.assertEqual(fingerprint([*overlays, self.base]), before, "reading must not have made the guest change a header")

    def test_reads_the_same_from_layout_uml_v2(self):
        overlay = self.rebuilt("a3-db", "-o", "layout=uml-v2")
        self.assertEqual(Guest.run("disk_digest $DISK0", [overlay]).lines(), [self.expected["a3-db"]])

    def test_has_a_clean_file_system_and_writes_to_it(self):
        words = "written by the guest after the move\n"
        noise = random.Random(7).randbytes(3 * MIB)
        self.assert_clean_ext4(self.flattened(self.rebuilt("a2-small")))
        overlay = self.path("a2-small.cow")
        guest = Guest(
            """
            mount -t ext4 $DISK0 /mnt
            cat words >/mnt/words.txt
            cp noise /mnt/noise
            rm -r /mnt/usr/share/doc/p4
            umount /mnt
            disk_digest $DISK0
            """,
            [overlay],
        )
        with guest:
            (guest.shared / "words").write_text(words)
            (guest.shared / "noise").write_bytes(noise)
            (seen,) = guest.wait().lines()
        self.assertNotEqual(seen, self.expected["a2-small"])
        self.succeeds("check", overlay)
        raw = self.flattened(overlay)
        self.assertEqual(digest(raw), seen)
        self.assert_clean_ext4(raw)
        self.assertEqual(run_tool("debugfs", "-R", "cat /words.txt", raw), words)
        run_tool("debugfs", "-R", f"dump /noise {self.path('noise')}", raw)
        self.assertEqual((self.scratch / "noise").read_bytes(), noise)
        self.assertEqual(run_tool("debugfs", "-R", "stat /usr/share/doc/p4", raw), "")
        self.assertEqual(digest(self.base), digest(self.old_base))

    def test_is_moved_again_with_what_it_wrote(self):
        overlay = self.rebuilt("a1-idle")
        script = "mount -t ext4 $DISK0 /mnt; seq 100000 >/mnt/numbers; umount /mnt; disk_digest $DISK0"
        (seen,) = Guest.run(script, [overlay]).lines()
        again = self.path("again.cow")
        self.succeeds("convert", "-O", "cow", "-B", self.base, overlay, again)
        self.assertEqual(Guest.run("disk_digest $DISK0", [again]).lines(), [seen])


class AGuestOnACreatedOverlay(UMLCase):
    def test_fills_and_trims_it(self):
        """Trimmed sectors are allocated and lie over holes of the file: they are zeros and not the base's data."""
        overlay = self.path("new.cow")
        base = self.path("noise.img")
        with open(base, "wb") as file:
            file.write(random.Random(8).randbytes(8 * MIB))
            file.truncate(48 * MIB)
        self.succeeds("create", "-b", base, overlay)
        script = """
            mkfs.ext4 -q -F $DISK0
            mount -t ext4 $DISK0 /mnt
            mkdir /mnt/many
            for i in $(seq 200); do head -c $((RANDOM % 20000)) /dev/urandom >/mnt/many/$i; done
            rm /mnt/many/*[02468]
            fstrim /mnt
            umount /mnt
            disk_digest $DISK0
        """
        (seen,) = Guest.run(script, [overlay]).lines()
        raw = self.flattened(overlay)
        self.assertEqual(digest(raw), seen)
        self.assert_clean_ext4(raw)
        self.assertLess(os.stat(raw).st_blocks * 512, 24 * MIB, "what was trimmed and never written takes no space")


class ARunningGuest(UMLCase):
    def test_keeps_its_disk_from_being_read_by_accident(self):
        overlay = self.rebuilt("a3-db")
        sibling = self.rebuilt("a1-idle")
        target = self.path("copy.raw")
        # A device is locked while something has it open.
        with Guest("exec 5<$DISK0; ready; wait_for_host", [overlay]) as guest:
            guest.wait_until_ready()
            refused = self.fails(66, "convert", overlay, target)
            self.assertIn(overlay, refused.err)
            self.assertIn("lock", refused.err)
            self.assert_absent(target, target + ".partial")
            shared = drover("convert", "--force-share", overlay, target)
            self.assertEqual(shared.code, 0, shared)
            self.assertEqual(digest(target), self.expected["a3-db"])
            self.assertEqual(digest(self.flattened(sibling)), self.expected["a1-idle"], "the base it shares may be read")
            guest.go_on()
            guest.wait().lines()
        self.assertEqual(digest(self.flattened(overlay)), self.expected["a3-db"])
