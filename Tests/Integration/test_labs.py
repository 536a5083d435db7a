"""Labs of Netkit and Marionnet, their COW files written by the real UML kernel, moved as Documentation/labs.md says."""

import json
import os
import random
import shutil
import struct
import subprocess
import unittest
from pathlib import Path

from harness import MIB, REPOSITORY, SECTOR, DroverCase, digest, run_tool
from uml import Guest

MTIME = 1_450_000_000


def make_model(path, megabytes, seed):
    """A raw ext4 file system with some files in it, and a time of its own."""
    tree = Path(f"{path}.tree")
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/hostname").write_text("model\n")
    (tree / "bin").mkdir()
    for number in range(12):
        (tree / f"bin/tool{number}").write_bytes(random.Random(seed + number).randbytes(300_000))
    run_tool("mke2fs", "-q", "-t", "ext4", "-d", tree, path, f"{megabytes}M")
    shutil.rmtree(tree)
    os.utime(path, (MTIME, MTIME))


class LabCase(DroverCase):
    def example(self, name, folder, *changes):
        """The example pipeline `name` in `folder`, where paths of an installed system are those of the test."""
        text = (REPOSITORY / "Pipelines" / name).read_text()
        for old, new in changes:
            self.assertIn(old, text)
            text = text.replace(old, str(new))
        (Path(folder) / name).write_text(text)
        return str(Path(folder) / name)

    def sees(self, image, *options):
        """The digest of the disk that a guest sees on `image`."""
        flat = self.path("flat.raw")
        self.succeeds("convert", "--force", *options, image, flat)
        return digest(flat)


class NetkitTests(LabCase):
    def setUp(self):
        super().setUp()
        self.fs, self.lab = self.scratch / "netkit/fs", self.scratch / "home/lab"
        self.fs.mkdir(parents=True)
        self.lab.mkdir(parents=True)
        self.model = self.fs / "netkit-fs"
        make_model(self.model, 24, 1)
        (self.lab / "lab.conf").write_text('pc1[0]="A"\npc2[0]="A"\n')
        for name in ("pc1", "pc2"):
            (self.lab / f"{name}.startup").write_text(f"ip addr add 10.0.0.{name[-1]}/24 dev eth0\n")
        script = """
            for disk in $DISK0 $DISK1; do
                mount -t ext4 $disk /mnt
                echo ${disk##*/} >/mnt/etc/hostname
                head -c 700000 /dev/urandom >/mnt/capture
                umount /mnt
            done
            disk_digest $DISK0; disk_digest $DISK1
        """
        disks = [f"{self.lab}/{name}.disk,{self.model}" for name in ("pc1", "pc2")]
        self.seen = Guest.run(script, disks).lines()

    def test_a_lab_travels_in_one_archive_and_starts_elsewhere(self):
        pipeline = self.example("netkit-lab.yaml", self.lab, ("/usr/local/netkit/fs", self.fs))
        self.succeeds("run", pipeline)
        other = self.path("other")
        self.succeeds("unpack", "-C", other, self.lab / "lab.drover")
        lab = Path(other) / "home/lab"
        self.assertEqual(sorted(path.name for path in lab.iterdir() if path.suffix != ".manifest"),
                         ["lab.conf", "pc1.disk", "pc1.startup", "pc2.disk", "pc2.startup"])
        self.assertEqual((lab / "lab.conf").read_text(), (self.lab / "lab.conf").read_text())
        shutil.rmtree(self.fs)  # nothing stands on the old model
        disks = [str(lab / f"{name}.disk") for name in ("pc1", "pc2")]
        self.assertEqual(Guest.run("disk_digest $DISK0; disk_digest $DISK1", disks).lines(), self.seen)

    def test_a_lab_and_a_model_that_moved(self):
        moved = self.scratch / "elsewhere"
        shutil.copytree(self.lab, moved)  # the times of .disk files do not matter
        self.assertEqual(self.sees(moved / "pc1.disk"), self.seen[0])
        new = self.scratch / "new/netkit-fs"
        new.parent.mkdir()
        os.rename(self.model, new)
        self.fails(66, "convert", moved / "pc1.disk", self.path("no.raw"))
        self.succeeds("rebase", "-u", "-b", new, moved / "pc1.disk")
        self.assertEqual(Guest.run("disk_digest $DISK0", [str(moved / "pc1.disk")]).lines(), self.seen[:1])

    def test_a_model_that_was_upgraded_under_its_disks(self):
        self.succeeds("run", self.example("netkit-lab.yaml", self.lab, ("/usr/local/netkit/fs", self.fs)))
        Guest.run("mount -t ext4 $DISK0 /mnt; for n in 1 2 3; do head -c 300000 /dev/urandom >/mnt/bin/tool$n; done; umount /mnt",
                  [str(self.model)]).lines()
        for number, name in enumerate(("pc1", "pc2")):
            disk = self.lab / f"{name}.disk"
            self.assertIn("was modified", self.succeeds("check", disk, code=2).out)
            self.succeeds("rebase", "--old-backing", f"{self.lab}/lab.drover::netkit-fs", "-b", self.model, disk)
            self.succeeds("check", disk)
            self.assertEqual(Guest.run("disk_digest $DISK0", [str(disk)]).lines(), [self.seen[number]])


