"""Random chains of disk images on disk, the same ones for the same seed.

Every layout, one to four COW files over a raw file, over nothing, or over a COW file that UML takes for raw bytes. Beside the
files a chain keeps `guest`, what the generator itself says a guest sees: a second witness for the reference decoder.
"""

import math
import os
import random
from dataclasses import dataclass

from cow_writer import LAYOUTS, QEMU_LAYOUTS, SECTOR, CowWriter, align, path_buffer, set_mtime

RUN_STYLES = ("empty", "full", "single", "every other", "mixed", "mixed", "mixed", "large", "edges")
CONTENTS = ("data", "data", "data", "zeros", "hole", "speckled", "one byte")


@dataclass
class Image:
    """One file of a generated chain. `guest` is what it shows when it is opened with its chain."""

    path: str
    size: int
    guest: bytes
    layout: str | None = None  # None for raw

    @property
    def length(self):
        return os.path.getsize(self.path)

    @property
    def mtime(self):
        return os.stat(self.path).st_mtime_ns // 10**9


@dataclass
class RandomChain:
    """A chain on disk: `images` top first, down to the bottom that is read."""

    seed: str
    images: list
    files: list  # all files made, also those below a COW file taken for raw

    @property
    def top(self):
        return self.images[0].path

    @property
    def guest(self):
        return self.images[0].guest

    def __str__(self):
        parts = [f"{image.layout or 'raw'}:{image.size}" for image in self.images]
        return f"chain {self.seed}: " + " over ".join(parts)


def random_chain(seed, directory):
    """Makes a chain in `directory`, which must exist and be empty."""
    return _Maker(random.Random(seed), os.path.realpath(directory)).make(seed)


def random_runs(rng, sectors):
    """Some runs of sectors as (first, count), in order and apart, from single sectors to nearly everything."""
    style = rng.choice(RUN_STYLES)
    if style == "empty":
        return []
    if style == "full":
        return [(0, sectors)]
    if style == "every other":
        start = rng.randrange(sectors)
        return [(sector, 1) for sector in range(start, min(sectors, start + 2000), 2)]
    if style == "edges":
        return [(0, 1)] + ([(sectors - 1, 1)] if sectors > 2 else [])
    longest_run = {"single": 1, "mixed": min(sectors, 300), "large": sectors}[style]
    longest_gap = {"single": 64, "mixed": 400, "large": sectors}[style]
    runs, position = [], _log_uniform(rng, longest_gap) - 1
    while position < sectors and len(runs) < 1500:
        count = min(_log_uniform(rng, longest_run), sectors - position)
        runs.append((position, count))
        position += count + _log_uniform(rng, longest_gap)
    return runs


def random_content(rng, count):
    """Bytes for a run of `count` sectors; None stands for zeros that are a hole."""
    kind = rng.choice(CONTENTS)
    if kind == "hole":
        return None
    if kind == "zeros":
        return bytes(count * SECTOR)
    if kind == "data":
        return rng.randbytes(count * SECTOR)
    data = bytearray(rng.randbytes(count * SECTOR) if kind == "speckled" else count * SECTOR)
    if kind == "one byte":
        data[rng.choice((0, len(data) - 1, rng.randrange(len(data))))] = 1
        return bytes(data)
    position = 0
    while position < count:
        zeros = min(_log_uniform(rng, 40), count - position)
        data[position * SECTOR : (position + zeros) * SECTOR] = bytes(zeros * SECTOR)
        position += zeros + _log_uniform(rng, 40)
    return bytes(data)


def _log_uniform(rng, largest):
    return int(2 ** rng.uniform(0, math.log2(largest + 1)))


