"""Archives on a web server, read in ranges: what they cost, and what becomes of servers that lie, fail or break off."""

import os
import random
import re
import shutil
import ssl
import subprocess
import threading
import time
from pathlib import Path
from unittest import mock

from cow_writer import CowWriter
from harness import MIB, REPOSITORY, DroverCase, binary, drover, required_tool, run_tool
from test_archive_sharing import shared_fleet
from web_server import Server, serving

SEED = os.environ.get("DROVER_SEED") or str(random.SystemRandom().randrange(10**9))


def part(data, first, last):
    return data[first : last + 1]


class RemoteTests(DroverCase):
    def setUp(self):
        super().setUp()
        self.web = self.scratch / "web"
        self.web.mkdir()

    def images_in(self, archive, *options):
        layers = self.succeeds("list", "--output", "json", *options, archive).json()["layers"]
        return [layer["name"] for layer in layers if layer["image"]]

    def assert_same_files(self, one, two):
        names = sorted(str(path.relative_to(one)) for path in Path(one).rglob("*") if path.is_file() and path.suffix != ".manifest")
        self.assertTrue(names)
        for name in names:
            self.assertTrue(Path(one, name).read_bytes() == Path(two, name).read_bytes(), name)

    def test_an_archive_elsewhere_is_read_like_one_here(self):
        images = shared_fleet(self.scratch / "fleet", f"{SEED}-remote")
        archive, here, there = self.web / "a fleet.drover", self.path("here"), self.path("there")
        self.succeeds("pack", archive, *images)
        with serving(self.web) as server:
            address = f"{server.address}/a%20fleet.drover"
            ours, theirs = (self.succeeds("list", "--output", "json", name).json() for name in (archive, address))
            self.assertEqual(theirs.pop("archive"), address)
            ours.pop("archive")
            self.assertEqual(theirs, ours)
            self.succeeds("verify", address)
            self.succeeds("unpack", "-C", here, archive)
            self.succeeds("unpack", "-C", there, address)
            # Headers name the files beside them, so only what guests see is the same.
            for image in images:
                self.succeeds("compare", Path(here, image.name), Path(there, image.name))
                self.succeeds("compare", f"{address}::{image.name}", Path(here, image.name))
            self.succeeds("unpack", "-O", "raw", "-C", self.path("flat"), address)
            self.succeeds("convert", f"{address}::{images[-1].name}", self.path("is.raw"))
            self.succeeds("convert", f"{archive}::{images[-1].name}", self.path("was.raw"))
            self.assertTrue(Path(self.path("is.raw")).read_bytes() == Path(self.path("was.raw")).read_bytes())
            self.fails(65, "pack", self.path("again.drover"), address)
            self.fails(65, "pack", self.path("again.drover"), f"{address}::{images[-1].name}")
            self.assertIn("guest0", self.succeeds("info", address).out)
            self.assertEqual(self.succeeds("map", "--output", "json", f"{address}::{images[-1].name}").json(),
                             self.succeeds("map", "--output", "json", f"{archive}::{images[-1].name}").json())
            served = self.succeeds("serve", "--run", f"nbdcopy $uri '{self.path('nbd.raw')}'", f"{address}::{images[-1].name}")
            self.assertTrue(Path(self.path("nbd.raw")).read_bytes() == Path(self.path("was.raw")).read_bytes(), served)

    def test_a_line_lies_beside_its_last_night(self):
        images = shared_fleet(self.scratch / "fleet", f"{SEED}-line")
        first, second = self.web / "night 1.drover", self.web / "night 2.drover"
        self.succeeds("pack", first, *images)
        with open(images[1], "r+b") as file:
            file.seek(50_000)
            file.write(random.Random(SEED).randbytes(20_000))
        time.sleep(0.05)
        self.succeeds("pack", "--since", first, second, *images)
        with serving(self.web) as server:
            address = f"{server.address}/night%202.drover"
            for image in images:
                self.succeeds("convert", "--force", "--restart", image, self.path("was.raw"))
                self.succeeds("compare", self.path("was.raw"), f"{address}::{image.name}")
            self.succeeds("unpack", "-C", self.path("out"), address)
            os.rename(first, self.path("night 1.drover"))
            self.fails(66, "unpack", "-C", self.path("out2"), address)
            self.succeeds("unpack", "-C", self.path("out2"), "--archives", self.scratch, address)

    def test_one_of_a_hundred_costs_little_more_than_itself(self):
        folder = self.scratch / "fleet"
        folder.mkdir()
        rng = random.Random(SEED)
        for number in range(100):
            (folder / f"{number}.img").write_bytes(rng.randbytes(MIB * rng.randrange(1, 3)))
        archive = self.web / "fleet.drover"
        self.succeeds("pack", archive, *sorted(folder.iterdir()))
        with serving(self.web) as server:
            address = f"{server.address}/fleet.drover"
            self.succeeds("list", address)
            self.assertLess(server.sent, 200_000)
            for number, command in enumerate((("unpack", "-C", self.path("out"), address, "50.img"), ("convert", f"{address}::50.img", self.path("50.raw")))):
                server.forget()
                self.succeeds(*command)
                own = os.path.getsize(folder / "50.img")
                self.assertLess(server.sent, own * 1.05 + 200_000, server.requests)
                self.assertLess(len(server.requests), 4 + own / MIB * 3, server.requests)
            self.assertEqual(Path(self.path("out/50.img")).read_bytes(), (folder / "50.img").read_bytes())
            server.forget()
            self.succeeds("verify", address)
            self.assertLess(server.sent, os.path.getsize(archive) + 300_000)

    def test_servers_that_lie(self):
        """An error with the address, or the right bytes; never a wrong image, and nothing under a final name."""
        images = shared_fleet(self.scratch / "fleet", f"{SEED}-lies")
        archive = self.web / "fleet.drover"
        self.succeeds("pack", archive, *images)
        data = archive.read_bytes()
        name = images[-1].name
        self.succeeds("convert", f"{archive}::{name}", self.path("was.raw"))
        was = Path(self.path("was.raw")).read_bytes()

        def no_ranges(handler, number, first, last, size, path):
            handler.answer(200, list(handler.headers_of_file.items()), data)
            return True

        def after(count, mischief):
            return lambda handler, number, *rest: number > count and mischief(handler, number, *rest)

        def short(handler, number, first, last, size, path):
            handler.give(part(data, first, last)[:-7], first, last, size, length=last - first + 1)
            return True

        def shorter(handler, number, first, last, size, path):
            last = first + (last - first) // 2
            handler.give(part(data, first, last), first, last, size)
            return True

        def longer(handler, number, first, last, size, path):
            handler.give(part(data, first, last) + b"more", first, last, size)
            return True

        def shifted(handler, number, first, last, size, path):
            handler.give(data[first + 1 : last + 2].ljust(last - first + 1, b"x"), first + 1, last + 1, size)
            return True

        def unsaid(handler, number, first, last, size, path):
            handler.answer(206, list(handler.headers_of_file.items()), part(data, first, last))
            return True

        def grown(handler, number, first, last, size, path):
            handler.give(part(data, first, last), first, last, size + 5)
            return True

        def other(handler, number, first, last, size, path):
            handler.headers_of_file["ETag"] = f'"{number}"'
            handler.give(part(data, first, last), first, last, size)
            return True

        def aged(handler, number, first, last, size, path):
            handler.headers_of_file = {"Last-Modified": f"Thu, 0{number % 9 + 1} Jan 1970 00:00:00 GMT"}
            handler.give(part(data, first, last), first, last, size)
            return True

        def status(number, *headers):
            def mischief(handler, *_):
                handler.answer(number, headers, b"x" * 100)
                return True
            return mischief

        def encoded(handler, number, first, last, size, path):
            handler.give(part(data, first, last), first, last, size, extra=[("Content-Encoding", "gzip")])
            return True

        def hangs_up(handler, *_):
            handler.close_connection = True
            return True

        def no_http(handler, *_):
            handler.wfile.write(b"\x00\xff" * 300)
            handler.close_connection = True
            return True

        cases = {
            "no ranges": (no_ranges, 65), "short": (short, (66, 74)), "shorter": (shorter, 74), "longer": (longer, (66, 74)), "shifted": (shifted, (65, 74)),
            "unsaid": (unsaid, (65, 74)), "redirect": (status(302, ("Location", "/elsewhere")), 66), "loop": (status(301, ("Location", "/fleet.drover")), 66),
            "500": (status(500), 66), "503": (status(503), 66), "404": (status(404), 66), "403": (status(403), 66), "204": (status(204), 65),
            "encoded": (encoded, 65), "hangs up": (hangs_up, 66), "no HTTP": (no_http, 66), "grown later": (after(1, grown), 65), "other later": (after(1, other), 65),
            "aged later": (after(1, aged), 65), "500 later": (after(2, status(500)), 74), "redirect later": (after(2, status(307, ("Location", "/x"))), 66),
            "no ranges later": (after(1, no_ranges), 74), "short later": (after(2, short), 74), "shifted later": (after(1, shifted), 74),
            "longer later": (after(2, longer), 74), "hangs up later": (after(2, hangs_up), 74), "gone later": (after(2, status(404)), 66), "412 later": (after(1, status(412)), 65),
        }
        with serving(self.web) as server:
            address = f"{server.address}/fleet.drover"
            for case, (mischief, codes) in cases.items():
                codes = codes if isinstance(codes, tuple) else (codes,)
                for command in (("list", address), ("verify", address), ("unpack", "-C", self.path("out"), address, name), ("convert", f"{address}::{name}", self.path("is.raw"))):
                    with self.subTest(case, command=command[0]):
                        server.forget()
                        server.mischief = mischief
                        result = drover(*command, timeout=20)
                        server.mischief = None
                        if "later" not in case or len(server.requests) > 2:
                            self.assertIn(result.code, codes, f"\n{result}")
                        if result.code:
                            self.assert_one_line_error(result)
                            self.assertIn(address, result.err)
                            self.assert_absent(self.path("is.raw"))
                        elif command[0] == "convert":
                            self.assertTrue(Path(self.path("is.raw")).read_bytes() == was)
                        for path in (self.path("out"), self.path("is.raw"), self.path("is.raw.partial"), self.path("is.raw.manifest")):
                            shutil.rmtree(path) if os.path.isdir(path) else Path(path).unlink(missing_ok=True)

    def test_another_archive_of_the_same_length_is_never_mixed_in(self):
        """From a server that says neither time nor ETag: digests alone tell."""
        one, two = self.web / "fleet.drover", self.path("other.drover")
        for archive, seed in ((one, 1), (two, 2)):
            image = self.path("same.img")
            Path(image).write_bytes(random.Random(seed).randbytes(6 * MIB))
            os.utime(image, (5, 5))
            self.succeeds("pack", "--compression", "none", archive, image)
        self.assertEqual(os.path.getsize(one), os.path.getsize(two))
        data = Path(two).read_bytes()

        for changed in range(2, 6):
            def mischief(handler, number, first, last, size, path):
                if number < changed:
                    return False
                handler.give(part(data, first, last), first, last, size)
                return True

            with serving(self.web) as server:
                server.says_etag = server.says_time = False
                server.mischief = mischief
                address = f"{server.address}/fleet.drover"
                self.fails(65, "unpack", "-C", self.path("out"), address)
                self.assert_absent(self.path("out/same.img"))
                server.forget()
                self.fails(65, "convert", f"{address}::same.img", self.path("is.raw"), "--restart")
                self.assert_absent(self.path("is.raw"))

    def test_a_restoration_that_broke_off_goes_on(self):
        image = self.path("a.img")
        Path(image).write_bytes(random.Random(SEED).randbytes(24 * MIB))
        archive = self.web / "a.drover"
        self.succeeds("pack", archive, image)
        with serving(self.web) as server:
            address = f"{server.address}/a.drover"
            server.mischief = lambda handler, number, *_: number > 12 and (handler.answer(500) or True)
            self.fails(74, "unpack", "--segment", "1M", "-C", self.path("out"), address)
            server.mischief = None
            server.forget()
            self.succeeds("unpack", "--segment", "1M", "-C", self.path("out"), address)
            self.assertTrue(Path(self.path("out/a.img")).read_bytes() == Path(image).read_bytes())

    def test_addresses_that_are_none(self):
        with serving(self.web) as server:
            self.fails(66, "list", f"{server.address}/nothing.drover")
            Path(self.web, "text").write_bytes(b"no archive at all" * 100)
            self.fails(65, "list", f"{server.address}/text")
            self.fails(65, "info", f"{server.address}/text")
            self.fails(65, "convert", f"{server.address}/text", self.path("x.raw"))
            Path(self.web, "empty").touch()
            self.fails(65, "list", f"{server.address}/empty")
            for wrong in ("https://", "https:///x", "http://host", "http://host/", "http://host/a//b"):
                self.fails(64, "list", wrong)
        self.fails(66, "list", f"{server.address}/fleet.drover")
        self.fails(66, "list", "https://no-such-host.invalid/fleet.drover")
        # A file of this host, whatever it looks like; and what a header names is never asked for elsewhere.
        os.makedirs(self.path("https:/host"))
        Path(self.path("https:/host/disk.img")).write_bytes(bytes(MIB))
        self.succeeds("info", "https:/host/disk.img", cwd=self.scratch)
        with serving(self.web) as server:
            for scheme in ("http:/", "http://"):
                CowWriter("qemu-v2", MIB, f"{scheme}{server.address[7:]}/base.img".encode(), 0).save(self.path("o.cow"))
                self.assertIn(drover("info", "o.cow", cwd=self.scratch).code, (0, 66))
                self.fails(66, "convert", "o.cow", "o.raw", cwd=self.scratch)
                self.fails(66, "serve", "--run", "true", "o.cow", cwd=self.scratch)
            self.assertEqual(server.requests, [])

    def test_what_gives_access_is_not_said(self):
        Path(self.web, "cut.drover").write_bytes(b"no archive" * 100)
        with serving(self.web) as server:
            address = f"http://me:secret@{server.address[7:]}/cut.drover?signature=hidden"
            for arguments in (("list", address), ("verify", address), ("convert", f"{address}::a.img", "x.raw"), ("unpack", "-C", self.path("out"), address)):
                result = self.fails((65, 2), *arguments)
                self.assertNotRegex(result.err, "secret|hidden")
                self.assertIn(f"{server.address}/cut.drover", result.err)

    def test_recipes_leave_nothing_that_looks_complete(self):
        """The recipes of the page, with real programs but for ssh, which is a shell of its own, and the store's link."""
        page = (REPOSITORY / "Documentation/archives.md").read_text().partition("## Elsewhere\n")[2].partition("\n## ")[0]
        recipes = [re.sub("(?m)^    ", "", text) for text in re.findall(r"(?:^    .*\n)+", page, re.MULTILINE) if " pack " in text]
        self.assertEqual([("ssh" in text, "age" in text.split(), "rclone" in text) for text in recipes],
                         [(True, False, False), (False, True, False), (False, False, True)])
        guests, tools = self.scratch / "guests", self.scratch / "tools"
        guests.mkdir()
        tools.mkdir()
        for number in range(3):
            (guests / f"{number}.cow").write_bytes(random.Random(number).randbytes(3 * MIB))
        identity = run_tool("age-keygen")
        Path(self.path("key")).write_text(identity)
        Path(self.path("recipients.txt")).write_text(re.search("age1\\S+", identity)[0])
        rclone = required_tool("rclone")
        programs = {
            "ssh": 'shift; cd "$SCRATCH/host" && exec sh -c "$1"',
            "rclone": f'if [ "$1" = link ]; then echo "$ADDRESS/${{2#store:}}"; else exec {rclone} "$@"; fi',
            # Like drover, but it is killed in the middle where that is wanted.
            "drover": f'if [ "$1" = pack ] && [ "$DIES" ]; then shift; exec timeout -s KILL 0.5 {binary()} pack --rate 4M --compression none "$@"; fi; exec {binary()} "$@"',
        }
        for name, text in programs.items():
            (tools / name).write_text(f"#!/bin/sh\n{text}\n")
            (tools / name).chmod(0o755)
        (self.web / "backups").mkdir()
        (self.scratch / "host").mkdir()
        finals = (self.path("host/fleet.drover"), self.path("fleet.drover.age"), str(self.web / "backups/fleet.drover"))
        with serving(self.web) as server:
            environment = os.environ | {
                "PATH": f"{tools}:{os.environ['PATH']}", "SCRATCH": str(self.scratch), "ADDRESS": server.address, "RCLONE_CONFIG": self.path("rclone.conf"),
                "RCLONE_CONFIG_STORE_TYPE": "alias", "RCLONE_CONFIG_STORE_REMOTE": str(self.web),
            }
            environment.pop("AWS_CA_BUNDLE", None)
            for dies in ("1", ""):
                for recipe, final in zip(recipes, finals):
                    with self.subTest(recipe, dies=dies):
                        done = subprocess.run(["bash", "-c", recipe], cwd=self.scratch, env=environment | {"DIES": dies}, capture_output=True, text=True, timeout=60)
                        self.assertEqual(os.path.exists(final), not dies, f"{done.stdout}{done.stderr}")
                        self.assertEqual(done.returncode != 0, bool(dies), f"{done.stdout}{done.stderr}")
                        partial = f"{final}.part"
                        self.assertEqual(os.path.exists(partial), bool(dies))
                        if dies:
                            self.assertGreater(os.path.getsize(partial), MIB // 2)
            self.succeeds("verify", finals[0])
            self.succeeds("verify", finals[2])
            check = "age -d -i key fleet.drover.age{} | drover verify -"
            self.assertEqual(subprocess.run(["bash", "-c", check.format("")], cwd=self.scratch, env=environment).returncode, 0)
            subprocess.run(["bash", "-c", recipes[1]], cwd=self.scratch, env=environment | {"DIES": "1"}, capture_output=True)
            cut = subprocess.run(["bash", "-c", check.format(".part")], cwd=self.scratch, env=environment, capture_output=True)
            self.assertEqual(cut.returncode, 2, cut.stderr)

    def test_confine_allows_no_server(self):
        image = self.path("a.img")
        Path(image).write_bytes(bytes(MIB))
        self.succeeds("pack", self.web / "a.drover", image)
        with serving(self.web) as server:
            self.fails(65, "info", "--confine", self.scratch, f"{server.address}/a.drover::a.img")
            self.assertEqual(server.requests, [])

    def test_over_tls(self):
        image = self.path("a.img")
        Path(image).write_bytes(random.Random(SEED).randbytes(MIB))
        self.succeeds("pack", self.web / "a.drover", image)
        key, certificate = self.path("key.pem"), self.path("cert.pem")
        run_tool("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "1",
                 "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
        server = Server(self.web)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            address = f"https://127.0.0.1:{server.server_address[1]}/a.drover"
            self.fails(66, "list", address)  # nobody vouches for it
            with mock.patch.dict(os.environ, CURL_CA_BUNDLE=certificate):
                self.succeeds("verify", address)
                self.succeeds("compare", f"{address}::a.img", image)
        finally:
            server.shutdown()
            server.server_close()
