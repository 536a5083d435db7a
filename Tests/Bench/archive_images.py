"""Makes what the archive benchmark packs: `archive_images.py DIRECTORY SIZE`.

dense.raw           programs and text, half of SIZE
shreds.cow          as many bytes in runs of 0.5 to 4 KiB with as much between them, over the empty shreds-base.raw
overlay.cow, ...    the chain that images.py describes, and overlay.qcow2
fleet/              one base and 200 overlays of it; fleet.bytes: the base and the overlays' data, one after the other
herd/               10,000 overlays with a few sectors each over one small base
"""

import os
import random
import sys

from formats import SECTOR, Run, copy, write_cow
from images import MIB, Files, coarse, fill


def scattered(size: int, share: float, chance: random.Random) -> list[Run]:
    """Runs of 0.5 to 4 KiB that cover `share` of `size`."""
    runs = []
    offset = 0
    gap = round(9 * (1 / share - 1))  # a run has 4.5 sectors on average, a gap half of this and one
    while True:
        offset += SECTOR * chance.randint(1, max(1, gap - 1))
        length = SECTOR * chance.randrange(1, 9)
        if offset + length > size:
            return runs
        runs.append((offset, length))
        offset += length


def overlays(directory: str, count: int, size: int, share: float, files: Files, chance: random.Random, together: str | None) -> None:
    """`count` overlays of `directory`/base.raw; `together` gets the base and then what each overlay holds, end to end."""
    os.mkdir(directory)
    base = os.path.join(directory, "base.raw")
    scratch = os.path.join(directory, "scratch")
    fill(base, size, [("files", (0, size))], files, chance)
    bytes_of_all = os.open(together or os.devnull, os.O_RDWR | os.O_CREAT, 0o644)
    with open(base, "rb") as file:
        os.write(bytes_of_all, file.read())
    for number in range(count):
        runs = scattered(size, share, chance)
        fill(scratch, size, [("files", run) for run in runs], files, chance)
        write_cow(os.path.join(directory, f"guest-{number:05}.cow"), base, size, scratch, runs)
        disk = os.open(scratch, os.O_RDONLY)
        os.write(bytes_of_all, b"".join(os.pread(disk, length, offset) for offset, length in runs))
        os.close(disk)
    os.close(bytes_of_all)
    os.remove(scratch)


def shreds(directory: str, data: int, files: Files, chance: random.Random) -> None:
    at = lambda name: os.path.join(directory, name)  # noqa: E731
    size = 2 * data
    fill(at("shreds-base.raw"), size, [], files, chance)
    runs = scattered(size, 0.5, chance)
    scratch = os.open(at("shreds.raw"), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    dense = os.open(at("dense.raw"), os.O_RDONLY)
    os.truncate(scratch, size)
    position = 0
    for offset, length in runs:  # the same bytes as dense.raw's, so that only the cutting differs
        copy(dense, scratch, position % (data - 8 * SECTOR), offset, length)
        position += length
    os.close(dense)
    os.close(scratch)
    write_cow(at("shreds.cow"), at("shreds-base.raw"), size, at("shreds.raw"), runs)
    os.remove(at("shreds.raw"))


def main(directory: str, size: int) -> None:
    chance = random.Random(2)
    files = Files()
    half = size // 2
    pieces = [("files", (start, min(MIB, half - start))) for start in range(0, half, MIB)]
    fill(os.path.join(directory, "dense.raw"), half, pieces, files, chance)
    shreds(directory, half, files, chance)
    coarse(directory, size, files, chance)
    overlays(os.path.join(directory, "fleet"), 200, 64 * MIB, 0.02, files, chance, os.path.join(directory, "fleet.bytes"))
    overlays(os.path.join(directory, "herd"), 10_000, MIB, 0.005, files, chance, None)
    os.sync()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