class MarionnetTests(LabCase):
    PROJECTS = 30

    def setUp(self):
        super().setUp()
        self.share, self.classroom = self.scratch / "share/filesystems", self.scratch / "class"
        self.share.mkdir(parents=True)
        self.classroom.mkdir()
        plain = self.path("machine")
        make_model(plain, 24, 5)
        total = run_tool("sum", plain).split()[0]
        self.machine = self.share / f"machine-guignol-{total}"
        os.rename(plain, self.machine)
        self.conf = Path(f"{self.machine}.conf")
        self.conf.write_text(f"SUM={total}\nMTIME={MTIME}\nSUPPORTED_KERNELS=\n")
        # A router's base is a machine's, by another name and with a .conf of its own.
        self.router = self.share / f"router-guignol-{total}"
        os.symlink(self.machine.name, self.router)
        Path(f"{self.router}.conf").write_text(self.conf.read_text())
        first = self.classroom / "project-01"
        (first / "states").mkdir(parents=True)
        (first / "network.json").write_text(json.dumps({"machines": ["m1"], "routers": ["r1"]}))
        script = """
            mount -t ext4 $DISK0 /mnt; head -c 1500000 /dev/urandom >/mnt/report; umount /mnt
            mount -t ext4 $DISK1 /mnt; echo router >/mnt/etc/hostname; umount /mnt
            disk_digest $DISK0; disk_digest $DISK1
        """
        self.states = [first / "states/m1-0001.cow", first / "states/r1-0001.cow"]
        bases = (self.machine, self.router)
        self.seen = Guest.run(script, [f"{state},{base}" for state, base in zip(self.states, bases, strict=True)]).lines()

    def projects(self):
        """Thirty of them, of which each machine has a few sectors of its own; as .mar files hold them."""
        mar = self.path("project-01.mar")
        run_tool("tar", "--sparse", "-czf", mar, "-C", self.classroom, "project-01")
        unique, own = set(), 40
        data = int(next(line.split(":")[1] for line in self.succeeds("info", self.states[0]).out.splitlines() if "data offset" in line))
        runs = [extent for extent in self.succeeds("map", "--output", "json", self.states[0]).json() if extent["depth"] == 0 and extent["data"]]
        where = max(runs, key=lambda extent: extent["length"])["start"]
        for number in range(2, self.PROJECTS + 1):
            project = self.classroom / f"project-{number:02}"
            run_tool("tar", "-xzf", mar, "-C", self.scratch)
            os.rename(self.scratch / "project-01", project) if not project.exists() else None
            with open(project / "states/m1-0001.cow", "r+b") as file:
                file.seek(data + where)
                file.write(random.Random(number).randbytes(own * SECTOR))
        for path in [self.machine, *self.classroom.glob("*/states/*.cow")]:
            content = path.read_bytes()
            unique |= {hash(sector) for (sector,) in struct.iter_unpack(f"{SECTOR}s", content + bytes(-len(content) % SECTOR))}
        return len(unique - {hash(bytes(SECTOR))}) * SECTOR

    def test_a_class_is_one_archive_restored_elsewhere(self):
        unique = self.projects()
        # As on a machine where nothing lies where the headers say.
        moved = self.scratch / "installed"
        os.rename(self.share, moved)
        pipeline = self.example("marionnet-class.yaml", self.classroom, ("/usr/share/marionnet/filesystems", moved))
        self.succeeds("run", pipeline)
        archive = self.classroom / "class.drover"
        self.assertLess(archive.stat().st_size, 1.1 * unique)
        layers = self.succeeds("list", "--output", "json", archive).json()["layers"]
        self.assertEqual(len([layer for layer in layers if "guignol" in layer["name"]]), 1, "one base, by whatever name")
        other = self.path("other")
        self.succeeds("unpack", "-C", other, archive)
        shutil.rmtree(moved)
        restored = [str(Path(other) / "class/project-01/states" / state.name) for state in self.states]
        self.assertEqual(Guest.run("disk_digest $DISK0; disk_digest $DISK1", restored).lines(), self.seen)
        self.assertTrue((Path(other) / "class/project-30/network.json").exists())
        for number in (2, 17, 30):
            name = f"class/project-{number:02}/states/m1-0001.cow"
            self.succeeds("compare", "--backing-search", os.path.dirname(self.restored_base(other)), self.scratch / name, Path(other) / name)

    def restored_base(self, folder):
        return next(str(path) for path in Path(folder).rglob("machine-guignol-*") if not path.name.endswith((".conf", ".manifest")))

    def test_a_project_opened_on_another_installation(self):
        moved = self.scratch / "installed"
        os.rename(self.share, moved)
        self.fails(66, "convert", self.states[0], self.path("no.raw"))
        for state, seen in zip(self.states, self.seen, strict=True):
            self.assertEqual(self.sees(state, "--backing-search", moved), seen)
        self.succeeds("rebase", "-u", "-b", moved / self.machine.name, self.states[0])
        self.assertEqual(Guest.run("disk_digest $DISK0", [str(self.states[0])]).lines(), self.seen[:1])

    def test_a_base_that_lost_its_time(self):
        copy = self.path("copy")
        shutil.copyfile(self.machine, copy)
        os.replace(copy, self.machine)
        told = self.fails(65, "convert", self.states[0], self.path("no.raw"))
        self.assertIn("check -r mtime", told.err)
        # What Marionnet's own installer does, with the time that lies beside the base.
        script = f"touch -d @$(sed -n 's/^MTIME=//p' {self.conf}) {self.machine}"
        subprocess.run(["sh", "-ec", script], check=True)
        self.assertEqual(self.sees(self.states[0]), self.seen[0])

    def test_a_state_is_published_as_one_file(self):
        theirs = self.path("theirs")
        run_tool("uml_moo", "-b", self.machine, self.states[0], theirs)
        self.assertEqual(self.sees(self.states[0]), digest(theirs))


if __name__ == "__main__":
    unittest.main()
