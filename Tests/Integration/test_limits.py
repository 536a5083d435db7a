"""Whatever limits the process is under: one line and 74, never a hang, a crash or a partial target. Signals and limits of time end with 75.

Runs as root: only root can become a user who has no processes yet, whose limit of threads counts Drover's alone.
"""

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

import needs
from harness import MIB, DroverCase, binary
from moves import data_segments, make_image

KIB = 1024
NOBODY = 54321
THREAD = "a thread cannot be started: Resource temporarily unavailable (raise the limit: ulimit -u)\n"
FILES = "Too many open files (raise the limit: ulimit -n)\n"
MEMORY = "Cannot allocate memory (raise the limit: ulimit -{})\n"
LOADER = "error while loading shared libraries"

READERS = (
    ["info", "--backing-chain", "image.cow"], ["map", "image.cow"], ["check", "image.cow"], ["measure", "image.cow"],
    ["compare", "image.cow", "done.raw"], ["list", "fleet.drover"], ["plan", "fleet.yaml"], ["status", "fleet.yaml"],
    ["create", "-b", "base.raw", "out/new.cow"], ["report", "fleet.yaml", "--html", "out/report.html"], ["--help"],
    ["--generate-completion-script", "bash"],
)
MOVERS = (
    ["convert", "image.cow", "out/a.raw"], ["convert", "--jobs", "16", "-O", "cow", "-B", "base.raw", "image.cow", "out/a.cow"],
    ["pack", "out/a.drover", "image.cow"], ["unpack", "-C", "out/a", "fleet.drover"], ["unpack", "-O", "raw", "-C", "out/b", "fleet.drover"],
    ["verify", "fleet.drover"], ["verify", "done.raw"], ["run", "fleet.yaml"],
)
TARGETS = ("a.raw", "a.cow", "a.drover", "a/image.cow", "a/base.raw", "b/image.cow", "m/image.cow", "m/base.raw")


