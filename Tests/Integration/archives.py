"""Fleets to pack, what an archive of them must give back, and an archive taken apart into its frames.

A fleet here is `bases/`, raw images, and a directory a guest (`vm1/root.cow`), overlays over them or over one another. Only
what everybody knows of the archive is used: it is a sequence of LZ4 frames and of skippable frames with one magic number.
"""

import os
import random
import struct
from dataclasses import dataclass

from chains import random_runs
from cow_header import has_magic
from cow_writer import CowWriter, set_mtime
from harness import SECTOR
from reference import open_chain

RECORD_MAGIC = 0x184D2A5D
LZ4_MAGIC = 0x184D2204
REWRITTEN = {"uml-v1": "uml-v3", "uml-v2-64": "uml-v3", "uml-v3-64": "uml-v3", "qemu-v2-32": "qemu-v2"}
MTIME = 1_500_000_000


@dataclass(frozen=True)
class Frame:
    """One frame of an LZ4 stream, from `start` to before `end`; `is_record` where it is a skippable one."""

    start: int
    end: int
    is_record: bool

    def of(self, data):
        return data[self.start : self.end]


def frames(data):
    """The frames of a whole archive, in order; they cover it."""
    found, position = [], 0
    while position < len(data):
        (magic,) = struct.unpack_from("<I", data, position)
        if magic == RECORD_MAGIC:
            end = position + 8 + struct.unpack_from("<I", data, position + 4)[0]
        elif magic == LZ4_MAGIC:
            end = _end_of_lz4_frame(data, position)
        else:
            raise AssertionError(f"no frame begins at {position}: {magic:#x}")
        if end > len(data):
            raise AssertionError(f"the frame at {position} is longer than the archive")
        found.append(Frame(position, end, magic == RECORD_MAGIC))
        position = end
    return found


def _end_of_lz4_frame(data, position):
    flags = data[position + 4]
    position += 7 + 8 * bool(flags & 0x08) + 4 * bool(flags & 0x01)
    while True:
        (length,) = struct.unpack_from("<I", data, position)
        position += 4
        if length == 0:
            return position + 4 * bool(flags & 0x04)
        position += (length & 0x7FFF_FFFF) + 4 * bool(flags & 0x10)


def names_of(paths):
    """The name each path has in an archive of all of them: below their deepest common directory."""
    paths = [os.path.realpath(path) for path in paths]
    common = os.path.commonpath([os.path.dirname(path) for path in paths])
    return {path: os.path.relpath(path, common) for path in paths}


def difference(source, restored, layout=None, mtimes=None):
    """What differs between a packed chain and the restored one, layer by layer, as text; "" if nothing does.

    `layout` is the one that every overlay was asked for; by default layouts are what the contract makes of them. `mtimes`
    are those a backing file may have; by default its own.
    """
    before, after = open_chain(source), open_chain(restored)
    if len(before.layers) != len(after.layers):
        return f"{len(after.layers)} layers instead of {len(before.layers)}"
    for number, (old, new) in enumerate(zip(before.layers, after.layers, strict=True)):
        # QEMU's programs count in whole sectors, and an overlay in a UML layout is as large as what it stands on.
        rounded = any(lower.header and not lower.header.layout.is_uml for lower in after.layers[number:])
        if old.size != new.size and not (rounded and new.size == old.sectors * SECTOR):
            return f"layer {number}, {new.path}: size {new.size} instead of {old.size}"
        if text := _layer_difference(old, new, layout):
            return f"layer {number}, {new.path}: {text}"
        if number and new.status.st_mtime_ns not in (mtimes or {old.status.st_mtime_ns}):
            return f"layer {number}: mtime {new.status.st_mtime_ns} instead of {old.status.st_mtime_ns}"
        if new.header and number + 1 < len(after.layers):
            below = after.layers[number + 1].path
            if new.header.backing != os.fsencode(os.path.abspath(below)):
                return f"layer {number}: its header names {new.header.backing}, not {below}"
            if new.header.mtime != after.layers[number + 1].status.st_mtime_ns // 10**9 and old.header.mtime:
                return f"layer {number}: its header has the mtime {new.header.mtime}"
    return "" if before.guest() == after.guest() else "the guest sees other bytes"


