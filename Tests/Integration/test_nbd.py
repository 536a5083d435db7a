"""nbdkit's plugin and `drover serve`: what real NBD clients read of chains and archives, and what they are told where that cannot be had."""

import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from chains import random_chain
from harness import MIB, SECTOR, DroverCase, binary, drover, required_tool, run_tool, start, stop
from moves import make_image
from nbd_client import NBDClient, NBDError
from qcow2 import RandomQcow2
from test_archive_sharing import shared_fleet

SEED = os.environ.get("DROVER_SEED") or str(random.SystemRandom().randrange(10**9))
COUNT = int(os.environ.get("DROVER_SERVED", "16"))
SECONDS = float(os.environ.get("DROVER_SERVED_SECONDS", "3"))
EIO = 5


def plugin():
    path = Path(binary()).with_name("libnbdkit-drover-plugin.so")
    if not path.exists():
        raise AssertionError(f"{path} is not there: build it (make build)")
    return str(path)


def kit(command, *parameters, options=()):
    """Runs a shell's command beside nbdkit with the plugin; returns how that ended."""
    return subprocess.run(
        [required_tool("nbdkit"), "-U", "-", *options, plugin(), *map(os.fspath, parameters), "--run", command],
        capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
    )


def guest_of(image, out, *options):
    """The disk of `image`, as `drover convert` writes it."""
    done = drover("convert", "--force", "--restart", *options, image, out)
    assert done.code == 0, done
    return Path(out).read_bytes()


