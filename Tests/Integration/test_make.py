"""Pipelines/migrate.mk under the real make: what is done, what is not done again, and what an interruption leaves."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from harness import DROVER, REPOSITORY, DroverCase, digest, fingerprint, manifest_of, required_tool, run_tool
from jobservers import descendants, workers_below
from moves import MTIME, data_segments, make_image

MAKEFILE = REPOSITORY / "Pipelines" / "migrate.mk"


class MakeTests(DroverCase):
    def setUp(self):
        super().setUp()
        # Two chains: a, b, deep/c stand on base.raw, other/image.cow on other/base.raw.
        self.fleet = self.scratch / "guests"
        for folder, mebibytes in ((self.fleet, 24), (self.fleet / "other", 6)):
            folder.mkdir()
            make_image(folder, mebibytes, seed=mebibytes)
        (self.fleet / "deep").mkdir()
        (self.fleet / "image.cow").rename(self.fleet / "a.cow")
        for name in ("b.cow", "deep/c.cow"):
            shutil.copy2(self.fleet / "a.cow", self.fleet / name)
        self.names = ["a", "b", "deep/c", "other/image"]
        self.sources = fingerprint(self.files(self.fleet))

    def tearDown(self):
        self.assertEqual(fingerprint(self.sources), self.sources, "a source was changed")

    def files(self, folder):
        return sorted(path for path in Path(folder).rglob("*") if path.is_file())

    def start(self, *arguments, **options):
        environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
        drover = os.path.abspath(DROVER)
        command = [required_tool("make"), "-f", MAKEFILE, f"DROVER={drover}", "FLEET=guests", "OUT=out", *arguments]
        return subprocess.Popen(
            command, cwd=self.scratch, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0, **options
        )

    def make(self, *arguments, code=0):
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120)
        self.assertEqual(process.returncode, code, f"make {arguments}\n{out}\n{err}")
        return out, err

    def target(self, name, suffix="raw"):
        return self.scratch / "out" / f"{name}.{suffix}"

    def states(self):
        return {path: os.stat(path).st_mtime_ns for path in self.files(self.scratch / "out")}

    def assert_migrated(self, *options, suffix="raw"):
        for name in self.names:
            with self.subTest(name=name):
                self.assertTrue(os.path.exists(self.target(name, suffix)), "not there")
                self.succeeds("compare", self.fleet / f"{name}.cow", self.target(name, suffix))
                self.assert_absent(f"{self.target(name, suffix)}.partial")
        before = self.states()
        out, _ = self.make(*options)
        self.assertIn("Nothing to be done", out)
        self.assertEqual(self.states(), before)

    def test_every_image_is_migrated_and_nothing_is_done_twice(self):
        self.make("-j4")
        self.assert_migrated()
        for name in self.names:
            self.succeeds("verify", self.target(name))

    def test_overlays_stay_overlays_of_one_copy_of_their_base(self):
        self.make("-j4", "FORMAT=cow")
        self.assert_migrated("FORMAT=cow", suffix="cow")
        for base in ("base.raw", "other/base.raw"):
            self.assert_same_file(self.scratch / "out" / base, self.fleet / base)
            self.assertEqual(os.stat(self.scratch / "out" / base).st_mtime_ns, os.stat(self.fleet / base).st_mtime_ns)
        facts = self.succeeds("info", "--output", "json", self.target("deep/c", "cow")).json()
        self.assertEqual(facts["backing-filename"], str(self.scratch / "out" / "base.raw"))
        self.assertEqual(facts["format-specific"]["data"]["backing-mtime"], MTIME)
        self.succeeds("check", *(self.target(name, "cow") for name in self.names))

    def test_overlays_become_qcow2(self):
        self.make("-j4", "FORMAT=qcow2")
        self.assert_migrated("FORMAT=qcow2", suffix="qcow2")
        for name in self.names:
            run_tool("qemu-img", "check", "-q", self.target(name, "qcow2"))
        self.assertEqual(json.loads(run_tool("qemu-img", "info", "--output=json", self.target("a", "qcow2")))["backing-filename"], "base.raw")

    def test_a_base_from_outside_has_a_place_too(self):
        (self.fleet / "base.raw").rename(self.scratch / "base.raw")
        for name in ("a", "b", "deep/c"):
            image = self.fleet / f"{name}.cow"
            self.succeeds("convert", "-O", "cow", "-B", self.scratch / "base.raw", "--backing-map", f"{self.fleet}={self.scratch}", image,
                          self.scratch / "new")  # fmt: skip
            (self.scratch / "new").replace(image)
            (self.scratch / "new.manifest").unlink()
        self.sources = fingerprint([*self.files(self.fleet), self.scratch / "base.raw"])
        self.make("-j2", "FORMAT=cow")
        self.assert_migrated("FORMAT=cow", suffix="cow")
        self.assertTrue((self.scratch / "out/base/base.raw").exists())

    def test_a_base_that_moved_is_found_where_the_options_say(self):
        self.names = ["a", "b", "deep/c"]
        shutil.rmtree(self.fleet / "other")
        moved = self.scratch / "moved"
        moved.mkdir()
        (self.fleet / "base.raw").rename(moved / "base.raw")
        self.sources = fingerprint([*self.files(self.fleet), moved / "base.raw"])
        for suffix, mapping in (("cow", "--backing-map"), ("raw", "--backing-map=")):
            with self.subTest(format=suffix):
                place = f"{mapping}{'' if mapping.endswith('=') else ' '}{self.fleet}={moved}"
                options = [f"FORMAT={suffix}", f"OPTIONS=--rate 100M {place}"]
                self.make("-j2", *options)
                for name in self.names:
                    self.succeeds(
                        "compare", "--backing-map", f"{self.fleet}={moved}", self.fleet / f"{name}.cow", self.target(name, suffix)
                    )
                out, _ = self.make(*options)
                self.assertIn("Nothing to be done", out)
                os.utime(moved / "base.raw", (MTIME + 10**9, MTIME + 10**9))
                out, _ = self.make("-n", f"FORMAT={suffix}", f"OPTIONS=--ignore-mtime {place}")
                self.assertEqual(out.count("drover: would convert"), len(self.names) + (suffix == "cow"))
                os.utime(moved / "base.raw", ns=(MTIME * 10**9, MTIME * 10**9 + 123_456_789))
        self.assertTrue((self.scratch / "out/base/base.raw").exists())

    def test_a_base_stays_where_the_overlays_on_it_could_not_be_made_again(self):
        self.make("FORMAT=cow")
        before = self.states()
        base = self.fleet / "other/base.raw"
        os.utime(base)
        self.make("FORMAT=cow", code=2)
        self.assertEqual(self.states(), before)
        self.succeeds("check", self.target("other/image", "cow"))
        os.utime(base, ns=(MTIME * 10**9, MTIME * 10**9 + 123_456_789))

    def test_the_targets_may_lie_in_the_fleet(self):
        for options in (["FORMAT=cow", "FLEET=.", "OUT=guests/new"], ["FLEET=guests/", "OUT=guests/new/"]):
            self.make(*options)
            out, _ = self.make(*options)
            self.assertIn("Nothing to be done", out)
        self.make("OUT=./guests", code=2)
        self.assertEqual(len(list((self.fleet / "new").rglob("*.cow"))), len(self.names))
        shutil.rmtree(self.fleet / "new")

    def test_n_says_what_would_be_done_and_writes_nothing(self):
        for options in (["-n"], ["-n", "FORMAT=cow"]):
            out, _ = self.make(*options)
            self.assertEqual(out.count("drover: would convert"), len(self.names) + 2 * ("FORMAT=cow" in options))
            self.assert_absent(self.scratch / "out")

    def test_what_a_changed_file_touches_is_redone_and_nothing_else(self):
        for suffix in ("raw", "cow"):
            with self.subTest(format=suffix):
                shutil.rmtree(self.scratch / "out", ignore_errors=True)
                self.make("-j2", f"FORMAT={suffix}")
                before = self.states()
                self.change(self.fleet / "b.cow")
                self.make(f"FORMAT={suffix}")
                self.assertEqual(self.redone(before), {self.target("b", suffix)})
                before = self.states()
                base = self.fleet / "other/base.raw"
                self.change(base)
                # The overlay's header names the time of its base.
                self.make(f"FORMAT={suffix}", "OPTIONS=--ignore-mtime")
                copy = {self.scratch / "out/other/base.raw"} if suffix == "cow" else set()
                self.assertEqual(self.redone(before), {self.target("other/image", suffix)} | copy)
                os.utime(base, ns=(MTIME * 10**9, MTIME * 10**9 + 123_456_789))
                self.sources = fingerprint(self.sources)

    def change(self, path):
        with open(path, "r+b") as file:
            file.seek(-5 * 4096, os.SEEK_END)
            file.write(os.urandom(8))
        self.sources = fingerprint(self.sources)

    def redone(self, before):
        return {path for path, time in self.states().items() if before.get(path) != time and not path.name.endswith(".manifest")}

    def test_one_bad_image_does_not_stop_the_others(self):
        bad = self.fleet / "bad.cow"
        bad.write_bytes(b"OOOM" + b"\xff" * 100)
        _, err = self.make("-k", "-j3", code=2)
        self.assertIn("bad.cow: ", err)
        bad.unlink()
        self.assert_migrated()

    def test_names_that_make_cannot_handle_are_refused(self):
        for name in ("two words.cow", "a%b.cow", "a$b.cow", "a#b.cow", "a'b.cow", "a:b.cow", "deep/x\\.cow"):
            with self.subTest(name=name):
                path = self.fleet / name
                path.write_bytes(b"")
                _, err = self.make(code=2)
                self.assertIn("make cannot handle the name", err)
                self.assert_absent(self.scratch / "out")
                path.unlink()

    def test_two_bases_with_one_place_are_refused(self):
        self.succeeds("convert", "--as-base", self.fleet / "base.raw", self.fleet / "base.img")
        self.succeeds("convert", "-O", "cow", "-B", self.fleet / "base.img", self.fleet / "a.cow", self.fleet / "z.cow")
        _, err = self.make("FORMAT=cow", code=2)
        self.assertIn("would both become out/base.raw", err)

    def interrupt(self, number, *options, group):
        """Stops make, by a signal to all its group or to itself alone, when some of the first target is recorded."""
        process = self.start(*options, "OPTIONS=--segment 1M --rate 8M")
        end = time.monotonic() + 30
        while data_segments(self.target("a")) < 2:
            self.assertIsNone(process.poll(), process.stderr)
            self.assertLess(time.monotonic(), end)
            time.sleep(0.005)
        below = descendants(process.pid)
        (os.killpg if group else os.kill)(process.pid, number)
        process.communicate(timeout=30)
        self.assertNotEqual(process.returncode, 0)
        self.assert_absent(self.target("a"))
        for pid in below:
            while os.path.exists(f"/proc/{pid}/exe"):
                self.assertLess(time.monotonic(), end, "a drover outlived make")
                time.sleep(0.01)

    def test_interrupted_and_run_again(self):
        for number, group in ((signal.SIGINT, True), (signal.SIGTERM, False)):
            with self.subTest(signal=number):
                shutil.rmtree(self.scratch / "out", ignore_errors=True)
                self.interrupt(number, "-j2", group=group)
                before = data_segments(self.target("a"))
                self.assertGreaterEqual(before, 2)
                first = Path(manifest_of(self.target("a"))).read_text().splitlines()[1]
                self.make("-j2", "OPTIONS=--segment 1M")
                # Continued, not begun anew.
                self.assertEqual(Path(manifest_of(self.target("a"))).read_text().splitlines()[1], first)
                self.assert_migrated()

    def test_a_source_that_changed_under_an_interrupted_conversion_begins_anew(self):
        self.interrupt(signal.SIGINT, group=True)
        self.change(self.fleet / "a.cow")
        self.make("OPTIONS=--segment 1M")
        self.assert_migrated()

    def test_a_target_stays_until_the_new_one_is_complete(self):
        self.make("-j2")
        old = digest(self.target("a"))
        self.change(self.fleet / "a.cow")
        process = self.start("OPTIONS=--segment 1M --rate 8M")
        while not os.path.exists(f"{self.target('a')}.partial"):
            self.assertIsNone(process.poll())
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=30)
        self.assertEqual(digest(self.target("a")), old)
        self.make()
        self.assert_migrated()

    def test_all_together_never_run_more_workers_than_j(self):
        for jobs in (2, 4):
            with self.subTest(jobs=jobs):
                shutil.rmtree(self.scratch / "out", ignore_errors=True)
                process = self.start(f"-j{jobs}", "OPTIONS=--rate 16M")
                self.addCleanup(process.wait)
                most, processes = 0, 0
                while process.poll() is None:
                    count, working = workers_below(process.pid)
                    most, processes = max(most, count), max(processes, working)
                process.communicate()
                self.assertEqual(process.returncode, 0)
                self.assertLessEqual(most, jobs)
                self.assertEqual((most, processes > 1), (jobs, True))
