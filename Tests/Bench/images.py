"""Makes the benchmark's images: `images.py DIRECTORY SIZE`. A process of its own, so that the one that measures stays small.

disk.raw        what the guest sees: half of it holes, the rest 70 % programs and text, 20 % allocated zeros, 10 % random
base.raw        two thirds of its data, and other data where the overlay hides it
overlay.cow     the other third, over base.raw;  base.qcow2, overlay.qcow2: the same chain for qemu-img
fine.raw        dense and half as large;  fine-base.raw: the same but for a tenth of it,
fine.cow        that tenth in runs of 0.5 to 4 KiB;  fine.qcow2: the same with clusters of 512 bytes
huge.cow        7 TiB with ten allocated sectors, over the empty huge-base.raw
"""

import os
import random
import sys

from formats import SECTOR, Run, copy, roundup, write_cow, write_qcow2

MIB = 1 << 20
GRAIN = 64 << 10
HUGE = 7 << 40


class Files:
    """The files below /usr, one after the other and again from the first, as one endless stream."""

    def __init__(self) -> None:
        self.stream = self._blocks()
        self.rest = b""

    def _blocks(self):
        while True:
            for directory in ("/usr/bin", "/usr/lib", "/usr/share"):
                for place, folders, names in os.walk(directory):
                    folders.sort()
                    for name in sorted(names):
                        path = os.path.join(place, name)
                        if os.path.islink(path) or not os.path.isfile(path):
                            continue
                        with open(path, "rb") as file:
                            yield file.read(8 * MIB)  # no single library is to dominate

    def read(self, length: int) -> bytes:
        parts = [self.rest]
        have = len(self.rest)
        while have < length:
            parts.append(next(self.stream))
            have += len(parts[-1])
        joined = b"".join(parts)
        self.rest = joined[length:]
        return joined[:length]


def pieces(size: int, chance: random.Random) -> list[tuple[str, Run]]:
    """Cuts the disk into pieces of 64 KiB to 16 MiB and deals them out by kind, so that the shares come out right."""
    runs = []
    offset = 0
    while offset < size:
        length = min(size - offset, GRAIN * chance.randrange(1, 16 * MIB // GRAIN))
        runs.append((offset, length))
        offset += length
    chance.shuffle(runs)
    left = {"files": size * 0.35, "zeros": size * 0.10, "random": size * 0.05, "hole": size}
    dealt = []
    for run in runs:
        kind = next(kind for kind in left if left[kind] >= run[1] / 2)
        left[kind] -= run[1]
        dealt.append((kind, run))
    return sorted(dealt, key=lambda piece: piece[1])


def merged(runs: list[Run]) -> list[Run]:
    result: list[Run] = []
    for offset, length in sorted(runs):
        if result and sum(result[-1]) == offset:
            result[-1] = (result[-1][0], result[-1][1] + length)
        else:
            result.append((offset, length))
    return result


def fill(path: str, size: int, parts: list[tuple[str, Run]], files: Files, chance: random.Random) -> None:
    image = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    os.truncate(image, size)
    contents = {"files": files.read, "zeros": bytes, "random": chance.randbytes}
    for kind, (offset, length) in parts:
        if kind != "hole":
            os.pwrite(image, contents[kind](length), offset)
    os.close(image)


def coarse(directory: str, size: int, files: Files, chance: random.Random) -> None:
    at = lambda name: os.path.join(directory, name)  # noqa: E731
    parts = pieces(size, chance)
    fill(at("disk.raw"), size, parts, files, chance)
    data = [run for kind, run in parts if kind != "hole"]
    above = [run for run in data if chance.random() < 1 / 3]
    hidden = [run for run in above if chance.random() < 1 / 2]
    below = [run for run in data if run not in above]
    base, disk = os.open(at("base.raw"), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644), os.open(at("disk.raw"), os.O_RDONLY)
    os.truncate(base, size)
    for offset, length in below:
        copy(disk, base, offset, offset, length)
    for offset, length in hidden:
        os.pwrite(base, files.read(length), offset)
    os.close(base)
    os.close(disk)
    write_cow(at("overlay.cow"), at("base.raw"), size, at("disk.raw"), merged(above))
    write_qcow2(at("base.qcow2"), None, "", size, at("base.raw"), merged(below + hidden), GRAIN)
    write_qcow2(at("overlay.qcow2"), at("base.qcow2"), "qcow2", size, at("disk.raw"), merged(above), GRAIN)


def fine(directory: str, size: int, files: Files, chance: random.Random) -> None:
    at = lambda name: os.path.join(directory, name)  # noqa: E731
    dense = [("random" if number % 10 == 9 else "files", (start, min(MIB, size - start)))
             for number, start in enumerate(range(0, size, MIB))]  # fmt: skip
    fill(at("fine-base.raw"), size, dense, files, chance)
    fill(at("fine.raw"), size, [], files, chance)
    base, disk = os.open(at("fine-base.raw"), os.O_RDONLY), os.open(at("fine.raw"), os.O_RDWR)
    copy(base, disk, 0, 0, size)
    runs = []
    offset = 0
    while True:  # on average 2.25 KiB in every 22.5
        offset += SECTOR * chance.randrange(1, 80)
        length = SECTOR * chance.randrange(1, 9)
        if offset + length > size:
            break
        os.pwrite(disk, files.read(length), offset)
        runs.append((offset, length))
        offset += length
    os.close(base)
    os.close(disk)
    write_cow(at("fine.cow"), at("fine-base.raw"), size, at("fine.raw"), runs)
    write_qcow2(at("fine.qcow2"), at("fine-base.raw"), "raw", size, at("fine.raw"), runs, SECTOR)


def huge(directory: str, files: Files, chance: random.Random) -> None:
    at = lambda name: os.path.join(directory, name)  # noqa: E731
    sectors = sorted(chance.sample(range(HUGE // SECTOR), 10))
    parts = [("files", (sector * SECTOR, SECTOR)) for sector in sectors]
    fill(at("huge.raw"), HUGE, parts, files, chance)
    fill(at("huge-base.raw"), HUGE, [], files, chance)
    write_cow(at("huge.cow"), at("huge-base.raw"), HUGE, at("huge.raw"), [run for _, run in parts])


def main(directory: str, size: int) -> None:
    chance = random.Random(1)
    files = Files()
    size = roundup(size, MIB)
    coarse(directory, size, files, chance)
    fine(directory, roundup(size // 2, MIB), files, chance)
    huge(directory, files, chance)
    os.sync()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