class PluginTests(DroverCase):
    def succeeds_in_kit(self, command, *parameters, options=()):
        done = kit(command, *parameters, options=options)
        self.assertEqual((done.returncode, done.stderr), (0, ""), f"{command} {parameters}")
        return done.stdout

    @contextmanager
    def server(self, *parameters, background=False):
        """nbdkit, in the foreground or in the background; yields its socket, its process id and its log."""
        folder = self.scratch / f"server{len(list(self.scratch.iterdir()))}"
        folder.mkdir()
        where, pid, log = folder / "socket", folder / "pid", folder / "log"
        command = [required_tool("nbdkit"), "-U", where, "-P", pid, "--log=stderr", *([] if background else ["-f"]), plugin(), *map(os.fspath, parameters)]
        with open(log, "wb") as errors:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
        while not pid.exists() or not pid.read_text().strip():
            self.assertTrue(process.poll() in (None, 0), log.read_text())
            time.sleep(0.01)
        number = int(pid.read_text())
        try:
            yield str(where), number, log
        finally:
            os.kill(number, signal.SIGTERM)
            process.wait(30)
            while background and Path(f"/proc/{number}").exists() and "zombie" not in Path(f"/proc/{number}/status").read_text():
                time.sleep(0.01)

    def assert_served(self, guest, image, *parameters):
        """Real clients read `guest`, and are told that zeros are where drover's map of `image` has them."""
        out, extents = self.path("copy.raw"), self.path("map.json")
        self.succeeds_in_kit(f"nbdcopy $uri '{out}' && nbdinfo --json --map $uri > '{extents}'", *parameters)
        self.assertTrue(Path(out).read_bytes() == guest, "other bytes")
        theirs = [(e["offset"], e["length"], e["type"] == 3) for e in json.loads(Path(extents).read_text())]
        self.assertTrue({e["type"] for e in json.loads(Path(extents).read_text())} <= {0, 3})
        # Only now: what was allocated and never written is a hole to the host until somebody has read it.
        shown = self.succeeds("map", "--output", "json", image).json()
        ours = []
        for extent in shown:
            if ours and ours[-1][2] == extent["zero"]:
                ours[-1] = (ours[-1][0], ours[-1][1] + extent["length"], extent["zero"])
            else:
                ours.append((extent["start"], extent["length"], extent["zero"]))
        self.assertEqual(theirs, ours)

    def test_random_chains(self):
        for number in range(COUNT):
            folder = self.scratch / "chain"
            folder.mkdir()
            made = random_chain(f"{SEED}-served-{number}", folder)
            with self.subTest(f"{SEED}-served-{number}"):
                self.assert_served(made.guest, made.top, f"file={made.top}")
                archive = self.path("a.drover")
                if drover("pack", "--force", "--restart", archive, made.top).code == 0:
                    name = f"{archive}::{os.path.basename(made.top)}"
                    self.assert_served(made.guest, name, f"file={archive}", f"image={os.path.basename(made.top)}")
            shutil.rmtree(folder)

    def test_random_qcow2_chains(self):
        for number in range(COUNT // 4):
            folder = Path(self.path(f"q{number}"))
            folder.mkdir()
            made = RandomQcow2(random.Random(f"{SEED}-{number}"), str(folder))
            with self.subTest(f"{SEED}-{number}"):
                shown = drover("map", "--output", "json", made.top)
                if shown.code == 65 and "is marked corrupt" in shown.err:
                    continue  # by QEMU itself, while it made the image
                raw = self.path("disk.raw")
                run_tool("qemu-img", "convert", "-f", made.format, "-O", "raw", made.top, raw)
                self.assert_served(Path(raw).read_bytes(), made.top, f"file={made.top}")

    def test_every_image_of_a_line_of_archives(self):
        """References, and content that an older archive has: all of it through a cache of one frame, too."""
        images = shared_fleet(self.scratch / "fleet", f"{SEED}-line")
        first, second, moved = self.path("first.drover"), self.path("second.drover"), self.scratch / "old"
        self.succeeds("pack", first, *images)
        with open(images[1], "r+b") as file:
            file.seek(100_000)
            file.write(random.Random(SEED).randbytes(30_000))
        time.sleep(0.05)
        self.succeeds("pack", "--since", first, second, *images)
        names = [layer["name"] for layer in self.succeeds("list", "--output", "json", second).json()["layers"] if layer["image"]]
        listed = self.succeeds_in_kit("nbdinfo --list --json $uri", f"file={second}", "cache=1M")
        self.assertEqual([export["export-name"] for export in json.loads(listed)["exports"]], names)
        copies = " && ".join(f"nbdcopy \"nbd+unix:///{name}?socket=$unixsocket\" '{self.path(f'{number}.raw')}'" for number, name in enumerate(names))
        self.succeeds_in_kit(copies, f"file={second}", "cache=1M")
        for number, image in enumerate(images):
            self.assertTrue(Path(self.path(f"{number}.raw")).read_bytes() == guest_of(image, self.path("is.raw")), image)
        moved.mkdir()
        os.rename(first, moved / "first.drover")
        done = kit("true", f"file={second}")
        self.assertIn("stands on the archive first.drover", done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1)
        self.succeeds_in_kit("nbdinfo --list $uri", f"file={second}", f"archives={moved}")

    def test_foreground_and_background(self):
        base, image = make_image(self.scratch, 4)
        guest = guest_of(image, self.path("is.raw"))
        for background in (False, True):
            # Where it changes to / before it serves: relative names mean what they meant.
            here = os.getcwd()
            os.chdir(self.scratch)
            try:
                with self.server(os.path.basename(image), background=background) as (socket, _, log):
                    client = NBDClient(socket)
                    self.assertEqual(client.size, len(guest))
                    rng = random.Random(SEED)
                    for _ in range(50):
                        offset = rng.randrange(len(guest))
                        length = rng.randrange(1, min(len(guest) - offset, 3 * MIB) + 1)
                        self.assertTrue(client.read(offset, length) == guest[offset : offset + length])
                    client.close()
                    self.assertEqual(log.read_text(), "")
            finally:
                os.chdir(here)

    def test_eight_clients_at_once(self):
        images = shared_fleet(self.scratch / "fleet", f"{SEED}-clients", blocks=3000)
        archive = self.path("a.drover")
        self.succeeds("pack", archive, *images)
        guests = {image.name: guest_of(image, self.path("is.raw")) for image in images}
        end = time.monotonic() + SECONDS
        wrong = []

        def read(seed, name, socket):
            rng = random.Random(seed)
            client = NBDClient(socket, name)
            while time.monotonic() < end and not wrong:
                # nbdkit itself has a buffer for each of its threads, as long as the longest request.
                length = rng.choice((512, 4096, 4096, 4096, 65536, 200_000))
                offset = rng.randrange(len(guests[name]) - length)
                if client.read(offset, length) != guests[name][offset : offset + length]:
                    wrong.append(f"{name}: {length} bytes at {offset}")
            client.close()

        with self.server(f"file={archive}") as (socket, number, log):
            clients = [threading.Thread(target=read, args=(f"{SEED}-{k}", images[k % len(images)].name, socket)) for k in range(8)]
            for client in clients:
                client.start()
            for client in clients:
                client.join()
            peak = int(next(line.split()[1] for line in Path(f"/proc/{number}/status").read_text().splitlines() if line.startswith("VmHWM"))) * 1024
            self.assertEqual((wrong, log.read_text()), ([], ""))
        self.assertLess(peak, (64 + 16) * MIB)

    def test_a_random_read_costs_two_frames_at_most(self):
        base, image = make_image(self.scratch, 64)
        archive = self.path("a.drover")
        self.succeeds("pack", "--compression", "none", archive, image)
        for offset in (17 * MIB - 2048, 40 * MIB + 512):
            trace = self.path("trace")
            with self.server(f"file={archive}", f"image={os.path.basename(image)}", "cache=1M") as (socket, number, _):
                client = NBDClient(socket)
                tracer = subprocess.Popen(
                    [required_tool("strace"), "-f", "-q", "-e", "trace=pread64,preadv", "-o", trace, "-p", str(number)],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )
                while "TracerPid:\t0" in Path(f"/proc/{number}/status").read_text():
                    time.sleep(0.01)
                client.read(offset, 4096)
                client.close()
                tracer.send_signal(signal.SIGINT)
                tracer.wait(10)
            read = [int(line.rsplit("= ", 1)[1].split()[0]) for line in Path(trace).read_text().splitlines() if "pread" in line and "= " in line]
            frames = [count for count in read if count > 64 << 10]
            self.assertLessEqual(len(frames), 2, read)
            self.assertLess(sum(read), 2 * (MIB + 4096) + 64 * 1024)

    def test_what_changes_while_it_is_served_is_not_read(self):
        base, image = make_image(self.scratch, 4)
        with self.server(f"file={image}") as (socket, _, log):
            client = NBDClient(socket)
            client.read(0, 4096)
            os.utime(base, (5, 5))
            with self.assertRaises(NBDError) as raised:
                client.read(0, 4096)
            self.assertEqual(raised.exception.number, EIO)
            client.close()
            self.assertRegex(log.read_text(), r"^nbdkit: .*: changed while it was read[^\n]*\n$")

    def test_damaged_archives(self):
        """Whatever is damaged: it is not served, or what is read is right or an error with a line; and it goes on serving."""
        images = shared_fleet(self.scratch / "fleet", f"{SEED}-damage")
        archive, damaged = self.path("a.drover"), self.path("damaged.drover")
        self.succeeds("pack", archive, *images)
        data = Path(archive).read_bytes()
        guest = guest_of(images[3], self.path("is.raw"))
        rng = random.Random(f"{SEED}-damage")
        served = failed = 0
        for number in range(COUNT * 2):
            bad = bytearray(data)
            for _ in range(rng.choice((1, 1, 40))):
                bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
            if number % 8 == 7:
                del bad[rng.randrange(len(bad)) :]
            Path(damaged).write_bytes(bad)
            if kit("true", f"file={damaged}", f"image={images[3].name}").returncode:
                continue
            served += 1
            with self.subTest(f"{SEED}-damage {number}"), self.server(f"file={damaged}", f"image={images[3].name}") as (socket, pid, log):
                client = NBDClient(socket)
                self.assertEqual(client.size, len(guest))
                for offset in range(0, len(guest), 65536):
                    length = min(65536, len(guest) - offset)
                    try:
                        self.assertTrue(client.read(offset, length) == guest[offset : offset + length])
                    except NBDError as error:
                        failed += 1
                        self.assertEqual(error.number, EIO)
                        self.assertIn(damaged, log.read_text().splitlines()[-1])
                client.close()
                NBDClient(socket).close()
        self.assertTrue(served and failed, (served, failed))

    def test_what_cannot_be_served_is_said_in_one_line(self):
        base, image = make_image(self.scratch, 4)
        archive, noise = self.path("a.drover"), self.path("n\x1b[1mo\nise.cow")
        self.succeeds("pack", archive, base, image)
        Path(noise).write_bytes(b"OOOM" + random.Random(SEED).randbytes(600))
        cases = (
            ([], "file=FILE is missing"),
            (["file=nothing"], "nothing: cannot be opened: No such file"),
            ([f"file={archive}", "image=x"], "holds no image x"),
            ([f"file={archive}::x"], "holds no image x"),
            ([f"file={image}", "image=x"], "is no archive"),
            ([f"file={image}", f"confine={self.scratch}/none"], "none"),
            ([f"file={image}", "f=vmdk"], "f=vmdk: expected one of"),
            ([f"file={image}", "cache=big"], "cache=big"),
            ([f"file={image}", "colour=red"], "there is no parameter colour"),
            ([f"file={noise}"], "\\n"),
        )
        for parameters, expected in cases:
            with self.subTest(parameters):
                done = kit("echo served", *parameters)
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertIn(expected, done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
                self.assertNotIn("\x1b", done.stderr)
        os.makedirs(self.path("elsewhere"))
        done = kit("true", f"file={image}", f"confine={self.path('elsewhere')}")
        self.assertIn("lies at", done.stderr)
        os.utime(base, (5, 5))
        self.assertIn("ignore-mtime=true", kit("true", f"file={image}").stderr)
        self.succeeds_in_kit("nbdinfo $uri", f"file={image}", "ignore-mtime=true")

    def test_an_archive_of_several_images_has_no_default(self):
        base, image = make_image(self.scratch, 4)
        archive = self.path("a.drover")
        self.succeeds("pack", archive, base, image)
        with self.server(archive) as (socket, _, log):
            self.assertRaises(NBDError, NBDClient, socket)
            self.assertRaises(NBDError, NBDClient, socket, "other")
            self.assertIn("choose one by its export name", log.read_text())
            NBDClient(socket, os.path.basename(image)).close()


class ServeTests(DroverCase):
    def setUp(self):
        super().setUp()
        self.base, self.image = make_image(self.scratch, 4)

    def served(self, *arguments, signals=signal.SIGTERM):
        """Serves, copies what is served, and ends it; returns the URI and what was on standard error."""
        process = start("serve", *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.addCleanup(process.kill)
        uri = process.stdout.readline().decode().strip()
        if uri:
            run_tool("nbdcopy", uri, self.path("copy.raw"))
            process.send_signal(signals)
        rest, errors = process.communicate(timeout=30)
        self.assertEqual((process.returncode, rest), (0, b""), errors)
        return uri, errors.decode()

    def test_it_serves_until_it_is_asked_to_end(self):
        guest = guest_of(self.image, self.path("is.raw"))
        named = self.path("a socket")
        for arguments, expected in (((), "nbd+unix:///?socket=/"), (("-U", named), f"nbd+unix:///?socket={named}".replace("a socket", "a%20socket"))):
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                uri, errors = self.served(*arguments, self.image, signals=number)
                self.assertTrue(uri.startswith(expected), uri)
                self.assertEqual(errors, "")
                self.assertTrue(Path(self.path("copy.raw")).read_bytes() == guest)
                socket = uri.split("socket=")[1].replace("%20", " ")
                self.assert_absent(socket)
                if not arguments:
                    self.assert_absent(os.path.dirname(socket))

    def test_a_port_is_on_this_host_alone(self):
        port = 20_000 + os.getpid() % 20_000
        uri, _ = self.served("-p", port_text := str(port), self.image)
        self.assertEqual(uri, f"nbd://127.0.0.1:{port_text}")

    def test_a_command_is_run_beside_it(self):
        done = self.succeeds("serve", "--run", "nbdinfo --size $uri", self.image)
        self.assertEqual(int(done.out), os.path.getsize(self.base))
        self.assertEqual(drover("serve", "--run", "exit 9", self.image).code, 9)
        archive = self.path("a.drover")
        self.succeeds("pack", archive, self.base, self.image)
        self.succeeds("serve", "--run", "nbdinfo $uri", f"{archive}::{os.path.basename(self.image)}")

    def test_a_server_whose_starter_is_killed_ends(self):
        process = start("serve", self.image, stdout=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        uri = process.stdout.readline().decode().strip()
        run_tool("nbdinfo", uri)
        stop(process)
        for _ in range(500):
            if subprocess.run([required_tool("nbdinfo"), uri], capture_output=True).returncode:
                break
            time.sleep(0.01)
        else:
            self.fail("it still serves")
        shutil.rmtree(os.path.dirname(uri.split("socket=")[1]))

    def test_what_cannot_be_served(self):
        self.fails(66, "serve", self.path("nothing"))
        self.fails(64, "serve", "-i", "127.0.0.1", self.image)
        self.fails(64, "serve", "-p", "0", self.image)
        self.fails(64, "serve", "-p", "1", "-U", "x", self.image)
        self.fails(64, "serve", "-U", self.path("x" * 120), self.image)
        self.fails(73, "serve", "-U", self.base, self.image)
        Path(self.path("text")).write_bytes(b"\x1f\x8b\x08\x00" * 200)
        self.fails(65, "serve", self.path("text"))