class _Maker:
    """Builds a chain from the bottom up."""

    def __init__(self, rng, directory):
        self.rng, self.directory = rng, directory
        self.files = []

    def make(self, seed):
        depth = self.rng.choice((1, 1, 2, 2, 3, 4))
        images = [] if self.rng.random() < 0.12 else [self._raw()]
        for _ in range(depth):
            taken_raw = self._overlay(images)
            if taken_raw:
                lower = images[1]
                images[1:] = [Image(lower.path, lower.length, b"")]
        return RandomChain(seed, images, self.files)

    def _size(self):
        low, high = self.rng.choice(((2, 64), (64, 1024), (64, 1024), (1024, 8192)))
        if self.rng.random() < 0.04:
            low, high = 40_000, 70_000  # a bitmap of more than a page
        size = self.rng.randint(low, high) * SECTOR
        return size - self.rng.randrange(1, SECTOR) if self.rng.random() < 0.3 else size

    def _new_path(self, extension):
        folder = self.rng.choice(("", "", "lower", "a b", "bäse/deep"))
        os.makedirs(os.path.join(self.directory, folder), exist_ok=True)
        path = os.path.join(self.directory, folder, f"image-{len(self.files)}{extension}")
        self.files.append(path)
        return path

    def _stamp(self, path):
        latest = 2**32 - 1 if self.rng.random() < 0.03 else 2**31 - 1
        set_mtime(path, self.rng.randint(10**9, latest), self.rng.randrange(10**9))

    def _raw(self):
        size, path = self._size(), self._new_path(self.rng.choice((".raw", ".img", "")))
        guest = bytearray(align(size, SECTOR))
        with open(path, "wb") as file:
            for first, count in random_runs(self.rng, len(guest) // SECTOR):
                content = random_content(self.rng, count)
                if content:
                    content = content[: size - first * SECTOR]
                    file.seek(first * SECTOR)
                    file.write(content)
                    guest[first * SECTOR : first * SECTOR + len(content)] = content
            file.truncate(size)
        self._stamp(path)
        return Image(path, size, bytes(guest))

    def _overlay(self, images):
        """Puts a COW file on top of `images`; True if it takes the one below as raw bytes."""
        below = images[0] if images else None
        layout, size, taken_raw = self._layout_and_size(below)
        path = self._new_path(".cow")
        writer = CowWriter(layout, size, alignment=self.rng.choice((512, 4096, 4096, 65536)))
        guest = b""
        if below:
            writer.backing = self._backing(path, below.path, layout)
            writer.mtime = 0 if layout in QEMU_LAYOUTS and self.rng.random() < 0.2 else below.mtime
            with open(below.path, "rb") as file:
                guest = file.read() if taken_raw else below.guest
        guest = bytearray(guest[: writer.sectors * SECTOR].ljust(writer.sectors * SECTOR, b"\0"))
        self._fill(writer, guest)
        writer.save(path)
        self._stamp(path)
        images.insert(0, Image(path, size, bytes(guest), layout))
        return taken_raw

    def _layout_and_size(self, below):
        layout = self.rng.choice(LAYOUTS if below else QEMU_LAYOUTS)
        if below and len(os.fsencode(below.path)) >= path_buffer(layout):
            layout = "uml-v3"
        if layout not in QEMU_LAYOUTS and below.layout and below.length == below.size:
            layout = "qemu-v2"  # UML could not tell raw from chain
        if layout not in QEMU_LAYOUTS:
            taken_raw = below.layout is not None and self.rng.random() < 0.1
            return layout, below.length if taken_raw else below.size, taken_raw
        size = below.size if below and self.rng.random() < 0.5 else self._size()
        if 0 < size % 2**32 <= SECTOR:  # one sector: qemu-v2 could be read as qemu-v2-32
            size += SECTOR
        return layout, size, False

    def _backing(self, path, below, layout):
        if layout in QEMU_LAYOUTS and self.rng.random() < 0.6:
            return os.fsencode(os.path.relpath(below, os.path.dirname(path)))
        return os.fsencode(below)

    def _fill(self, writer, guest):
        """Allocates runs, writes them and what a real file has beside them; brings `guest` up to date."""
        rng = self.rng
        for first, count in random_runs(rng, writer.sectors):
            if rng.random() < 0.15:  # stale data that was never committed
                writer.write_data(first, rng.randbytes(count * SECTOR))
                continue
            count = min(count, writer.bits - first)
            if count <= 0:
                continue
            content = random_content(rng, count)
            writer.allocate(first, count)
            if content:
                writer.write_data(first, content)
            guest[first * SECTOR : (first + count) * SECTOR] = content or bytes(count * SECTOR)
        if rng.random() < 0.4:
            writer.path_garbage = rng.randbytes(path_buffer(writer.layout))
        writer.full_length = rng.random() < 0.6
        writer.bitmap_as_hole = rng.random() < 0.5
        if writer.full_length and rng.random() < 0.1:
            writer.tail = rng.randbytes(rng.randrange(1, 3000))
