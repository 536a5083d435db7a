"""A conversion killed again and again, then run to its end: the same bytes, and nothing done twice."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import MOST_MEMORY, SECTOR, DroverCase, drover, fingerprint, manifest_of, records, start, stop
from moves import data_segments, interrupt, is_complete, make_image, segments
from reference import open_chain
from write_trace import traced

MEBIBYTES = int(os.environ.get("DROVER_RESUME_MIB", "384"))
KILLS = int(os.environ.get("DROVER_KILLS", "12"))
LONGEST_RUN = 0.5  # seconds until it is killed
PROBE = 65536  # reads this near to a file's begin may be a look at its header
SEED = os.environ.get("DROVER_SEED") or str(random.SystemRandom().randrange(10**9))


class ResumeTests(DroverCase):
    @classmethod
    def setUpClass(cls):
        print(f"DROVER_SEED={SEED} DROVER_KILLS={KILLS}", file=sys.stderr, flush=True)
        cls.folder = Path(tempfile.mkdtemp(prefix="drover-resume-")).resolve()
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.base, cls.image = make_image(cls.folder, MEBIBYTES)
        cls.chain = open_chain(cls.image)
        data = sum(os.stat(path).st_blocks * 512 for path in (cls.base, cls.image))
        cls.sources = fingerprint([cls.base, cls.image])
        cls.slow = str(int(data / KILLS / (2 * LONGEST_RUN)))  # all kills come before the end

    def setUp(self):
        super().setUp()
        self.target = self.path("out.raw")
        self.convert = ["convert", "--segment", "2M", self.image, self.target]

    def tearDown(self):
        self.assertEqual(fingerprint([self.base, self.image]), self.sources, "a source was changed")

    def assert_whole(self):
        with open(self.target, "rb") as file:
            self.assert_same_bytes(file, self.chain.pieces(), self.target)
        self.assert_absent(f"{self.target}.partial")

    def kill_at_random(self, arguments, rng):
        """Starts `arguments` slowed down and kills it after a random time. False if it was done before."""
        process = start(*arguments, "--rate", self.slow)
        time.sleep(rng.uniform(0.02, LONGEST_RUN))
        ended = process.poll() is not None
        stop(process)
        return not ended

    def test_killed_at_random_moments_and_run_to_the_end(self):
        rng = random.Random(SEED)
        killed = 0
        for _ in range(KILLS):
            killed += self.kill_at_random(self.convert, rng)
            if not is_complete(self.target):
                self.assert_absent(self.target)
        self.assertGreaterEqual(killed, KILLS * 2 // 3, "too fast to be killed; --rate does not slow it down?")
        done = segments(self.target)
        self.assertGreater(len(done), 2, "nothing was recorded")
        self.assert_recorded_segments_hold(done)
        ended, accesses = traced(self.convert, self.scratch)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assert_whole()
        self.assert_nothing_done_twice(done, accesses)
        self.assert_segments_cover_the_disk()
        self.assert_same_record_as_without_interruption()
        self.succeeds("verify", self.target)

    def assert_recorded_segments_hold(self, done):
        """What the manifest calls done is in the file."""
        with open(f"{self.target}.partial", "rb") as file:
            for first, count, kind in done:
                if kind == "data":
                    file.seek(first * SECTOR)
                    found, expected = file.read(count * SECTOR), bytearray()
                    for span in self.chain.spans(0, first, first + count):
                        expected += self.chain.layers[span.depth].read(span.first, span.last)
                    self.assertTrue(found.ljust(len(expected), b"\0") == expected, f"the segment at {first} is not there")

    def assert_nothing_done_twice(self, done, accesses):
        """No byte of a finished segment is written or read again."""
        finished = sorted((first, first + count) for first, count, _ in done)
        data_offset = self.chain.layers[0].data_offset
        starts = {f"{self.target}.partial": 0, self.base: 0, self.image: data_offset}
        for access in accesses:
            if access.path not in starts or access.kind not in ("read", "write"):
                continue
            self.assertIsNotNone(access.offset, f"cannot tell where this was: {access}")
            first = (access.offset - starts[access.path]) / SECTOR
            last = first + access.length / SECTOR
            if last <= 0 or access.kind == "read" and access.offset + access.length <= PROBE:
                continue  # the header or the bitmap
            for begin, end in finished:
                self.assertFalse(begin < last and first < end, f"done before (sectors {begin} to {end}): {access}")
        written = [access for access in accesses if access.kind == "write" and access.path.endswith(".partial")]
        self.assertTrue(written, "the trace has no write at all, so it proves nothing")

    def assert_segments_cover_the_disk(self):
        position = 0
        for first, count, _ in sorted(segments(self.target)):
            self.assertEqual(first, position, "segments overlap or leave a gap")
            position += count
        self.assertEqual(position, self.chain.sectors)

    def assert_same_record_as_without_interruption(self):
        other = self.path("straight.raw")
        straight = self.succeeds("convert", "--segment", "2M", self.image, other, measured=True)
        self.assertLess(straight.peak, MOST_MEMORY)
        self.assert_same_file(other, self.target)
        self.assertEqual(records(other)[-1]["digest"], records(self.target)[-1]["digest"])

    def test_an_overlay_killed_at_random_moments(self):
        self.target = self.path("out.cow")
        arguments = ["convert", "--segment", "1M", "-O", "cow", "-B", self.base, self.image, self.target]
        rng = random.Random(SEED)
        for _ in range(KILLS):
            process = start(*arguments, "--rate", "8M")
            time.sleep(rng.uniform(0.02, 0.3))
            stop(process)
            if not is_complete(self.target):
                self.assert_absent(self.target)
        self.succeeds(*arguments)
        written = open_chain(self.target)
        self.assertEqual(written.layers[0].runs, self.chain.layers[0].runs)
        for found, expected in zip(written.pieces(), self.chain.pieces(), strict=True):
            self.assertTrue(found == expected, "the rebuilt overlay shows other bytes")
        self.succeeds("verify", self.target)

    def test_signals_stop_it_with_75_and_it_resumes(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            before = data_segments(self.target)
            began = time.monotonic()
            code, text = interrupt([*self.convert, "--rate", "48M"], self.target, before + 3, number)
            self.assertEqual(code, 75, text)
            self.assertRegex(text, r"\Adrover: [^\n]*\n\Z")
            self.assertLess(time.monotonic() - began, 10)
            self.assert_absent(self.target)
            self.assertGreater(data_segments(self.target), before)
        self.succeeds(*self.convert)
        self.assert_whole()

    def test_a_hangup_stops_it_unless_it_was_started_to_outlive_one(self):
        for found, code in ((signal.SIG_DFL, 75), (signal.SIG_IGN, 0)):
            process = start(
                *self.convert, "--rate", "48M", stderr=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(signal.SIGHUP, found))
            while data_segments(self.target) < 2:
                self.assertIsNone(process.poll())
                time.sleep(0.005)
            process.send_signal(signal.SIGHUP)
            _, text = process.communicate(timeout=60)
            self.assertEqual(process.returncode, code, text)
        self.assert_whole()

    def test_sigusr1_prints_the_state_and_goes_on(self):
        process = start(*self.convert, "--rate", "96M", stderr=subprocess.PIPE, text=True)
        time.sleep(0.4)
        process.send_signal(signal.SIGUSR1)
        time.sleep(0.3)
        self.assertIsNone(process.poll(), "SIGUSR1 ended it")
        _, text = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, text)
        self.assertTrue(text.strip(), "SIGUSR1 printed nothing")
        self.assert_whole()

    def test_a_source_that_changes_while_it_is_read_is_an_error(self):
        base, image = make_image(self.scratch, 24)
        for source in (image, base):
            with self.subTest(source=source):
                arguments = ["convert", "--segment", "1M", "--restart", "--rate", "16M", image, self.target]
                process = start(*arguments, stderr=subprocess.PIPE, text=True)
                while data_segments(self.target) < 2:
                    self.assertIsNone(process.poll())
                    time.sleep(0.005)
                before = os.stat(source).st_mtime_ns
                with open(source, "r+b") as file:
                    file.seek(-1, os.SEEK_END)
                    file.write(b"\1")
                _, text = process.communicate(timeout=60)
                self.assertEqual(process.returncode, 65, text)
                self.assertIn(source, text)
                self.assert_absent(self.target)
                os.utime(source, ns=(before, before))

    def test_a_second_process_is_refused_and_the_first_goes_on(self):
        process = start(*self.convert, "--rate", "96M", stderr=subprocess.PIPE, text=True)
        while not os.path.exists(manifest_of(self.target)):
            self.assertIsNone(process.poll())
            time.sleep(0.005)
        for options in ((), ("--force",), ("--restart",)):
            second = drover(*self.convert, *options)
            self.assertIn(second.code, (73, 75), f"\n{second}")
            self.assertLess(second.seconds, 1)
            self.assert_one_line_error(second)
        self.assertIsNone(process.poll(), "the first one ended while it was disturbed")
        self.assertEqual(process.wait(60), 0, process.stderr.read())
        process.stderr.close()
        self.assert_whole()
