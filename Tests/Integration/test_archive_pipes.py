"""Pipes whose other side stalls or goes away: the first signal ends Drover with 75, and what came through is kept."""

import array
import fcntl
import os
import signal
import socket
import subprocess
import termios
import time
from pathlib import Path

from archives import difference, make_fleet
from harness import MIB, DroverCase, start
from moves import segments

PROMPT = 3  # seconds


class ArchivePipeTests(DroverCase):
    def setUp(self):
        super().setUp()
        self.fleet = make_fleet(self.scratch / "fleet", 3, 1, sectors=12000, seed=3, content="dense")
        self.archive, self.out = self.path("fleet.drover"), self.path("out")
        self.succeeds("pack", self.archive, *self.fleet.images)
        self.data = Path(self.archive).read_bytes()

    def assert_stops(self, process, number):
        """One signal ends it, soon, with 75 and one line."""
        began = time.monotonic()
        process.send_signal(number)
        code = process.wait(20)
        seconds = time.monotonic() - began
        with process.stderr as file:
            text = file.read().decode()
        self.assertEqual(code, 75, text)
        self.assertLess(seconds, PROMPT)
        self.assertRegex(text, r"\Adrover: [^\n]*stopped by a signal[^\n]*\n\Z")

    def wait_for(self, condition):
        end = time.monotonic() + 20
        while not condition():
            self.assertLess(time.monotonic(), end, "nothing happens")
            time.sleep(0.01)

    def waiting(self, descriptor):
        """The bytes that wait in a pipe."""
        count = array.array("i", [0])
        fcntl.ioctl(descriptor, termios.FIONREAD, count)
        return count[0]

    def test_packing_to_a_reader_that_stalls(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            process = start("pack", "-", *self.fleet.images, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            with process.stdout as pipe:
                self.wait_for(lambda: self.waiting(pipe.fileno()) > 60_000)
                time.sleep(0.2)
                self.assert_stops(process, number)

    def test_an_error_is_said_although_the_reader_stalls(self):
        process = start("pack", "--rate", "3M", "-", *self.fleet.images, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with process.stdout as pipe:
            self.wait_for(lambda: self.waiting(pipe.fileno()) > 60_000)
            for image in Path(self.scratch / "fleet").rglob("*"):
                if image.is_file():
                    os.truncate(image, 100_000)
            code = process.wait(20)
        with process.stderr as file:
            self.assertRegex(file.read().decode(), r"\Adrover: [^\n]*\n\Z")
        self.assertIn(code, (65, 74))

    def test_a_pipe_is_read_to_its_end_although_all_is_there(self):
        for more in (["-O", "raw"], []):
            for _ in range(2):
                with open(self.archive, "rb") as file:
                    process = start("unpack", *more, "-C", self.out + "".join(more), "-", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
                    process.stdin.write(file.read())
                    process.stdin.close()
                    self.assertEqual(process.wait(20), 0)
                    process.stderr.close()
            process = start("unpack", *more, "-C", self.out + "".join(more), "-", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
            process.stdin.write(self.data[:-60])
            process.stdin.close()
            self.assertEqual(process.wait(20), 65, "the archive was cut short")
            process.stderr.close()

    def test_packing_to_a_socket_that_stalls(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            process = start("pack", "-", *self.fleet.images, stdout=theirs, stderr=subprocess.PIPE)
            self.wait_for(lambda: self.waiting(ours.fileno()) > 10_000)
            time.sleep(0.5)
            self.assert_stops(process, signal.SIGTERM)

    def test_all_ways_out_get_the_same_bytes(self):
        with open(self.path("file.drover"), "wb") as file:
            file.write(b"before")
            file.flush()
            self.assertEqual(start("pack", "-", *self.fleet.images, stdout=file).wait(60), 0)
        self.assertTrue(Path(self.path("file.drover")).read_bytes() == b"before" + self.data)
        process = start("pack", "-", *self.fleet.images, stdout=subprocess.PIPE)
        self.assertTrue(process.communicate(timeout=60)[0] == self.data)
        ours, theirs = socket.socketpair()
        with ours:
            process = start("pack", "-", *self.fleet.images, stdout=theirs)
            theirs.close()
            found = b"".join(iter(lambda: ours.recv(MIB), b""))
            self.assertEqual((process.wait(60), found == self.data), (0, True))

    def test_the_pipe_of_others_stays_as_it_was(self):
        """The flag that keeps a writer from blocking is shared by all who have the same open file."""
        reader, writer = os.pipe()
        process = start("pack", "-", *self.fleet.images, stdout=writer, stderr=subprocess.PIPE)
        self.wait_for(lambda: self.waiting(reader) > 60_000)
        self.assertTrue(os.get_blocking(writer))
        self.assert_stops(process, signal.SIGTERM)
        os.close(reader), os.close(writer)

    def test_a_reader_that_goes_away(self):
        process = start("pack", "-", *self.fleet.images, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.read(1000)
        process.stdout.close()
        self.assertEqual(process.wait(20), 74)
        process.stderr.close()
        with open("/dev/full", "wb") as full:
            done = start("pack", "-", *self.fleet.images, stdout=full, stderr=subprocess.PIPE)
            self.assertEqual(done.wait(20), 74)
            done.stderr.close()

    def stalled(self, length, *arguments):
        """Drover with so much of the archive on its standard input, and no more."""
        process = start(*arguments, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdin.write(self.data[:length])
        process.stdin.flush()
        self.wait_for(lambda: self.waiting(process.stdin.fileno()) == 0)
        time.sleep(0.2)
        return process

    def test_unpacking_from_a_writer_that_stalls(self):
        for length in (0, 10, 100, len(self.data) // 2, len(self.data) - 50):
            for number in (signal.SIGTERM, signal.SIGINT):
                for more in ((), ("-O", "raw"), (Path(self.fleet.images[2]).parent.name + "/top.cow",)):
                    with self.subTest(length=length, number=number, more=more):
                        before, after = (more, ()) if more[:1] == ("-O",) else ((), more)
                        process = self.stalled(length, "unpack", *before, "-C", self.out, "-", *after)
                        self.assert_stops(process, number)
                        process.stdin.close()

    def test_what_came_through_is_kept(self):
        process = self.stalled(len(self.data) // 3, "unpack", "--segment", "1M", "-C", self.out, "-")
        self.assert_stops(process, signal.SIGTERM)
        process.stdin.close()
        base = f"{self.out}/bases/base-0.img"
        done = segments(base)
        self.assertGreater(len(done), 1, "nothing was recorded")
        with open(self.archive, "rb") as file:
            self.assertEqual(start("unpack", "--segment", "1M", "-C", self.out, "-", stdin=file).wait(60), 0)
        self.assertEqual(segments(base)[: len(done)], done)
        for image in self.fleet.images:
            restored = f"{self.out}/{os.path.relpath(image, self.scratch / 'fleet')}"
            self.assertEqual(difference(image, restored), "")

    def test_verifying_a_pipe_that_stalls(self):
        for length in (0, 100, len(self.data) // 2):
            with self.subTest(length=length):
                process = self.stalled(length, "verify", "-")
                self.assert_stops(process, signal.SIGTERM)
                process.stdin.close()
