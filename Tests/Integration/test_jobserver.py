"""Drover as a client of make's jobserver: never more workers than tokens and one, and every token given back."""

import fcntl
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from harness import MIB, DroverCase, binary, required_tool
from jobservers import STYLES, Jobserver, descendants, most_workers, workers
from moves import make_image

TOKENS = 3


class JobserverTests(DroverCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="drover-jobs-")).resolve()
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.base, cls.image = make_image(cls.folder, 48)

    def jobserver(self, style="pipe", tokens=TOKENS):
        made = Jobserver(self.scratch, style, tokens)
        self.addCleanup(made.close)
        return made

    def ends(self, process, code, within=60):
        _, text = process.communicate(timeout=within)
        self.assertEqual(process.returncode, code, text)
        return text

    def assert_all_back(self, made):
        self.assertEqual(sorted(made.take_all()), sorted(made.values), "tokens were lost or changed")

    def slow(self, *more):
        """A conversion of a second or two."""
        return ["convert", "--segment", "1M", "--rate", "16M", *more, self.image, self.path("out.raw")]

    def test_workers_are_tokens_and_one_and_all_tokens_come_back(self):
        for style in STYLES:
            with self.subTest(style=style):
                made = self.jobserver(style)
                process = made.start(*self.slow("--restart", "--force"))
                self.assertEqual(most_workers(process), TOKENS + 1)
                self.ends(process, 0)
                self.assert_all_back(made)
                self.assertFalse(fcntl.fcntl(made.reading, fcntl.F_GETFL) & os.O_NONBLOCK, "make's own descriptor was changed")

    def test_a_device_is_opened_once_for_both_ways(self):
        # It counts what each open description has taken: what is given back elsewhere is not given back.
        made = self.jobserver("device")
        process = made.start(*self.slow())
        most_workers(process, lambda count: count == TOKENS + 1)
        held = [link for link in Path(f"/proc/{process.pid}/fd").iterdir() if os.readlink(link) == made.path]
        self.assertEqual(len(held), 1)
        information = Path(f"/proc/{process.pid}/fdinfo/{held[0].name}").read_text()
        flags = int(re.search(r"flags:\s*([0-7]+)", information).group(1), 8)
        self.assertEqual(flags & os.O_ACCMODE, os.O_RDWR)
        self.assertTrue(flags & os.O_NONBLOCK)
        self.ends(process, 0)
        self.assert_all_back(made)

    def test_jobs_is_an_upper_bound(self):
        made = self.jobserver(tokens=5)
        process = made.start(*self.slow("--jobs", "2"))
        most = most_workers(process, lambda count: self.assertGreaterEqual(made.count(), 4))
        self.ends(process, 0)
        self.assertEqual(most, 2)
        self.assert_all_back(made)

    def test_a_worker_joins_when_a_token_comes_and_none_is_needed_to_end(self):
        for style in STYLES:
            with self.subTest(style=style):
                made = self.jobserver(style, tokens=0)
                process = made.start(*self.slow("--restart", "--force"), flags=made.makeflags.replace("-j1", "-j"))
                self.assertEqual(most_workers(process, lambda count: count == 1), 1)
                made.add(b"x")
                most_workers(process, lambda count: count == 2)
                self.assertIsNone(process.poll(), "no worker joined")
                self.assertEqual(most_workers(process), 2)
                self.ends(process, 0)
                self.assert_all_back(made)

    def test_two_processes_share_the_tokens(self):
        made = self.jobserver(tokens=2)
        first = made.start(*self.slow())
        most_workers(first, lambda count: count == 3)
        second = made.start("verify", "--rate", "1M", self.archive())
        while workers(second.pid) == 0:
            self.assertIsNone(second.poll())
        while first.poll() is None:
            count = workers(second.pid)
            # Asked afterwards: it had them all the time until now.
            if workers(first.pid) == 3:
                self.assertEqual(count, 1)
        self.ends(first, 0)
        most_workers(second, lambda count: count == 3)
        self.assertIsNone(second.poll(), "the tokens of the first were not taken by the second")
        second.terminate()
        self.ends(second, 75)
        self.assert_all_back(made)

    def archive(self):
        path = self.path("fleet.drover")
        if not os.path.exists(path):
            self.succeeds("pack", path, self.image)
        return path

    def test_every_command_with_workers_returns_them(self):
        made = self.jobserver()
        archive, target = self.archive(), self.path("out.raw")
        for arguments in (
            ["convert", self.image, target], ["verify", target], ["verify", archive], ["pack", self.path("b.drover"), self.image],
            ["unpack", "-C", self.path("a"), archive], ["unpack", "-C", self.path("b"), "-O", "raw", archive],
        ):
            with self.subTest(arguments=arguments):
                self.ends(made.start(*arguments), 0)
                self.assertEqual(made.count(), TOKENS)
        self.assert_all_back(made)

    def test_the_archive_is_the_same_whatever_the_tokens(self):
        made = self.jobserver()
        self.ends(made.start("pack", self.path("b.drover"), self.image), 0)
        self.assert_same_file(self.path("b.drover"), self.archive())

    def test_signals_give_them_back(self):
        for style in STYLES:
            for number, code in (
                (signal.SIGTERM, 75), (signal.SIGINT, 75), (signal.SIGHUP, 75), (signal.SIGUSR2, 75), (signal.SIGXCPU, 75),
                (signal.SIGQUIT, -3), (signal.SIGABRT, -6),
            ):
                with self.subTest(style=style, signal=number):
                    made = self.jobserver(style)
                    process = made.start(*self.slow("--restart"), cwd=self.scratch, preexec_fn=no_core)
                    most_workers(process, lambda count: count == TOKENS + 1)
                    process.send_signal(number)
                    self.ends(process, code)
                    self.assert_all_back(made)

    def test_the_second_signal_gives_them_back(self):
        made = self.jobserver()
        # Writes take seconds: workers are held where no request to stop reaches them.
        under = [required_tool("strace"), "-f", "-qq", "-o", "/dev/null", "-e", "inject=pwrite64:delay_enter=4000000"]
        tracer = made.start("convert", self.image, self.path("out.raw"), under=under)
        process = self.child(tracer)
        while workers(process) < TOKENS + 1 or made.count() > 0:
            self.assertIsNone(tracer.poll())
        # On a busy machine they may still be on their way to the first of them.
        time.sleep(1)
        os.kill(process, signal.SIGINT)
        # One that comes within half a second is taken for the same request.
        with self.assertRaises(subprocess.TimeoutExpired):
            tracer.wait(1)
        self.assertLess(made.count(), TOKENS)
        os.kill(process, signal.SIGINT)
        # What is planned already takes them ten times as long to write.
        self.ends(tracer, 75, within=20)
        self.assert_all_back(made)

    def child(self, tracer):
        """The Drover that `tracer` runs."""
        while True:
            self.assertIsNone(tracer.poll())
            for pid in descendants(tracer.pid):
                if os.path.exists(f"/proc/{pid}/exe") and os.path.samefile(f"/proc/{pid}/exe", binary()):
                    return pid

    def test_errors_give_them_back(self):
        made = self.jobserver()
        process = made.start("convert", self.image, self.path("out.raw"), preexec_fn=small_files)
        self.ends(process, 74)
        self.ends(made.start("convert", self.path("none"), self.path("b.raw")), 66)
        self.ends(made.start("convert", "--jobs", "0", self.image, self.path("b.raw")), 64)
        self.assert_all_back(made)

    def test_what_is_no_jobserver_means_one_worker_and_a_warning(self):
        made = self.jobserver()
        other = os.pipe()
        file = os.open(self.base, os.O_RDONLY)
        withheld, none = "add '+' to the rule", self.path("none")
        for auth, reason in (
            ("-2,-2", withheld), ("3", withheld), ("x", withheld), ("fifo:", withheld), ("98,99", withheld), (f"{file},{file}", withheld),
            (f"{other[0]},{made.writing}", withheld), (f"{made.writing},{made.reading}", withheld),
            (f"fifo:{none}", f"{none}: cannot be opened: No such file or directory"),
            (f"fifo:{self.base}", f"{self.base}: is neither a FIFO nor a character device"),
        ):
            with self.subTest(auth=auth):
                descriptors = [made.reading, made.writing, *other, file]
                process = subprocess.Popen(
                    [binary(), "convert", "--restart", "--force", self.image, self.path("out.raw")], pass_fds=descriptors,
                    env=dict(os.environ, MAKEFLAGS=f" -j9 --jobserver-auth={auth}"), stderr=subprocess.PIPE, text=True)
                self.assertLessEqual(most_workers(process), 1)
                text = self.ends(process, 0)
                self.assertEqual(text, f"drover: warning: jobserver unavailable: using one worker ({reason})\n")
        for descriptor in (*other, file):
            os.close(descriptor)
        self.assert_all_back(made)

    def test_j1_is_one_worker(self):
        made = self.jobserver()
        process = made.start(*self.slow(), flags=" -j1")
        self.assertEqual(most_workers(process), 1)
        self.assertEqual(self.ends(process, 0), "")

    def test_a_dry_run_says_what_it_would_do_and_writes_nothing(self):
        archive = self.archive()
        before = sorted(os.listdir(self.scratch))
        for arguments, text in (
            (["convert", self.image, "out.raw"], f"convert {self.image} to out.raw"),
            (["pack", "new.drover", self.image, self.base], "pack 2 images into new.drover"),
            (["unpack", "-C", "new", archive], f"unpack {archive} into new"),
            (["create", "-b", self.base, "new.cow"], f"create new.cow over {self.base}"),
            (["verify", archive], f"verify {archive}"),
        ):
            with self.subTest(arguments=arguments):
                process = self.jobserver().start(*arguments, flags="kn -j4", cwd=self.scratch, stdout=subprocess.PIPE)
                out, err = process.communicate(timeout=60)
                self.assertEqual((process.returncode, out, err), (0, f"drover: would {text}\n", ""))
        self.assertEqual([name for name in sorted(os.listdir(self.scratch))], before)

    def test_a_dry_run_finds_what_is_wrong(self):
        made = self.jobserver()
        Path(self.path("there.raw")).write_bytes(b"x" * MIB)
        for code, *arguments in (
            (73, "convert", self.image, self.path("there.raw")), (73, "convert", self.image, self.base),
            (65, "convert", "-f", "uml-v2", self.image, self.path("new.raw")), (73, "create", "-b", self.base, self.path("there.raw")),
        ):
            with self.subTest(arguments=arguments):
                self.ends(made.start(*arguments, flags="n"), code)


def no_core():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def small_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 * MIB, 8 * MIB))

