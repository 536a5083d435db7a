"""A fleet whose targets' disk is full: it is said once, and the same command goes on when there is room."""

import os
import subprocess
import unittest

import needs
from filesystems import mounted
from harness import MIB, DroverCase, required_tool


class FullDiskTests(DroverCase):
    def test_a_full_disk_ends_a_run_at_once(self):
        needs.loop_devices()
        os.mkdir(self.path("guests"))
        for number in range(20):
            with open(self.path(f"guests/vm{number:02}.raw"), "wb") as file:
                file.write(os.urandom(4 * MIB))
        with mounted("ext4", str(self.scratch), megabytes=48) as disk:
            with open(self.path("fleet.yaml"), "w") as file:
                file.write("version: 1\nsources: [guests/*.raw]\nsource-format: raw\njobs: 2\ntarget: {directory: ext4/out}\n")
            planned = self.fails(1, "plan", self.path("fleet.yaml"))
            self.assertIn("there is not room for all of it", planned.err)
            ended = self.succeeds("run", self.path("fleet.yaml"), code=1)
            lines = ended.err.splitlines()
            self.assertLessEqual(len([line for line in lines if "No space left" in line]), 4, ended)
            self.assertRegex(lines[-1], r"fleet\.yaml: \d+ targets not begun: the disk that they go to failed or is full")
            self.assertRegex(ended.out, r"20 targets: \d+ done, [12] failed, \d+ not begun")
            # With room, the same command does the rest.
            os.makedirs(self.path("more"))
            for name in os.listdir(f"{disk}/out"):
                if name.endswith(".partial") or name.endswith(".manifest") and not os.path.exists(f"{disk}/out/{name[:-9]}"):
                    os.unlink(f"{disk}/out/{name}")
            subprocess.run([required_tool("cp"), "-a", f"{disk}/out", self.path("more")], check=True)
        with open(self.path("fleet.yaml"), "w") as file:
            file.write("version: 1\nsources: [guests/*.raw]\nsource-format: raw\ntarget: {directory: more/out}\n")
        self.succeeds("plan", self.path("fleet.yaml"))
        self.assertRegex(self.succeeds("run", self.path("fleet.yaml")).out, r"20 targets: \d+ done, \d+ up to date")


if __name__ == "__main__":
    unittest.main()
