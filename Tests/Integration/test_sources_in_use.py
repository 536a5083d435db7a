"""Sources that somebody may write to: disks of running QEMUs, mounted devices, files under loop devices."""

import fcntl
import os
import signal
import subprocess
import time

import needs
from devices import attach, holding, lock, mount, open_lock, unmount
from harness import MIB, DroverCase, drover, records, run_tool, start, stop


class DisksOfGuestsTests(DroverCase):
    def setUp(self):
        super().setUp()
        self.disk, self.out = self.path("disk.raw"), self.path("out.raw")
        with open(self.disk, "wb") as file:
            file.write(os.urandom(2 * MIB))

    def assert_in_use(self, image=None):
        image = image or self.disk
        pipeline = self.path("fleet.yaml")
        with open(pipeline, "w") as file:
            file.write(f"sources: [{os.path.basename(image)}]\ntarget: {{directory: moved}}\n")
        for command in (("convert", image, self.out), ("pack", self.path("out.drover"), image), ("map", image)):
            error = self.fails(66, *command).err
            self.assertIn("--force-share)", error)
        self.assertEqual(drover("run", pipeline).code, 1)
        self.assertEqual(drover("check", image).code, 66)
        self.assert_absent(self.out, self.path("out.drover"), self.path("moved/disk.raw"))

    def assert_free(self, image=None):
        image = image or self.disk
        self.succeeds("convert", "--force", image, self.out)
        self.assertIs(records(self.out)[0]["consistent"], True)
        self.succeeds("pack", "--force", self.path("out.drover"), image)

    def test_a_disk_that_qemu_has_open_for_writing_is_in_use(self):
        end = holding(self, "qemu-io", "-f", "raw", self.disk)
        self.assert_in_use()
        self.succeeds("convert", "-q", "--force-share", self.disk, self.out)
        self.assertIs(records(self.out)[0]["consistent"], False)
        end()
        self.assert_free()

    def test_so_is_one_that_is_exported_for_writing_and_one_that_is_only_read_is_not(self):
        socket = self.path("nbd.sock")
        end = holding(self, "qemu-nbd", "-t", "-f", "raw", "-k", socket, self.disk, until=socket)
        self.assert_in_use()
        end()
        holding(self, "qemu-nbd", "-r", "-t", "-f", "raw", "-k", self.path("ro.sock"), self.disk, until=self.path("ro.sock"))
        self.assert_free()

    def test_the_base_of_a_running_overlay_is_read_and_the_overlay_is_not(self):
        overlay = self.path("over.qcow2")
        run_tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", self.disk, "-F", "raw", overlay)
        holding(self, "qemu-io", "-f", "qcow2", overlay)
        self.assert_free()
        self.fails(66, "convert", "-f", "raw", overlay, self.path("overlay.raw"))

    def test_a_layer_below_that_is_written_to_makes_the_whole_chain_one_in_use(self):
        image = self.path("web.cow")
        self.succeeds("create", "-b", self.disk, image)
        holding(self, "qemu-io", "-f", "raw", self.disk)
        self.assert_in_use(image)

    def test_a_reader_of_the_whole_file_does_not_hide_a_writer(self):
        # As a running UML locks its base; the kernel names one lock of several.
        readers, writers = (0, 0), (100, 2)
        for order in ((readers, writers), (writers, readers)):
            with self.subTest(order=order):
                first = open_lock(self, self.disk, *order[0])
                self.assertEqual(drover("map", self.disk).code, 0 if order[0] == readers else 66)
                second = open_lock(self, self.disk, *order[1])
                self.fails(66, "map", self.disk)
                first.close()
                second.close()

    def test_a_write_lock_on_any_byte_is_use_and_qemus_bytes_of_readers_are_none(self):
        for first, length, is_use in ((1 << 40, 1, True), (100, 1, False), (102, 1, False), (201, 4, False)):
            with self.subTest(first=first):
                file = lock(self, self.disk, fcntl.LOCK_EX if is_use else fcntl.LOCK_SH, first, length)
                self.assert_in_use() if is_use else self.assert_free()
                file.close()
        for byte in (101, 103, 200):
            with self.subTest(byte=byte):
                file = lock(self, self.disk, fcntl.LOCK_SH, byte, 1)
                self.assert_in_use_alone()
                file.close()

    def assert_in_use_alone(self):
        self.fails(66, "convert", self.disk, self.path("other.raw"))

    def test_who_comes_while_it_is_read_is_seen_before_the_last_record(self):
        process = start("convert", "--rate", "1M", self.disk, self.out, stderr=subprocess.PIPE, text=True)
        time.sleep(0.3)
        lock(self, self.disk, fcntl.LOCK_EX)
        error = process.communicate(timeout=30)[1]
        self.assertEqual(process.returncode, 66, error)
        self.assert_absent(self.out)


