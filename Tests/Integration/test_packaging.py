"""What is installed beside the binary: man pages, completions for real shells, `make install`, the Debian package."""

import gzip
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from harness import REPOSITORY, DroverCase, binary, digest, drover, required_tool, run_tool
from shells import offers

EPOCH = "1700000000"  # 2023-11-14
SHELLS = ("bash", "zsh", "fish")


def commands():
    """The commands as `drover --help` lists them."""
    listed = drover("--help").out.partition("SUBCOMMANDS:\n")[2]
    return re.findall(r"^  ([a-z]\S*)", listed, re.MULTILINE)


def options(command):
    """The options of a command as its help lists them, short and long."""
    return re.findall(r"(?<![\w-])(--?[A-Za-z][\w-]*)(?=[ ,\n])", "\n".join(option_lines(drover("help", command).out)))


def option_lines(text):
    return [re.split(r" {2,}", line.strip())[0] + "\n" for line in text.splitlines() if re.match(r"  -", line)]


def run(*arguments, **environment):
    """Runs a program in the repository, with nothing of an outer make's settings, and returns what it printed."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("SOURCE_DATE_EPOCH", "MAKEFLAGS", "DESTDIR", "PREFIX")}
    done = subprocess.run(
        list(map(os.fspath, arguments)), cwd=REPOSITORY, env=inherited | environment, capture_output=True, text=True, timeout=300,
        stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise AssertionError(f"{arguments}: code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def make(*arguments, **environment):
    return run(required_tool("make"), "--no-print-directory", f"DROVER={binary()}", *arguments, **environment)


def files(folder):
    """All that is below a folder and is no folder."""
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_symlink() or not path.is_dir())


class InstalledCase(DroverCase):
    """Tests that look at one installation in a DESTDIR."""

    @classmethod
    def setUpClass(cls):
        cls.root = Path(tempfile.mkdtemp(prefix="drover-test-")).resolve()
        cls.addClassCleanup(shutil.rmtree, cls.root, ignore_errors=True)
        make("install", f"DESTDIR={cls.root}", "PREFIX=/usr/local")
        cls.prefix = cls.root / "usr/local"


class ManualTests(InstalledCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.pages = cls.root / "pages"
        cls.pages.mkdir()
        for page in (cls.prefix / "share/man/man1").glob("*.1.gz"):
            (cls.pages / page.stem).write_bytes(gzip.decompress(page.read_bytes()))

    def test_every_command_has_a_page(self):
        self.assertGreater(len(commands()), 10)
        expected = ["drover.1", *(f"drover-{command}.1" for command in commands())]
        self.assertEqual(sorted(os.listdir(self.pages)), sorted([*expected, "nbdkit-drover-plugin.1"]))

    def test_pages_have_every_option_and_all_sections(self):
        for command in commands():
            with self.subTest(command=command):
                page = self.rendered(self.pages / f"drover-{command}.1")
                listed = "".join(line for line in page.splitlines(keepends=True) if re.match(r" {7}-", line))
                for option in options(command):
                    self.assertRegex(listed, rf"(?<![\w-]){option}(?![\w-])")
                for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"):
                    self.assertRegex(page, rf"(?m)^{section}$")
                self.assertIn(f"drover-{command}(1)", self.rendered(self.pages / "drover.1"))

    def test_pages_of_the_documentation_are_pages_of_section_five(self):
        folder = self.prefix / "share/man/man5"
        self.assertEqual(files(folder), ["drover-archive.5.gz", "drover-pipeline.5.gz"])
        for name, texts in (("drover-pipeline", ("keep-chain", "full-every", "confine")), ("drover-archive", ("skippable", "0x184D2A5"))):
            with self.subTest(page=name):
                page = self.pages.parent / f"{name}.5"
                page.write_bytes(gzip.decompress((folder / f"{name}.5.gz").read_bytes()))
                run_tool("mandoc", "-T", "lint", "-W", "error", page)
                shown = self.rendered(page)
                self.assertRegex(shown, rf"NAME\n +{name} - ")
                self.assertNotIn("](", shown)
                for text in texts:
                    self.assertIn(text, shown)
                self.assertIn(f"{name}(5)", self.rendered(self.pages / "drover.1"))

    def test_pages_are_good_roff(self):
        self.lint(*self.pages.iterdir())
        for page in self.pages.iterdir():
            done = subprocess.run(
                [required_tool("man"), "--warnings", "-E", "UTF-8", "-l", "-Tutf8", page], capture_output=True, text=True,
                env=os.environ | {"MANROFFSEQ": "", "MANWIDTH": "80", "LC_ALL": "C.UTF-8"}, timeout=60)
            self.assertEqual((done.returncode, done.stderr), (0, ""), page)

    def test_the_exit_codes_are_those_of_the_readme(self):
        section = self.rendered(self.pages / "drover.1").partition("\nEXIT STATUS\n")[2].partition("\nEXAMPLES\n")[0]
        table = (REPOSITORY / "README.md").read_text().partition("\n## Exit codes\n")[2].partition("\n## ")[0]
        codes = re.findall(r"^\| (\d+) \|", table, re.MULTILINE)
        self.assertEqual(sorted(re.findall(r"^ {7}(\d+) ", section, re.MULTILINE)), sorted(codes))
        self.assertIn("1      The images differ.", self.rendered(self.pages / "drover-compare.1"))
        self.assertNotRegex(self.rendered(self.pages / "drover-map.1"), r"(?m)^ {7}[12] ")

    def test_pages_do_not_depend_on_the_day(self):
        for name, epoch, zone in (("a", EPOCH, "UTC"), ("b", EPOCH, "Asia/Tokyo"), ("c", "1600000000", "UTC")):
            run(REPOSITORY / ".ci/manual", binary(), self.path(name), SOURCE_DATE_EPOCH=epoch, TZ=zone)
        contents = lambda name: [(file, digest(self.scratch / name / file)) for file in files(self.path(name))]
        self.assertEqual(contents("a"), contents("b"))
        self.assertNotEqual(contents("a"), contents("c"))
        self.assertRegex((self.scratch / "a/drover.1").read_text(), r"\.TH DROVER 1 2023-11-14 ")

    def test_a_command_to_come_gets_its_page(self):
        help_flag = {"kind": "flag", "names": [{"kind": "long", "name": "help"}], "preferredName": {"kind": "long", "name": "help"}}
        shared = {"isOptional": True, "isRepeating": False, "shouldDisplay": True}
        command = {
            "commandName": "herd", "abstract": "Herd -- 'images'.", "shouldDisplay": True, "arguments": [
                help_flag | shared | {"abstract": ".Flag \\ 'help'.", "valueName": "help"},
                shared | {"kind": "positional", "valueName": "sheep", "isRepeating": True, "abstract": "The images."}],
            "discussion": ".Begins with a dot.\n\nEnvironment: HERD_SIZE, how many.\n\nFor example: drover herd --all 'a b'"}
        root = {"commandName": "drover", "abstract": "Moves.", "arguments": [], "subcommands": [command], "shouldDisplay": True}
        fake = self.scratch / "fake"
        fake.write_text("#!/bin/sh\n[ \"$1\" = --version ] && exec echo 9.8.7\ncat <<'END'\n" + json.dumps({"command": root}) + "\nEND\n")
        fake.chmod(0o755)
        run(REPOSITORY / ".ci/manual", fake, self.path("man"), SOURCE_DATE_EPOCH=EPOCH)
        page = self.scratch / "man/drover-herd.1"
        self.lint(page)
        for text in (
            "drover-herd - herd -- 'images'", "drover herd [SHEEP ...]", ".Begins with a dot.", ".Flag \\ 'help'.", "How many.",
            "drover herd --all 'a b'", "Drover 9.8.7"):
            self.assertIn(text, self.rendered(page))

    def lint(self, *pages):
        done = subprocess.run(
            [required_tool("mandoc"), "-T", "lint", "-W", "warning", *pages], capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def rendered(self, page):
        """A page as it is read, without bold and italics."""
        return re.sub(".\b", "", run_tool("mandoc", "-T", "ascii", page))


class CompletionTests(InstalledCase):
    SCRIPTS = {
        "bash": "share/bash-completion/completions/drover",
        "zsh": "share/zsh/site-functions/_drover",
        "fish": "share/fish/vendor_completions.d/drover.fish",
    }

    def setUp(self):
        super().setUp()
        os.makedirs(self.path("guests"))
        for name in ("base.img", "my disk.cow"):
            Path(self.path(name)).touch()

    def offers(self, shell, *lines):
        found = offers(shell, self.prefix / self.SCRIPTS[shell], lines, self.scratch, self.prefix / "bin")
        return [{offer.rstrip("/") for offer in words} for words in found]

    def test_words_that_fit_are_offered(self):
        cases = {
            "drover con": {"convert"},
            "drover help unp": {"unpack"},
            "drover info --back": {"--backing-chain", "--backing-format", "--backing-map", "--backing-search"},
            "drover convert -O ": {"raw", "cow", "qcow2"},
            "drover info -f uml-v3": {"uml-v3", "uml-v3-64"},
            "drover info --backing-format qemu": {"qemu-v2", "qemu-v2-32"},
            "drover info --output ": {"human", "json"},
            "drover convert --progress b": {"bar"},
            "drover pack --compression l": {"lz4"},
            "drover info my": {"my disk.cow"},
            "drover pack out.drover ba": {"base.img"},
            "drover unpack -C g": {"guests"},
            "drover info --backing-map /srv/uml=. ba": {"base.img"},
        }
        for shell in SHELLS:
            for line, found in zip(cases, self.offers(shell, *cases), strict=True):
                with self.subTest(shell=shell, line=line):
                    self.assertEqual(found, cases[line])

    def test_what_stands_behind_an_equals_sign(self):
        for shell in SHELLS:
            with self.subTest(shell=shell):
                found = self.offers(shell, "drover info --backing-map /srv/uml=gu", "drover create -o layout=uml")
                self.assertEqual(found[0], {"/srv/uml=guests"})
                # Bash goes on behind the sign.
                self.assertEqual({offer.rpartition("=")[2] for offer in found[1]}, {"uml-v2", "uml-v3"})

    def test_every_command_offers_its_options(self):
        for shell in SHELLS:
            names = commands()
            first, *rest = self.offers(shell, "drover ", *(f"drover {name} --" for name in names))
            self.assertLessEqual(set(names), first)
            for name, found in zip(names, rest, strict=True):
                with self.subTest(shell=shell, command=name):
                    self.assertEqual(found, {option for option in options(name) if option.startswith("--")})


class InstallTests(InstalledCase):
    def test_everything_is_there(self):
        share = self.prefix / "share"
        self.assertEqual(run(self.prefix / "bin/drover", "--version"), drover("--version").out)
        plugin = self.prefix / "lib/nbdkit/plugins/nbdkit-drover-plugin.so"
        self.assertEqual(run(self.prefix / "bin/drover", "serve", "--run", "nbdinfo --size $uri", REPOSITORY / "README.md", "-f", "raw").strip(),
                         str((os.path.getsize(REPOSITORY / "README.md") + 511) // 512 * 512))
        self.assertEqual(digest(plugin), digest(Path(binary()).with_name("libnbdkit-drover-plugin.so")))
        for name in ("CHANGELOG.md", "Documentation/converting.md"):
            self.assertEqual(digest(share / "doc/drover" / name), digest(REPOSITORY / name))
        pipelines = [name for name in files(REPOSITORY / "Pipelines") if name != "demo.sh"]
        self.assertEqual(files(share / "drover"), pipelines)

    def test_no_link_of_an_installed_page_is_dead(self):
        folder, dead, count = self.prefix / "share/doc/drover", [], 0
        for page in folder.rglob("*.md"):
            for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
                count += 1
                if "://" not in link and not (page.parent / link).exists():
                    dead.append(f"{page.relative_to(folder)}: {link}")
        self.assertEqual(dead, [])
        self.assertGreater(count, 50)

    def test_nothing_is_compiled(self):
        self.assertNotIn("swift", make("--dry-run", "install", f"DESTDIR={self.scratch}"))

    def test_uninstall_leaves_nothing_and_takes_nothing_else(self):
        root = self.scratch / "a root"
        make("install", f"DESTDIR={root}", "PREFIX=/opt/drover")
        for name in ("bin/other", "share/man/man1/other.1.gz", "share/doc/other/README"):
            path = root / "opt/drover" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        make("uninstall", f"DESTDIR={root}", "PREFIX=/opt/drover")
        self.assertEqual(files(root), ["opt/drover/bin/other", "opt/drover/share/doc/other/README", "opt/drover/share/man/man1/other.1.gz"])
        self.assertFalse((root / "opt/drover/share/doc/drover").exists())
        self.assertEqual(files(root / "opt/drover/lib"), [])
        make("uninstall", f"DESTDIR={root}", "PREFIX=/opt/drover")

    def test_the_changelog_names_the_version(self):
        text = (REPOSITORY / "CHANGELOG.md").read_text()
        release = re.search(r"\d+\.\d+\.\d+(?=, the|\])", text.partition("## [")[2])[0]
        # Until there is the release, the day and the commit; a version that Debian sorts before that.
        self.assertRegex(drover("--version").out.strip(), rf"^{re.escape(release)}(~git(\d{{8}})?\.[0-9a-f]{{7,}})?$")


class FuzzerTests(unittest.TestCase):
    def test_its_package_has_whatever_the_sources_import(self):
        """It is compiled by `make fuzz` alone, and would not be missed until then."""
        folder = REPOSITORY / "Tests" / "Fuzz"
        ours = {path.name for path in (REPOSITORY / "Sources").iterdir()}
        targets = json.loads(run_tool("swift", "package", "--package-path", folder, "dump-package"))["targets"]
        needs = {target["name"]: {name[0] for one in target["dependencies"] for name in one.values()} for target in targets}
        self.assertGreater(len(needs), 10)

        def reached(name):
            return {name}.union(*(reached(other) for other in needs.get(name, ())))

        for target in targets:
            for source in (folder / (target.get("path") or target["name"])).rglob("*.swift"):
                if "Replay" in source.parts:
                    continue
                imports = re.findall(r"^(?:\w+ )?import (\w+)", source.read_text(), re.MULTILINE)
                self.assertLessEqual(set(imports) & ours, reached(target["name"]), source)


class ReleaseTests(DroverCase):
    def test_only_a_release_is_one(self):
        """In a repository of its own: a day in the changelog, nothing uncommitted, a tag."""
        tree = self.scratch / "tree"
        (tree / ".ci").mkdir(parents=True)
        for name in (".ci/release", ".ci/version"):
            shutil.copy(REPOSITORY / name, tree / name)

        def git(*arguments):
            run_tool("git", "-C", tree, "-c", "user.name=x", "-c", "user.email=x@example.org", *arguments)

        def release(code, expected):
            done = subprocess.run([tree / ".ci/release"], capture_output=True, text=True)
            self.assertEqual((done.returncode, expected in done.stdout + done.stderr), (code, True), f"{done.stdout}{done.stderr}")

        changelog = tree / "CHANGELOG.md"
        changelog.write_text("# Changelog\n\n## [Unreleased]\nTo become 0.1.0, the first version.\n")
        git("init", "-q")
        git("add", "-A")
        git("commit", "-qm", "one")
        self.assertRegex(run_tool(tree / ".ci/version"), r"^0\.1\.0~git\d{8}\.[0-9a-f]{7,}\n$")
        release(1, "expected '## [VERSION]")
        changelog.write_text("# Changelog\n\n## [0.1.0] - 2026-12-31\n")
        release(1, "not committed")
        git("commit", "-qam", "two")
        release(1, "not tagged v0.1.0")
        git("tag", "-a", "v0.1.0", "-m", "x")
        release(0, "release: 0.1.0")
        self.assertEqual(run_tool(tree / ".ci/version"), "0.1.0\n")


class DebianPackageTests(DroverCase):
    """The package, made once, in a scratch root whose dpkg knows of this system's packages those that ours depends on."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.mkdtemp(prefix="drover-test-")
        cls.addClassCleanup(shutil.rmtree, folder, ignore_errors=True)
        cls.package = cls.make_package(folder)

    @staticmethod
    def make_package(folder, **environment):
        """The real target, but for the compilation and the time that xz takes."""
        settings = {"SOURCE_DATE_EPOCH": EPOCH, "DPKG_DEB_COMPRESSOR_LEVEL": "1"} | environment
        printed = make("--assume-old=build", "deb", f"DEB={folder}", **settings)
        return Path(printed.splitlines()[-1])

    def setUp(self):
        super().setUp()
        self.root = self.scratch / "root"
        database, architecture = self.root / "var/lib/dpkg", self.field("Architecture")
        for name in ("info", "updates", "triggers"):
            (database / name).mkdir(parents=True)
        with open(database / "status", "w") as status:
            for package in sorted(self.depends()):
                described = run_tool("dpkg-query", "--status", package)
                print(described, file=status)
                name = f":{architecture}" if "\nMulti-Arch: same\n" in described else ""
                (database / f"info/{package}{name}.list").touch()

    def dpkg(self, *arguments):
        """Real dependencies, without touching this system and without having to be root.

        All files are unpacked, although a container's dpkg may leave out man pages and documentation.
        """
        environment = os.environ | {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "DEBIAN_FRONTEND": "noninteractive"}
        options = [f"--root={self.root}", "--force-not-root", "--log=/dev/null", "--path-include=*"]
        command = [required_tool("dpkg"), *options, *map(os.fspath, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
        self.assertEqual((done.returncode, done.stderr), (0, ""), f"{command}\n{done.stdout}")

    def field(self, name):
        return run_tool("dpkg-deb", "--field", self.package, name).strip()

    def depends(self):
        return {item.split(" ")[0] for item in self.field("Depends").split(", ")}

    def test_installs_runs_and_is_removed_without_a_trace(self):
        self.dpkg("--install", self.package)
        program = self.root / "usr/bin/drover"
        image = self.scratch / "disk.raw"
        image.write_bytes(os.urandom(4096) + bytes(1 << 20))
        clean = {"env": {}, "cwd": "/", "capture_output": True, "text": True, "timeout": 60}
        for arguments in (["--version"], ["convert", "-O", "raw", image, self.scratch / "copy.raw"], ["verify", self.scratch / "copy.raw"]):
            done = subprocess.run([program, *arguments], **clean)
            self.assertEqual((done.returncode, done.stderr), (0, ""), arguments)
        self.assertEqual(digest(image), digest(self.scratch / "copy.raw"))
        self.dpkg("--purge", "drover")
        self.assertFalse((self.root / "usr").exists())
        self.assertEqual([name for name in files(self.root / "var/lib/dpkg/info") if name.startswith("drover")], [])

    def test_needs_debians_libraries_alone(self):
        self.dpkg("--install", self.package)
        program = self.root / "usr/bin/drover"
        dynamic = run_tool("readelf", "-d", program)
        self.assertNotRegex(dynamic, "(?i)r(un)?path")
        self.assertNotRegex(dynamic, "(?i)NEEDED.*(swift|foundation|dispatch|blocks)")
        for name, path in re.findall(r"^\s*(\S+) => (\S+)", run_tool("ldd", program), re.MULTILINE):
            owner = run_tool("dpkg-query", "-S", *{path, os.path.realpath(path)}, codes=(0, 1)).split(":")[0]
            self.assertIn(owner, self.depends(), f"{name} is {path}")

    def test_holds_what_is_installed_and_its_own_papers(self):
        self.dpkg("--install", self.package)
        share = self.root / "usr/share"
        for name in ("doc/drover/copyright", "doc/drover/changelog.gz", "man/man1/drover-convert.1.gz", "zsh/vendor-completions/_drover",
                     "bash-completion/completions/drover", "fish/vendor_completions.d/drover.fish"):
            self.assertTrue((share / name).is_file(), name)
        self.assertEqual(self.package.name, f"drover_{drover('--version').out.strip()}_{self.field('Architecture')}.deb")
        self.dpkg("--verify", "drover")
        size = sum(path.stat().st_size for path in self.root.glob("usr/**/*") if path.is_file())
        self.assertLess(abs(int(self.field("Installed-Size")) - size // 1024), 400)
        for line in run_tool("dpkg-deb", "--contents", self.package).splitlines():
            self.assertRegex(line, r"^(drwxr-xr-x|-rw[x-]r-[x-]r-[x-]) root/root ")

    def test_the_same_source_gives_the_same_packages(self):
        again = self.make_package(self.scratch, TZ="Asia/Tokyo")
        for name in (self.package.name, self.plugin_package().name):
            self.assertEqual(digest(again.with_name(name)), digest(self.package.with_name(name)))

    def plugin_package(self):
        return self.package.with_name(f"nbdkit-plugin-{self.package.name}")

    def test_the_plugins_package(self):
        run_tool("dpkg-deb", "--extract", self.plugin_package(), self.root)
        folder = run_tool("pkg-config", "--variable=plugindir", "nbdkit").strip()
        plugin = self.root / folder.lstrip("/") / "nbdkit-drover-plugin.so"
        dumped = run_tool("nbdkit", plugin, "--dump-plugin")
        self.assertIn("name=drover\n", dumped)
        self.assertIn(f"version={drover('--version').out}", dumped)
        needed = run_tool("readelf", "-d", plugin)
        self.assertNotRegex(needed, "(?i)NEEDED.*(swift|foundation|dispatch|blocks)")
        self.assertNotRegex(needed, "(?i)r(un)?path")
        page = gzip.decompress((self.root / "usr/share/man/man1/nbdkit-drover-plugin.1.gz").read_bytes()).decode()
        self.assertNotIn("@", page)
        parameters = re.findall(r"^([a-z-]+)=", run_tool("nbdkit", plugin, "--help"), re.MULTILINE)
        self.assertGreater(len(parameters), 8)
        for name in parameters:
            self.assertIn(".BI " + name.replace("-", "\\-") + "= ", page)
        self.assertIn("nbdkit", run_tool("dpkg-deb", "--field", self.plugin_package(), "Depends").split(", "))
        for name in ("copyright", "changelog.gz"):
            self.assertTrue((self.root / "usr/share/doc/nbdkit-plugin-drover" / name).is_file())


if __name__ == "__main__":
    unittest.main()
