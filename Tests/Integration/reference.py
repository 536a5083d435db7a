"""The independent answer to what a chain of COW images shows a guest, and which layer answers for each sector.

`open_chain` follows the backing files from the top; `Chain.spans` is the block status of the whole chain; `Chain.pieces`
and `Chain.guest` are its bytes. A chain that must not be read raises `Refused`.
"""

import bisect
import os
import re
import stat
from dataclasses import dataclass

from cow_header import PREFIX, SECTOR, Refused, has_magic, possible_headers, round_up

PIECE = 1 << 20
LONGEST_CHAIN = 64
FOREIGN = (
    (0, b"QFI\xfb", "qcow2"),
    (0, b"KDMV", "vmdk"),
    (0, b"COWD", "vmdk"),
    (0, b"# Disk DescriptorFile", "vmdk"),
    (64, b"\x7f\x10\xda\xbe", "vdi"),
    (0, b"vhdxfile", "vhdx"),
)


@dataclass(frozen=True)
class Span:
    """Guest sectors [first, last) answered by one layer. `offset` is the host's byte offset, None where nothing is there."""

    first: int
    last: int
    depth: int
    present: bool
    offset: int | None


class Layer:
    """One file of a chain: raw where `header` is None, else COW."""

    def __init__(self, path, status, header):
        self.path, self.status, self.header = path, status, header
        self.length = status.st_size
        self.size = header.size if header else self.length
        self.sectors = round_up(self.size, SECTOR) // SECTOR
        self.data_offset = header.data_offset if header else 0
        self.runs = self._allocated_runs() if header else [(0, self.sectors)]
        self._ends = [last for _, last in self.runs]

    def _allocated_runs(self):
        with open(self.path, "rb") as file:
            file.seek(self.header.bitmap_offset)
            bitmap = file.read(self.header.bitmap_length)
        bits = f"{int.from_bytes(bitmap, 'little'):b}"[::-1][: self.header.bits]
        return [match.span() for match in re.finditer("1+", bits)]

    def allocated(self, first, last):
        """The allocated runs inside [first, last), clipped to it."""
        index = bisect.bisect_right(self._ends, first)
        while index < len(self.runs) and self.runs[index][0] < last:
            start, end = self.runs[index]
            yield max(first, start), min(last, end)
            index += 1

    def read(self, first, last):
        """The bytes of allocated sectors. Past the end of a raw file they are zeros; in a COW file they are missing."""
        with open(self.path, "rb") as file:
            file.seek(self.data_offset + first * SECTOR)
            data = file.read((last - first) * SECTOR)
        if self.header and len(data) < min(last * SECTOR, self.size) - first * SECTOR:
            raise Refused(f"{self.path}: allocated data is past the end of the file")
        return data.ljust((last - first) * SECTOR, b"\0")


class Chain:
    """The layers of an image, top first."""

    def __init__(self, layers):
        self.layers = layers
        self.sectors = layers[0].sectors

    def spans(self, depth=0, first=0, last=None):
        """Which layer answers, from `depth` down, in order of guest sectors and not merged."""
        layer = self.layers[depth]
        last = self.sectors if last is None else last
        limit = max(first, min(last, layer.sectors))
        position = first
        for start, end in layer.allocated(first, limit):
            yield from self._below(depth, position, start)
            yield Span(start, end, depth, True, layer.data_offset + start * SECTOR)
            position = end
        yield from self._below(depth, position, limit)
        if limit < last:  # this layer is too short: the one above it answers, with zeros
            yield Span(limit, last, depth - 1, False, None)

    def _below(self, depth, first, last):
        if first < last:
            if depth + 1 < len(self.layers):
                yield from self.spans(depth + 1, first, last)
            else:
                yield Span(first, last, depth, False, None)

    def block_map(self):
        """The spans as `qemu-img map --output json` gives them, merged: start, length, depth, present and perhaps offset."""
        merged = []
        for span in self.spans():
            entry = {
                "start": span.first * SECTOR,
                "length": (span.last - span.first) * SECTOR,
                "depth": span.depth,
                "present": span.present,
            }
            if span.present:
                entry["offset"] = span.offset
            merged.append(entry)
        return merge(merged)

    def pieces(self):
        """The guest's bytes in order, at most a MiB at a time."""
        step = PIECE // SECTOR
        for span in self.spans():
            for first in range(span.first, span.last, step):
                last = min(span.last, first + step)
                if span.present:
                    yield self.layers[span.depth].read(first, last)
                else:
                    yield bytes((last - first) * SECTOR)

    def guest(self):
        return b"".join(self.pieces())

    def below(self, depth):
        """The chain that begins at the layer `depth`, as if it were opened alone."""
        return Chain(self.layers[depth:])