class DevicesTests(DroverCase):
    def setUp(self):
        super().setUp()
        self.file, self.out = self.path("disk.img"), self.path("out.raw")
        with open(self.file, "wb") as file:
            file.truncate(24 * MIB)
        run_tool("mkfs.ext4", "-q", "-F", "-O", "^has_journal", self.file)

    def fleet(self, device):
        path = self.path("fleet.yaml")
        with open(path, "w") as file:
            file.write(f"sources: [{device}]\nconfine: [/dev]\ntarget: {{directory: moved, name: disk.raw}}\n")
        return path

    def test_a_mounted_device_and_the_file_under_it_are_in_use(self):
        needs.loop_devices()
        device = attach(self, self.file)
        mount(self, device, self.path("m"))
        for command in (
            ("convert", device, self.out),
            ("pack", self.path("a.drover"), device),
            ("convert", self.file, self.out),
            ("pack", self.path("a.drover"), self.file),
        ):
            self.fails(66, *command)
        self.assertIn("is mounted, or held by LVM, RAID, swap or another program", drover("convert", device, self.out).err)
        self.assertEqual(drover("run", self.fleet(device)).code, 1)
        self.succeeds("convert", "-q", "--force-share", device, self.out)
        self.assertIs(records(self.out)[0]["consistent"], False)
        unmount(self.path("m"))
        self.succeeds("convert", device, self.path("free.raw"))
        self.fails(66, "convert", self.file, self.path("other.raw"))

    def test_a_loop_device_that_is_read_only_passes_no_writes_on(self):
        needs.loop_devices()
        attach(self, self.file, "-r")
        self.succeeds("convert", self.file, self.out)

    def test_nobody_mounts_a_device_while_it_is_read_and_two_sources_may_be_one_device(self):
        needs.loop_devices()
        device = attach(self, self.file)
        image = self.path("web.cow")
        self.succeeds("create", "-b", device, image)
        process = start("pack", "-q", "--rate", "200k", self.path("a.drover"), device, image, stderr=subprocess.DEVNULL)
        try:
            time.sleep(0.5)
            self.assertIsNone(process.poll())
            os.mkdir(self.path("m"))
            run_tool("mount", device, self.path("m"), codes=(32,))
        finally:
            stop(process)
        self.succeeds("pack", self.path("b.drover"), device, image)

    def test_a_move_from_a_device_begins_anew_and_is_never_up_to_date(self):
        needs.loop_devices()
        device = attach(self, self.file)
        with open(device, "r+b") as file:
            file.write(os.urandom(16 * MIB))
        process = start("convert", "-q", "--rate", "6M", "--segment", "1M", device, self.out, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not (os.path.exists(self.out + ".manifest") and len(records(self.out)) > 3):
            time.sleep(0.02)
        self.assertEqual(stop(process, signal.SIGTERM), 75)
        with open(device, "r+b") as file:
            file.write(os.urandom(4 * MIB))
        self.succeeds("convert", "--segment", "1M", device, self.out)
        self.assert_same_file(self.out, device)
        self.assertIs(records(self.out)[0]["sources"][0]["device"], True)
        self.fails(73, "convert", "--segment", "1M", device, self.out)
        self.succeeds("convert", "--segment", "1M", "--force", device, self.out)
        self.succeeds("pack", self.path("a.drover"), device)
        self.fails(73, "pack", self.path("a.drover"), device)

    def test_a_fleet_makes_it_again_and_says_why(self):
        needs.loop_devices()
        device = attach(self, self.file)
        fleet = self.fleet(device)
        self.succeeds("run", fleet)
        with open(device, "r+b") as file:
            file.write(b"changed, and no time of the node says so")
        again = self.succeeds("run", fleet)
        self.assertIn("begins anew: nothing proves that the block device it is made from is unchanged", again.out)
        self.assert_same_file(self.path("moved/disk.raw"), device)
