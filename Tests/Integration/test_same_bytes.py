"""The same bytes give the same archive, targets and digests, whether zeros are holes, were written, or are extents that nobody wrote to.

Of such an extent a file system says that it is a hole, or data as long as its pages are dirty: what SEEK_DATA says depends on the page cache.
`DROVER_SEED` repeats a run.
"""

import ctypes
import os
import random
import signal
import sys
import time
from pathlib import Path

from archives import write_overlay
from cow_header import has_magic
import needs
from cow_writer import CowWriter, set_mtime
from filesystems import mounted
from harness import MIB, SECTOR, DroverCase, digest, records, start, stop

SEED = os.environ.get("DROVER_SEED") or str(random.SystemRandom().randrange(10**9))
PACK_OPTIONS = (
    *((), ("--jobs", "1"), ("--jobs", "7"), ("--compression", "none"), ("--compression", "lz4:9")),
    *(("-S", "0"), ("-S", "512"), ("-S", "64k"), ("-S", "1M"), ("--flatten",), ("--flatten", "-S", "0")),
)
STATES = ("sparse", "dense", "unwritten", "dirty", "mixed")
SIZE = 9 * MIB + 3 * SECTOR
MTIME = 1_500_000_000

libc = ctypes.CDLL(None, use_errno=True)
KEEP_SIZE, PUNCH = 1, 2


def fallocate(file, mode, start_, length):
    if libc.fallocate(file.fileno(), mode, ctypes.c_long(start_), ctypes.c_long(length)):
        raise OSError(ctypes.get_errno(), "fallocate")


def store(path, pieces, size, state, rng):
    """Writes a file of `pieces` (offset, bytes) and zeros, which are stored as `state` says."""
    Path(path).unlink(missing_ok=True)
    with open(path, "wb") as file:
        file.truncate(size)
        if state == "dense":
            for at in range(0, size, MIB):
                file.write(bytes(min(MIB, size - at)))
        elif state in ("unwritten", "dirty"):
            fallocate(file, 0, 0, size)
        elif state == "mixed":
            for at in range(0, size, 128 << 10):
                length = min(128 << 10, size - at)
                kind = rng.randrange(3)
                if kind == 0:
                    fallocate(file, 0, at, length)
                elif kind == 1:
                    file.seek(at)
                    file.write(bytes(length))
        for at, data in pieces:
            file.seek(at)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if state == "dirty":
            # Zeros over zeros: the extents stay unwritten until the pages are written back.
            for at in range(0, size, 256 << 10):
                if not any(at <= offset + len(data) and offset < at + 65536 for offset, data in pieces):
                    file.seek(at)
                    file.write(bytes(min(65536, size - at)))
            file.flush()
    set_mtime(path, MTIME)


def pieces_of(path):
    """What of a file is not zeros, in sectors."""
    data = Path(path).read_bytes()
    found = []
    for at in range(0, len(data), SECTOR):
        sector = data[at : at + SECTOR]
        if sector.strip(b"\0"):
            if found and found[-1][0] + len(found[-1][1]) == at:
                found[-1] = found[-1][0], found[-1][1] + sector
            else:
                found.append((at, sector))
    return found


