"""Small sound images of every layout, and every way their first bytes can be damaged.

`survives` runs Drover on one damaged file and says what it did wrong. It is called in worker processes.
"""

import os
import random
import tempfile
from dataclasses import dataclass

from cow_header import Refused
from cow_writer import PATH_BUFFER, SECTOR, CowWriter, encode_header, set_mtime
from harness import MOST_MEMORY, drover
from reference import open_chain

SECTORS = 21  # no multiple of 8, so that the layouts' bitmaps differ
SLOWEST = 1.0
CODES = {"convert": (0, 65, 66), "map": (0, 65, 66), "info": (0, 65, 66), "check": (0, 2, 65, 66)}


@dataclass(frozen=True)
class Damage:
    """One change of a sound image: cut to `length`, or the byte at `offset` set to `value`."""

    length: int | None = None
    offset: int = 0
    value: int = 0

    def apply(self, data):
        if self.length is not None:
            return data[: self.length]
        return data[: self.offset] + bytes([self.value]) + data[self.offset + 1 :]


def sound_image(layout, folder):
    """The bytes of a sound image of `layout` over a raw file made in `folder`."""
    rng = random.Random(layout)
    base = os.path.join(folder, f"{layout}.raw")
    with open(base, "wb") as file:
        file.write(rng.randbytes(SECTORS * SECTOR))
    set_mtime(base, 1_500_000_000)
    writer = CowWriter(layout, SECTORS * SECTOR, os.fsencode(base), 1_500_000_000, alignment=512)
    for first, count in ((1, 2), (5, 1), (9, 4), (15, 1)):
        writer.allocate(first, count)
        writer.write_data(first, rng.randbytes(count * SECTOR))
    path = os.path.join(folder, f"{layout}.cow")
    writer.save(path)
    with open(path, "rb") as file:
        return file.read()


def header_numbers(layout):
    """Offsets of every header byte that is not the path's."""
    zeros, ones = (encode_header(layout, 0, 0, fill * 4096) for fill in (b"\0", b"\1"))
    start = next(i for i in range(len(ones)) if ones[i] != zeros[i])
    buffer = PATH_BUFFER.get(layout, 4096)
    return [offset for offset in range(len(ones)) if not start <= offset < start + buffer]


def all_damages(layout, data):
    """Every length and every byte: one bit each, in the numbers all bits and both extremes."""
    rng = random.Random(layout)
    header = len(encode_header(layout, 0, 0, b""))
    numbers = set(header_numbers(layout))
    damages = [Damage(length=length) for length in range(len(data))]
    for offset in range(header + 16):  # with the bitmap, where it follows the header at once
        flips = range(8) if offset in numbers else [rng.randrange(8)]
        values = {data[offset] ^ 1 << bit for bit in flips}
        values |= {0, 255} if offset in numbers else set()
        damages += [Damage(offset=offset, value=value) for value in sorted(values - {data[offset]})]
    return damages


def sampled_damages(layout, data, seed):
    """The part of all damages that a normal run tries: a third of those of numbers and at the edges of everything, another
    third for another seed, and some of the rest.
    """
    rng = random.Random(f"{layout} {seed}")
    numbers = set(header_numbers(layout))
    header = len(encode_header(layout, 0, 0, b""))
    path_end = data.index(b"\0", data.index(b"/"))
    edges = {0, 4, 8, 256, 264, 280, 1032, 1048, 1056, 4104, 4128, header, header + 2, header + 3, path_end}
    edges |= {len(data), len(data) - SECTOR}
    near = {edge + step for edge in edges for step in (-1, 0, 1)}

    def is_chosen(damage):
        if damage.length is not None:
            return damage.length in near or rng.random() < 0.001
        isNumber = damage.offset in numbers | near or damage.offset >= header
        return rng.random() < (0.33 if isNumber else 0.01)

    return [damage for damage in all_damages(layout, data) if is_chosen(damage)]


def survives(layout, data, damages, commands):
    """Runs Drover's `commands` on each damaged image; the complaints, one line each."""
    complaints = []
    with tempfile.TemporaryDirectory(prefix="drover-damaged-") as folder:
        image, target = os.path.join(folder, "image.cow"), os.path.join(folder, "out.raw")
        for damage in damages:
            with open(image, "wb") as file:
                file.write(damage.apply(data))
            for command in commands:
                arguments = [command, image] + ([target] if command == "convert" else [])
                result = drover(*arguments, timeout=20)
                if result.seconds > SLOWEST:  # the machine may have been busy: once more
                    _remove(target)
                    result = drover(*arguments, timeout=20)
                wrong = _judge(command, result, image, target)
                if wrong:
                    complaints.append(f"{layout} {damage}: {command}: {wrong}; code {result.code}, err: {result.err[:300]!r}")
                _remove(target)
    return complaints


def _judge(command, result, image, target):
    if result.code not in CODES[command]:
        return "a wrong exit code"
    if result.seconds > SLOWEST:
        return f"took {result.seconds:.1f} s"
    if result.peak > MOST_MEMORY:
        return f"took {result.peak >> 20} MiB of memory"
    if result.code and (result.err.count("\n") != 1 or not result.err.startswith("drover: ")):
        if command != "check":
            return "the error is not one line of its own"
    if result.code == 0 and command == "convert":
        return _compare(image, target)
    if result.code and os.path.lexists(target):
        return "a target although it failed"
    return None


def _compare(image, target):
    try:
        expected = open_chain(image).guest()
    except Refused as refused:
        return f"took it, but: {refused}"
    with open(target, "rb") as file:
        return None if file.read() == expected else "wrong bytes"


def _remove(target):
    for path in (target, f"{target}.partial", f"{target}.manifest"):
        if os.path.lexists(path):
            os.unlink(path)


