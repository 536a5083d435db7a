"""Progress on standard error: a bar for people at a terminal, JSON lines for programs, nothing for files."""

import json
import os
import pty
import subprocess

from harness import DroverCase, drover, start
from moves import make_image


class ProgressTests(DroverCase):
    def setUp(self):
        super().setUp()
        _, self.image = make_image(self.scratch, 48)
        self.convert = ["convert", "--rate", "10M", self.image, self.path("out.raw")]

    def test_nothing_where_nobody_looks(self):
        for options in ((), ("--progress", "auto"), ("--progress", "none"), ("-q", "--force")):
            result = self.succeeds("convert", "--force", *options, self.image, self.path("out.raw"))
            self.assertEqual((result.out, result.err), ("", ""))

    def test_json_is_a_line_a_second(self):
        result = drover("convert", "--progress", "json", *self.convert[1:])
        self.assertEqual(result.code, 0, f"\n{result}")
        lines = [json.loads(line) for line in (result.err + result.out).splitlines()]
        self.assertGreaterEqual(len(lines), int(result.seconds))
        self.assertLessEqual(len(lines), int(result.seconds) + 3)
        self.assertTrue(all(isinstance(line, dict) for line in lines))

    def test_a_bar_on_a_terminal(self):
        ours, theirs = pty.openpty()
        process = start(*self.convert, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs)
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 4096):
                shown += piece
        except OSError:  # the other side was closed
            pass
        os.close(ours)
        self.assertEqual(process.wait(30), 0, shown)
        self.assertRegex(shown, rb"\d+ ?%")
        self.assertGreater(shown.count(b"\r"), 1, "the bar does not move")

    def test_compare_shows_how_far_it_is_and_takes_any_number_of_workers(self):
        copy = self.path("copy.raw")
        self.succeeds("convert", self.image, copy)
        for jobs in ("1", "2", "5"):
            result = drover("compare", "--jobs", jobs, "--progress", "json", self.image, copy)
            self.assertEqual(result.code, 0, f"\n{result}")
            last = json.loads(result.err.splitlines()[-1])
            self.assertEqual(last["percent"], 100, result.err)
            self.assertIn("Images are identical.", result.out)
        with open(copy, "r+b") as file:
            file.seek(5 << 20)
            byte = file.read(1)
            file.seek(5 << 20)
            file.write(bytes([byte[0] ^ 1]))
        for jobs in ("1", "2", "5"):
            result = self.succeeds("compare", "--jobs", jobs, self.image, copy, code=1)
            self.assertIn(f"mismatch at offset {5 << 20}", result.out)
        self.assertEqual(drover("compare", "--jobs", "0", self.image, copy).code, 64)
