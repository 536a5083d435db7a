"""What the bytes of a COW header mean: an independent reading of every known layout.

Written from the format's description alone, never from Drover's sources, so that the two can be held against each other.
Nothing here opens a file: a header is judged from its first bytes, the length of its file and, where version 2 leaves two
readings, the size of its backing file.
"""

import struct
from dataclasses import dataclass

SECTOR = 512
PREFIX = 8192  # more than the longest header
LARGEST = 2**63 - 1


class Refused(Exception):
    """An image that must not be read. `code` is the exit code a careful program gives: 65 bad data, 66 missing."""

    def __init__(self, text, code=65):
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Layout:
    """Where the fields of one layout are. Offsets and lengths in bytes."""

    name: str
    version: int
    path: tuple  # offset, length
    mtime: int  # a u32; layouts with eight bytes have the value in the first four
    size: int
    sector_size: int
    length: int
    alignment: int | None = None
    order: str = ">"

    @property
    def is_uml(self):
        return self.name.startswith("uml")

    @property
    def loses_last_bits(self):
        """UML V1 and V2 round the bitmap's length down: up to seven last sectors have no bit."""
        return self.is_uml and self.version < 3


V1_LITTLE = Layout("uml-v1", 1, (8, 256), 264, 268, 276, 280, order="<")
V1_BIG = Layout("uml-v1", 1, (8, 256), 264, 268, 276, 280)
VERSION_2 = (
    Layout("uml-v2", 2, (8, 4096), 4104, 4108, 4116, 4120),
    Layout("uml-v2-64", 2, (8, 4096), 4104, 4112, 4120, 4128),
    Layout("qemu-v2", 2, (8, 1024), 1032, 1040, 1048, 1056),
    Layout("qemu-v2-32", 2, (8, 1024), 1032, 1036, 1044, 1048),
)
V3 = Layout("uml-v3", 3, (32, 4096), 8, 12, 20, 4128, alignment=24)
V3_64 = Layout("uml-v3-64", 3, (36, 4096), 8, 16, 24, 4136, alignment=28)


@dataclass(frozen=True)
class Header:
    """A header that holds together: what it says, and where that puts bitmap and data."""

    layout: Layout
    size: int
    mtime: int
    backing: bytes  # b"" where there is none
    bitmap_offset: int
    bitmap_length: int
    data_offset: int

    @property
    def sectors(self):
        return round_up(self.size, SECTOR) // SECTOR

    @property
    def bits(self):
        """How many sectors have a bit at all."""
        return min(self.sectors, 8 * self.bitmap_length)


def round_up(value, unit):
    return -(-value // unit) * unit


def has_magic(prefix):
    return prefix[:4] in (b"OOOM", b"MOOO")


def read_header(layout, prefix, file_length):
    """Reads `prefix` as `layout`, or says why it cannot be that."""
    if len(prefix) < layout.length:
        raise Refused(f"{layout.name}: the file ends inside the header")

    def number(offset, code):
        return struct.unpack_from(layout.order + code, prefix, offset)[0]

    offset, length = layout.path
    path, terminator, _ = prefix[offset : offset + length].partition(b"\0")
    if not terminator:
        raise Refused(f"{layout.name}: the backing path does not end in its buffer")
    size = number(layout.size, "Q")
    if number(layout.sector_size, "I") != SECTOR:
        raise Refused(f"{layout.name}: the sector size is not 512")
    if size > LARGEST or (layout.is_uml and size == 0):
        raise Refused(f"{layout.name}: a size of {size} is not possible")
    if layout.version == 3 and not path:
        raise Refused(f"{layout.name}: no backing path")

    if layout.loses_last_bits:
        bitmap_length = (size + SECTOR - 1) // (8 * SECTOR)
    else:
        bitmap_length = round_up(round_up(size, SECTOR) // SECTOR, 8) // 8
    unit, bitmap_offset = SECTOR, layout.length
    if layout.alignment is not None:
        unit = number(layout.alignment, "I")
        if unit == 0:
            raise Refused(f"{layout.name}: the alignment is 0")
        bitmap_offset = round_up(layout.length, unit)
    if bitmap_offset + bitmap_length > file_length:
        raise Refused(f"{layout.name}: the bitmap ends past the end of the file")
    data_offset = round_up(bitmap_offset + bitmap_length, unit)
    return Header(layout, size, number(layout.mtime, "I"), path, bitmap_offset, bitmap_length, data_offset)


def possible_headers(prefix, file_length):
    """Every header the bytes can be; at least one, else `Refused`."""
    if len(prefix) < 8:
        raise Refused("the file ends inside the header")
    order = "<" if prefix[:4] == b"MOOO" else ">"
    version = struct.unpack_from(order + "I", prefix, 4)[0]
    if version == 1:
        return [read_header(V1_LITTLE if order == "<" else V1_BIG, prefix, file_length)]
    if version == 3 and order == ">":
        return [read_header(V3_64 if prefix[32:36] == bytes(4) else V3, prefix, file_length)]
    if version != 2 or order == "<":
        raise Refused(f"version {version} is not known")
    found = []
    for layout in VERSION_2:
        try:
            found.append(read_header(layout, prefix, file_length))
        except Refused:
            pass
    if not found:
        raise Refused("version 2, but no layout of it fits")
    return found