def takes_cow_as_raw(chain):
    """Whether the bottom of the chain is a COW file that UML reads as raw bytes; a QEMU layout over it means another chain."""
    with open(chain.layers[-1].path, "rb") as file:
        return len(chain.layers) > 1 and chain.layers[-1].header is None and has_magic(file.read(4))


def _layer_difference(old, new, layout):
    if (old.header is None) != (new.header is None):
        return "raw became COW or COW raw"
    if old.header:
        expected = layout or REWRITTEN.get(old.header.layout.name, old.header.layout.name)
        if new.header.layout.name != expected:
            return f"layout {new.header.layout.name} instead of {expected}"
    if old.runs != new.runs:
        return f"other sectors are allocated: {sorted(set(old.runs) ^ set(new.runs))[:4]}"
    for first, last in old.runs:
        if old.read(first, last) != new.read(first, last):
            return f"other data in sectors {first} to {last - 1}"
    return ""


@dataclass
class Fleet:
    """Files on disk: `images` are packed, `bases` come with them."""

    images: list
    bases: list

    @property
    def files(self):
        return [*self.images, *self.bases]


def make_fleet(folder, guests=4, bases=1, sectors=400, seed=0, content="mixed", runs=random_runs, extra=0):
    """Makes a fleet of uml-v3 overlays in `folder`. `content` "dense" leaves no sector of zeros.

    Every third guest's overlay has another one over it, `vm3/top.cow` over `vm3/root.cow`; `extra` bytes are added to the
    size, so that it ends inside a sector.
    """
    rng = random.Random(seed)
    folder = os.path.realpath(folder)
    fleet = Fleet([], [])
    size = sectors * SECTOR + extra
    for number in range(bases):
        base = os.path.join(folder, "bases", f"base-{number}.img")
        os.makedirs(os.path.dirname(base), exist_ok=True)
        with open(base, "wb") as file:
            for first, count in [(0, sectors)] if content == "dense" else random_runs(rng, sectors):
                file.seek(first * SECTOR)
                file.write(some_bytes(rng, count * SECTOR, content))
            file.seek(0)
            file.write(rng.randbytes(SECTOR))  # no two bases are equal
            file.truncate(size)
        set_mtime(base, MTIME + number, rng.randrange(10**9))
        fleet.bases.append(base)
    for number in range(guests):
        guest = os.path.join(folder, f"vm{number + 1}")
        os.makedirs(guest)
        root = os.path.join(guest, "root.cow")
        write_overlay(root, fleet.bases[number % bases], size, rng, runs(rng, sectors), content)
        if number % 3 == 2:
            top = os.path.join(guest, "top.cow")
            write_overlay(top, root, size, rng, runs(rng, sectors), content, layout="qemu-v2")
            fleet.bases.append(root)
            root = top
        fleet.images.append(root)
    return fleet


def write_overlay(path, base, size, rng, runs, content="mixed", layout="uml-v3"):
    writer = CowWriter(layout, size, os.fsencode(base), os.stat(base).st_mtime_ns // 10**9)
    for first, count in runs:
        writer.allocate(first, count)
        if content == "dense" or rng.random() < 0.8:
            writer.write_data(first, some_bytes(rng, count * SECTOR, content))
    writer.save(path)
    set_mtime(path, MTIME + rng.randrange(10**6), rng.randrange(10**9))


def some_bytes(rng, length, content="mixed"):
    """Random bytes, text that compresses, or one after the other; never a sector of zeros if "dense"."""
    kinds = ("random", "text") if content in ("mixed", "dense") else (content,)
    if rng.choice(kinds) == "random":
        return rng.randbytes(length)
    words = [rng.randbytes(rng.randrange(3, 9)).hex().encode() for _ in range(20)]
    text = b" ".join([words[number % len(words)] for number in rng.randbytes(length // 6 + 1)])
    return text[:length].ljust(length, b".")