class LimitTests(DroverCase):
    @classmethod
    def setUpClass(cls):
        needs.root()
        cls.folder = Path(tempfile.mkdtemp(prefix="drover-limits-")).resolve()
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.folder.chmod(0o755)
        cls.drover = cls.folder / "drover"
        shutil.copy(binary(), cls.drover)
        make_image(cls.folder, 6)
        (cls.folder / "fleet.yaml").write_text('sources: ["*.cow"]\ntarget: {directory: out/m, format: cow, keep-chain: true}\n')
        for arguments in (["pack", "fleet.drover", "image.cow"], ["convert", "image.cow", "done.raw"]):
            subprocess.run([cls.drover, *arguments], cwd=cls.folder, check=True)
        cls.whole = {}
        for arguments in MOVERS:
            cls.empty()
            assert cls.run_under(arguments)[0] == 0
            cls.whole[tuple(arguments)] = cls.made()

    @classmethod
    def empty(cls):
        shutil.rmtree(cls.folder / "out", ignore_errors=True)
        (cls.folder / "out").mkdir()
        (cls.folder / "out").chmod(0o777)

    @classmethod
    def run_under(cls, arguments, limit=None, value=0, user=0):
        """Runs Drover under a limit; the exit code and standard error."""

        def prepare():
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if user:
                os.setgroups([])
                os.setgid(user)
            if limit is not None:
                resource.setrlimit(limit, (value, value))
            if user:
                os.setuid(user)

        done = subprocess.run(
            [cls.drover, *arguments], cwd=cls.folder, preexec_fn=prepare, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10)
        return done.returncode, done.stderr

    @classmethod
    def made(cls):
        """The targets that have their names, with their bytes."""
        return {name: (cls.folder / "out" / name).read_bytes() for name in TARGETS if (cls.folder / "out" / name).exists()}

    def sweep(self, arguments, limit, values, text, user=0):
        """Under each of the values it is done or ends with 74 and one line; how it ended under the first and the last."""
        codes = []
        for value in values:
            with self.subTest(arguments=arguments, value=value):
                self.empty()
                code, err = self.run_under(arguments, limit, value, user)
                codes.append(code)
                if code == 127:
                    self.assertIn(LOADER, err)
                elif code == 0:
                    self.assertEqual(err, "")
                else:
                    self.assertEqual(code, 74, err)
                    self.assertRegex(err, rf"\Adrover: [^\n]*{re.escape(text)}\Z")
                whole = self.whole.get(tuple(arguments))
                if whole is not None:
                    self.assertLessEqual(self.made().items(), whole.items(), "a target is there and is not whole")
        if arguments in MOVERS and codes[-1] == 74:
            code, err = self.run_under(arguments, user=user)
            self.assertEqual((code, err, self.made()), (0, "", self.whole[tuple(arguments)]), "it does not go on afterwards")
        return codes[0], codes[-1]

    def test_whoever_only_reads_needs_no_thread(self):
        for arguments in READERS:
            self.assertEqual(self.sweep(arguments, resource.RLIMIT_NPROC, [1], "", NOBODY)[0], 0)

    def test_no_threads(self):
        for arguments in MOVERS:
            self.assertEqual(self.sweep(arguments, resource.RLIMIT_NPROC, range(1, 5), THREAD, NOBODY), (74, 74))
            self.assertEqual(self.sweep(arguments, resource.RLIMIT_NPROC, range(5, 9), THREAD, NOBODY)[1], 0)

    def test_the_error_names_what_is_moved(self):
        for arguments, name in ((MOVERS[0], "image.cow"), (MOVERS[2], "out/a.drover"), (MOVERS[3], "fleet.drover"), (MOVERS[7], "fleet.yaml")):
            for threads in (1, 3):
                self.empty()
                code, err = self.run_under(arguments, resource.RLIMIT_NPROC, threads, NOBODY)
                self.assertEqual((code, err.startswith(f"drover: {name}: "), err.endswith(THREAD)), (74, True, True), err)

    def test_a_fleet_moves_fewer_images_at_once_where_there_is_enough_for_one(self):
        (self.folder / "many").mkdir(exist_ok=True)
        for number in range(4):
            shutil.copy(self.folder / "image.cow", self.folder / "many" / f"{number}.cow")
        (self.folder / "many.yaml").write_text("sources: [many/*.cow]\ntarget: {directory: out/m, format: raw}\n")
        for limit, enough in ((resource.RLIMIT_NPROC, 7), (resource.RLIMIT_NOFILE, 12)):
            with self.subTest(limit=limit):
                self.empty()
                self.assertEqual(self.run_under(["run", "-q", "--jobs", "4", "many.yaml"], limit, enough, NOBODY), (0, ""))
                for number in range(4):
                    self.assert_same_file(self.folder / "out" / "m" / f"{number}.raw", self.folder / "done.raw")

    def test_few_files(self):
        for arguments in READERS:
            self.assertEqual(self.sweep(arguments, resource.RLIMIT_NOFILE, range(4, 10), FILES)[1], 0)
        for arguments in MOVERS:
            self.assertEqual(self.sweep(arguments, resource.RLIMIT_NOFILE, [*range(4, 14), 64], FILES)[1], 0)

    def test_little_address_space(self):
        least = self.least(resource.RLIMIT_AS)
        for arguments in (*READERS, *MOVERS):
            steps = 3 if arguments in READERS else 9
            values = [least - MIB, *(least + step * 2100 * KIB for step in range(steps)), least + 256 * MIB]
            self.assertEqual(self.sweep(arguments, resource.RLIMIT_AS, values, MEMORY.format("v"))[1], 0)

    def test_little_memory(self):
        least = self.least(resource.RLIMIT_DATA)
        for arguments in (READERS[0], READERS[6], *MOVERS):
            self.sweep(arguments, resource.RLIMIT_DATA, [least + step * 2300 * KIB for step in range(7)], MEMORY.format("d"))

    def test_a_small_stack(self):
        for arguments in (READERS[1], READERS[6], MOVERS[0], MOVERS[7]):
            self.assertEqual(self.sweep(arguments, resource.RLIMIT_STACK, [128 * KIB, 600 * KIB, MIB, 64 * MIB], MEMORY.format("s"))[1], 0)

    def least(self, limit):
        """With how much, to half a MiB, the program comes as far as to say what it is short of."""
        low, high = 0, 1 << 31
        while high - low > 512 * KIB:
            middle = (low + high) // 2
            try:
                code, err = self.run_under(["--help"], limit, middle)
            except (subprocess.SubprocessError, OSError):
                code, err = 127, ""
            low, high = (low, middle) if code == 0 or err.startswith("drover: memory") else (middle, high)
        return high


