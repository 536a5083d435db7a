"""`convert IMAGE -`: the raw disk to standard output."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

from chains import random_chain
from harness import MIB, DroverCase, binary, drover
from moves import make_image


def stream(*arguments, **options):
    return subprocess.Popen([binary(), "convert", *arguments, "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


class StreamTests(DroverCase):
    def test_random_chains_come_out_as_they_are_converted(self):
        seed = random.SystemRandom().randrange(10**9)
        for number in range(20):
            folder = Path(self.path(str(number)))
            folder.mkdir()
            image, target = random_chain(f"{seed}-{number}", folder).top, self.path("disk.raw")
            with self.subTest(f"{seed}-{number}"):
                code = drover("convert", "--force", image, target).code
                process = stream(image)
                out, err = process.communicate(timeout=60)
                self.assertEqual(process.returncode, code, err)
                if code == 0:
                    self.assertTrue(out == Path(target).read_bytes())

    def test_nothing_is_left_behind(self):
        _, image = make_image(self.scratch, 2)
        before = sorted(os.listdir(self.scratch))
        self.assertEqual(stream(image).communicate(timeout=60)[1], b"")
        self.assertEqual(sorted(os.listdir(self.scratch)), before)

    def test_a_reader_that_goes_away_is_an_error_and_no_crash(self):
        _, image = make_image(self.scratch, 16)
        process = stream(image)
        process.stdout.read(100)
        process.stdout.close()
        self.assertEqual(process.wait(60), 74)
        self.assertIn(b"standard output: cannot be written: Broken pipe", process.stderr.read())
        process.stderr.close()

    def test_a_signal_stops_it_while_the_reader_takes_nothing(self):
        _, image = make_image(self.scratch, 16)
        with stream(image) as process:
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(60), 75)

    def test_a_source_that_changes_is_an_error(self):
        base, image = make_image(self.scratch, 16)
        with stream(image) as process:
            process.stdout.read(MIB)
            os.utime(image)
            process.stdout.read()
            self.assertEqual(process.wait(60), 65)

    def test_what_is_for_files_is_refused(self):
        _, image = make_image(self.scratch, 2)
        for options in (("-O", "qcow2"), ("-O", "cow", "-B", image), ("--restart",), ("--force",), ("--as-base",)):
            process = stream(*options, image)
            self.assertEqual((process.communicate(timeout=60)[0], process.returncode), (b"", 64), options)
