"""A move leaves the host's page cache as it was: what somebody had there stays, what nobody had does not. Asked of fincore (util-linux)."""

import os
import resource
import subprocess
import unittest

import needs
from cow_writer import CowWriter, set_mtime
from filesystems import mounted
from harness import MIB, SECTOR, DroverCase, binary, run_tool

# What is read to find out what a file is, with what the kernel reads ahead of it, may stay.
PROBED = 256 << 10


class PageCacheTests(DroverCase):
    def setUp(self):
        super().setUp()
        needs.disk_folder(self.scratch)

    def cold(self, name, megabytes):
        """A file full of data that is on the disk and nowhere else."""
        path, block = self.path(name), os.urandom(MIB)
        with open(path, "wb") as file:
            for number in range(megabytes):
                file.write(number.to_bytes(8, "big") + block[8:])
        set_mtime(path, 1_700_000_000)
        self.evict(path)
        return path

    def evict(self, path):
        descriptor = os.open(path, os.O_RDWR)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
        self.assertEqual(self.cached(path), 0)

    def cached(self, path):
        return int(run_tool("fincore", "--bytes", "--noheadings", "--raw", "--output", "RES", path).strip())

    def test_what_nobody_had_there_does_not_stay(self):
        source, raw, cow = self.cold("source.img", 96), self.path("target.img"), self.path("target.qcow2")
        self.succeeds("convert", source, raw)
        self.succeeds("convert", "-O", "qcow2", source, cow)
        self.succeeds("compare", source, raw)
        self.succeeds("verify", raw)
        self.assertLess(self.cached(source), PROBED)
        self.assertLess(self.cached(raw), PROBED)
        # Its tables are written when the data is on the disk.
        self.assertLess(self.cached(cow), MIB)
        archive = self.path("all.drover")
        self.succeeds("pack", archive, source)
        self.succeeds("verify", archive)
        self.succeeds("unpack", "-C", self.path("out"), archive)
        for path in (source, archive, os.path.join(self.path("out"), "source.img")):
            self.assertLess(self.cached(path), MIB, path)

    def test_what_was_there_stays(self):
        source = self.cold("source.img", 96)
        with open(source, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            file.seek(40 * MIB)
            file.read(16 * MIB)
        before = self.cached(source)
        self.assertGreaterEqual(before, 16 * MIB)
        self.succeeds("convert", source, self.path("target.img"))
        self.assertGreaterEqual(self.cached(source), before)
        self.assertLess(self.cached(source), before + PROBED)

    def test_all_stays_where_that_is_asked_for(self):
        source, target = self.cold("source.img", 32), self.path("target.img")
        self.succeeds("convert", "--keep-cache", source, target)
        self.assertEqual([self.cached(source), self.cached(target)], [32 * MIB, 32 * MIB])

    def test_a_base_stays_until_the_last_of_its_guests_is_done(self):
        base = self.cold("base.img", 64)
        os.mkdir(self.path("guests"))
        for number in range(4):
            writer = CowWriter("uml-v3", 64 * MIB, os.fsencode(base), mtime=1_700_000_000)
            writer.write_data(number * 1000, os.urandom(4096))
            writer.save(self.path(f"guests/vm{number}.cow"))
        with open(self.path("fleet.yaml"), "w") as file:
            file.write("version: 1\nsources: [guests/*.cow]\njobs: 1\ntarget: {directory: out}\n")
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_inblock
        self.succeeds("run", self.path("fleet.yaml"), "--no-reflink")
        read = (resource.getrusage(resource.RUSAGE_CHILDREN).ru_inblock - before) * 512
        self.assertLess(read, 96 * MIB, "the base is read from the disk once, not four times")
        self.assertGreaterEqual(read, 64 * MIB)
        self.assertLess(self.cached(base), PROBED)

    def test_the_largest_files_end_where_they_end(self):
        """What the kernel may read ahead of the last sectors lies behind the last offset that there is."""
        needs.loop_devices()
        with mounted("xfs", str(self.scratch)) as disk:
            for name in "ab":
                with open(f"{disk}/{name}", "wb") as file:
                    file.truncate((1 << 63) - 4096)
                    file.seek((1 << 63) - 8192)
                    file.write(b"x" * 4095 + name.encode())
            differ = self.succeeds("compare", f"{disk}/a", f"{disk}/b", code=1)
            self.assertIn(f"Content mismatch at offset {(1 << 63) - 4096 - SECTOR}!", differ.out)

    def test_a_hot_file_stays_beside_a_move_that_is_larger_than_memory(self):
        """48 MiB that are in use, and 400 MiB that are moved, in 160 MiB of memory."""
        hot, source = self.cold("hot", 48), self.cold("source.img", 400)
        with needs.memory_limited(160 * MIB) as processes:
            script = f'echo $$ > {processes} && cat "$1" "$1" > /dev/null && exec "$2" convert "$3" "$4"'
            command = ["sh", "-c", script, "sh", hot, binary(), source, self.path("target.img")]
            subprocess.run(command, check=True, timeout=120)
            self.assertGreaterEqual(self.cached(hot), 40 * MIB)


if __name__ == "__main__":
    unittest.main()