class StopTests(DroverCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="drover-stop-")).resolve()
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.base, cls.image = make_image(cls.folder, 64, filled=1)

    def convert(self, *more, **options):
        self.target = self.path("out.raw")
        for name in os.listdir(self.scratch):
            os.unlink(self.path(name))
        return subprocess.Popen(
            [binary(), "convert", "--segment", "1M", *more, self.image, self.target], stderr=subprocess.PIPE, text=True, **options)

    def begun(self, process, count=2):
        while data_segments(self.target) < count:
            self.assertIsNone(process.poll())
            time.sleep(0.002)

    def ends(self, process, code, timeout=10):
        _, text = process.communicate(timeout=timeout)
        self.assertEqual(process.returncode, code, text)
        self.assertRegex(text, r"\Adrover: [^\n]*stopped by a signal[^\n]*\n\Z")
        self.assert_absent(self.target)

    def test_each_signal_that_asks_to_stop_ends_it_with_75(self):
        def blocked():
            signal.pthread_sigmask(signal.SIG_SETMASK, set(signal.valid_signals()))

        def ignored():
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2, signal.SIGXCPU):
                signal.signal(number, signal.SIG_IGN)

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2, signal.SIGXCPU):
            for before in (None, blocked, ignored):
                with self.subTest(number=number, before=before):
                    process = self.convert("--rate", "20M", preexec_fn=before)
                    self.begun(process)
                    process.send_signal(number)
                    self.ends(process, 75)
                    self.assertGreater(data_segments(self.target), 1)
        self.succeeds("convert", "--segment", "1M", self.image, self.target)

    def test_the_limit_of_time_that_is_repeated_is_no_second_request(self):
        process = self.convert("--rate", "20M")
        self.begun(process)
        process.send_signal(signal.SIGSTOP)
        process.send_signal(signal.SIGXCPU)
        process.send_signal(signal.SIGCONT)
        for _ in range(20):
            if process.poll() is None:
                process.send_signal(signal.SIGXCPU)
                time.sleep(0.05)
        self.ends(process, 75)

    def test_a_limit_of_processor_time(self):
        source, self.target = self.path("random.raw"), self.path("a.drover")
        block = os.urandom(MIB)
        with open(source, "wb") as file:
            for _ in range(400):
                file.write(block)
        # Where soft and hard one are the same, the kernel would kill and ask nobody.
        for soft, hard in ((1, 60), (2, 2)):
            with self.subTest(soft=soft, hard=hard):
                process = subprocess.Popen(
                    [binary(), "pack", "--restart", "--segment", "8M", "--compression", "lz4:12", self.target, source],
                    stderr=subprocess.PIPE, text=True, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (soft, hard)))
                self.ends(process, 75, 30)

    def test_a_signal_in_the_first_moments_makes_nothing_or_ends_with_75(self):
        codes = []
        for step in range(40):
            process = self.convert("--rate", "8M")
            time.sleep(step * 0.001)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=10)
            codes.append(process.returncode)
            self.assertIn(process.returncode, (75, -signal.SIGTERM))
            if process.returncode != 75:
                self.assertEqual(os.listdir(self.scratch), [])
            self.assert_absent(self.target)
        self.assertIn(75, codes)

    def test_what_makes_nothing_ends_as_others_do(self):
        reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
        process = subprocess.Popen([binary(), "--generate-completion-script", "bash"], stdout=writing)
        os.close(writing)
        while not os.path.exists(f"/proc/{process.pid}/wchan") or "pipe" not in Path(f"/proc/{process.pid}/wchan").read_text():
            if process.poll() is not None:
                self.fail("it did not wait for its reader")
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(10), -signal.SIGTERM)
        os.close(reading)