class SameBytesTests(DroverCase):
    @classmethod
    def setUpClass(cls):
        print(f"DROVER_SEED={SEED}", file=sys.stderr, flush=True)

    def setUp(self):
        super().setUp()
        self.rng = random.Random(SEED)

    def make(self, folder):
        """A base with data of all lengths in it, an overlay in a layout whose data begin anywhere, and one over that."""
        os.makedirs(folder, exist_ok=True)
        base, lower, top = (f"{folder}/{name}" for name in ("base.img", "lower.cow", "top.cow"))
        pieces = [(0, b"boot" * 128), (3 * MIB + 5 * SECTOR, self.rng.randbytes(SECTOR)), (5 * MIB - 4096, b"x" * 8192)]
        pieces += [(6 * MIB + n * 24576, self.rng.randbytes(SECTOR * self.rng.randrange(1, 40))) for n in range(30)]
        pieces.append((SIZE - 100, b"end" * 33))
        store(base, pieces, SIZE, "sparse", self.rng)
        runs = [(1, 40), (100, 5000), (6000, 1), (9000, 4000), (15000, 30), (18000, 400)]
        write_overlay(lower, base, SIZE, random.Random(2), runs, layout="qemu-v2")
        writer = CowWriter("uml-v3", SIZE, os.fsencode(lower), MTIME)
        for first, count in [(0, 9), (2048, 6000), (10000, 3000)]:
            writer.allocate(first, count)  # zeros, but for a sector here and there
            writer.write_data(first + count // 2, self.rng.randbytes(SECTOR))
        writer.save(top)
        for path in (lower, top):
            set_mtime(path, MTIME)
        self.files = {path: (pieces_of(path), os.path.getsize(path)) for path in (base, lower, top)}
        return base, lower, top

    def restate(self, state):
        """The same files with their zeros stored otherwise."""
        for path, (pieces, size) in self.files.items():
            store(path, pieces, size, state, self.rng)

    def each_state(self, check):
        """`check()` must give the same, whatever the state."""
        expected = None
        for state in STATES:
            self.restate(state)
            found = check()
            expected = expected or found
            self.assertEqual(found, expected, f"{state} gives something else than {STATES[0]}")

    def check_folder(self, folder, pack_options=PACK_OPTIONS, options=((), ("-S", "0"), ("-S", "64k"), ("--segment", "1M", "--jobs", "3"))):
        base, _, top = self.make(f"{folder}/sources")
        with open(base, "rb") as file:
            self.assertFalse(has_magic(file.read(4)))
        self.check_packing(base, top, pack_options)
        self.check_converting(folder, base, top, options)

    def check_packing(self, base, top, all_options):
        archive = self.path("fleet.drover")

        def pack(options):
            self.succeeds("pack", "--restart", "--force", *options, archive, base, top)
            return digest(archive)

        for options in all_options:
            with self.subTest(options=options):
                self.each_state(lambda options=options: pack(options))
                self.succeeds("verify", archive)

    def check_converting(self, folder, base, top, all_options):
        def convert(*arguments):
            target = f"{folder}/target"
            self.succeeds("convert", "--restart", "--force", *arguments, target)
            return digest(target), records(target)[-1]["digest"]

        for options in all_options:
            for form in (("-O", "raw"), ("-O", "cow", "-o", "layout=qemu-v2"), ("-O", "cow", "-B", base)):
                for source in (base, top) if "-B" not in form else (top,):
                    with self.subTest(options=options, form=form, source=source):
                        self.each_state(lambda a=(*form, *options, source): convert(*a))

    def test_here(self):
        self.check_folder(str(self.scratch), options=((), ("-S", "0")))

    def test_on_xfs_and_ext4(self):
        needs.loop_devices()
        for kind in ("xfs", "ext4"):
            with self.subTest(kind=kind), mounted(kind, self.scratch) as folder:
                self.check_folder(folder, ((), ("-S", "64k"), ("--flatten", "-S", "0")), [("-S", "64k")])

    def test_resumed_while_holes_come_and_go(self):
        folder = str(self.scratch)
        base, _, top = self.make(f"{folder}/sources")
        archive = self.path("fleet.drover")
        options = ("--compression", "none", "--segment", "1M")
        self.succeeds("pack", *options, archive, base, top)
        expected = digest(archive)
        for path in (archive, f"{archive}.manifest"):
            os.unlink(path)
        for _ in range(30):
            # Each run finds the zeros stored otherwise; inode, size and time of the sources are what they were.
            state = self.rng.choice(("dense", "punched"))
            for path, (pieces, size) in self.files.items():
                with open(path, "r+b") as file:
                    self.restore_in_place(file, pieces, size, state)
                set_mtime(path, MTIME)
            process = start("pack", *options, "--rate", "6M", archive, base, top)
            time.sleep(self.rng.uniform(0.2, 0.9))
            if process.poll() is not None:
                break
            stop(process, self.rng.choice((signal.SIGKILL, signal.SIGTERM)))
        self.succeeds("pack", *options, archive, base, top)
        self.assertEqual(digest(archive), expected)

    def restore_in_place(self, file, pieces, size, state):
        position = 0
        for at, data in [*pieces, (size, b"")]:
            gap = at - position
            if gap and state == "dense":
                file.seek(position)
                file.write(bytes(gap))
            elif gap:
                fallocate(file, KEEP_SIZE | PUNCH, position, gap)
            position = at + len(data)
        file.flush()
        os.fsync(file.fileno())
