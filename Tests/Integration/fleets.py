"""Fleets to be moved: many overlays over a few bases, with the bytes that each guest must see afterwards, and a reader of their own for the results."""

import os
import random
import struct
from dataclasses import dataclass, field
from pathlib import Path

from cow_writer import CowWriter, set_mtime
from harness import SECTOR

BASE_TIME = 1_577_880_000
NANOSECONDS = 123_456_789
HEADER = ">4sIIQIII4096s"


@dataclass
class Fleet:
    """`root/bases/*.img` and `root/guests/*.cow`; `disks` says what each guest sees, by the image's name without extension."""

    root: Path
    disks: dict = field(default_factory=dict)
    base_of: dict = field(default_factory=dict)

    @property
    def guests(self):
        return sorted(self.disks)

    def image(self, name):
        return self.root / "guests" / f"{name}.cow"

    def base(self, name):
        return self.root / "bases" / f"{self.base_of[name]}.img"

    def pipeline(self, text, name="fleet.yaml"):
        path = self.root / name
        path.write_text(text)
        return str(path)


def make_fleet(root, guests=12, bases=3, size=2 << 20, seed=1, extra=0):
    """`guests` overlays in uml-v3 over `bases` bases of `size` bytes each; a base may have an odd length by `extra` bytes."""
    rng = random.Random(seed)
    fleet = Fleet(Path(root))
    (fleet.root / "bases").mkdir(parents=True)
    (fleet.root / "guests").mkdir()
    contents = {}
    for number in range(bases):
        name = f"base-{number}"
        data = bytearray(size + extra)
        for _ in range(6):
            start = rng.randrange(0, size // 4096) * 4096
            piece = rng.randbytes(rng.randrange(4096, 65536))[: size - start]
            data[start : start + len(piece)] = piece
        path = fleet.root / "bases" / f"{name}.img"
        path.write_bytes(data)
        set_mtime(path, BASE_TIME + number, NANOSECONDS)
        contents[name] = bytes(data)
    for number in range(guests):
        name, base = f"vm-{number:03}", f"base-{number % bases}"
        fleet.base_of[name] = base
        fleet.disks[name] = write_overlay(fleet, name, contents[base], rng)
    return fleet


def write_overlay(fleet, name, base_bytes, rng):
    """Writes `name` over its base and returns what its guest sees."""
    base = fleet.base(name)
    writer = CowWriter("uml-v3", len(base_bytes), os.fsencode(base), int(os.stat(base).st_mtime))
    disk = bytearray(base_bytes)
    disk += bytes(-len(disk) % SECTOR)
    for _ in range(rng.randrange(1, 8)):
        count = rng.randrange(1, 40)
        first = rng.randrange(0, len(disk) // SECTOR - count)
        data = bytes(count * SECTOR) if rng.random() < 0.2 else rng.randbytes(count * SECTOR)
        writer.allocate(first, count)
        writer.write_data(first, data)
        disk[first * SECTOR : (first + count) * SECTOR] = data
    writer.save(fleet.image(name))
    return bytes(disk)


def header_of(overlay):
    """Backing path, mtime and size of a uml-v3 header."""
    with open(overlay, "rb") as file:
        data = file.read(struct.calcsize(HEADER))
    magic, version, mtime, size, sector, alignment, _, path = struct.unpack(HEADER, data)
    if magic != b"OOOM" or version != 3:
        raise AssertionError(f"{overlay}: no uml-v3 header")
    return path.split(b"\0")[0], mtime, size, sector, alignment


def read_overlay(overlay):
    """The guest's disk of a uml-v3 overlay over a raw base, read without Drover."""
    path, mtime, size, sector, alignment = header_of(overlay)
    stat = os.stat(path)
    if int(stat.st_mtime) != mtime or stat.st_size != size:
        raise AssertionError(f"{overlay}: UML would refuse it: base {path!r} has {stat.st_mtime} and {stat.st_size}, the header {mtime}, {size}")
    disk = bytearray(Path(os.fsdecode(path)).read_bytes())
    disk += bytes(-len(disk) % sector)
    with open(overlay, "rb") as file:
        data = file.read()
    sectors = len(disk) // sector
    bitmap = -(-struct.calcsize(HEADER) // alignment) * alignment
    start = -(-(bitmap + -(-sectors // 8)) // alignment) * alignment
    for number in range(sectors):
        if data[bitmap + number // 8] >> number % 8 & 1:
            piece = data[start + number * sector : start + (number + 1) * sector]
            disk[number * sector : number * sector + sector] = piece.ljust(sector, b"\0")
    return bytes(disk)