def merge(entries):
    """Joins neighbours that agree in depth, present and continue each other's offset; empty entries go."""
    merged = []
    for entry in entries:
        if not entry["length"]:
            continue
        entry = {key: entry[key] for key in ("start", "length", "depth", "present", "offset") if key in entry}
        before = merged[-1] if merged else None
        if (
            before
            and before["start"] + before["length"] == entry["start"]
            and (before["depth"], before["present"]) == (entry["depth"], entry["present"])
            and ("offset" in before) == ("offset" in entry)
            and ("offset" not in entry or before["offset"] + before["length"] == entry["offset"])
        ):
            before["length"] += entry["length"]
        else:
            merged.append(entry)
    return merged


def open_chain(path, raw=False):
    """Opens `path` and everything it stands on. `raw` takes the file itself as raw bytes, whatever it holds."""
    return Chain(_open_layers(os.fspath(path), raw, []))


def _open_layers(path, raw, seen):
    status, prefix = _look(path)
    identity = status.st_dev, status.st_ino
    if identity in seen:
        raise Refused(f"{path}: the chain is a loop")
    if len(seen) == LONGEST_CHAIN:
        raise Refused(f"{path}: the chain is too long")
    if raw:
        return [Layer(path, status, None)]
    header = _choose_header(path, status, prefix)
    layer = Layer(path, status, header)
    if header is None or not header.backing:
        return [layer]
    below = _backing_path(path, header)
    below_raw = header.layout.is_uml and _is_raw_to_uml(below, header)
    rest = _open_layers(below, below_raw, [*seen, identity])
    _check_backing(path, header, rest[0])
    return [layer, *rest]


def _look(path):
    try:
        status = os.stat(path)
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}", 66) from error
    if not stat.S_ISREG(status.st_mode):
        raise Refused(f"{path}: is no regular file")
    with open(path, "rb") as file:
        return status, file.read(PREFIX)


def _choose_header(path, status, prefix):
    """The one header the file can have, None for raw. Two readings are settled by the backing file's size."""
    if not has_magic(prefix):
        for offset, magic, name in FOREIGN:
            if prefix[offset : offset + len(magic)] == magic:
                raise Refused(f"{path}: is {name}")
        return None
    found = possible_headers(prefix, status.st_size)
    if len(found) > 1:  # QEMU's file for a disk of size 0 is the header and nothing else
        found = [header for header in found if header.size or status.st_size == header.layout.length]
    if len(found) > 1:
        found = [header for header in found if header.size in _backing_sizes(path, header)]
        if len(found) != 1:
            raise Refused(f"{path}: more than one layout fits")
    return found[0]


def _backing_path(path, header):
    return os.path.join(os.path.dirname(path), os.fsdecode(header.backing))


def _backing_sizes(path, header):
    """What the size of a header's backing file may be called: the guest size of a COW file, else the length."""
    if not header.backing:
        return set()
    try:
        below = _backing_path(path, header)
        status, prefix = _look(below)
        lower = _choose_header(below, status, prefix)
    except Refused:
        return set()
    return {lower.size} | ({status.st_size} if header.layout.is_uml else set()) if lower else {status.st_size}


def _is_raw_to_uml(below, header):
    """UML reads a COW file as raw bytes where the overlay is as long as that file."""
    status, prefix = _look(below)
    if not has_magic(prefix):
        return False
    try:
        size = _choose_header(below, status, prefix).size
    except Refused:
        size = None
    by_length, by_size = header.size == status.st_size, header.size == size
    if by_length == by_size:
        raise Refused(f"{below}: raw bytes or a chain, the overlay's size does not say")
    return by_length


def _check_backing(path, header, below):
    if header.layout.is_uml and below.size != header.size:
        raise Refused(f"{path}: the backing file has another size")
    unknown = header.mtime == 0 and not header.layout.is_uml
    if not unknown and header.mtime != int(below.status.st_mtime_ns // 10**9):
        raise Refused(f"{path}: the backing file was changed")
