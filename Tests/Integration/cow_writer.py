"""Writes COW files of every layout, byte by byte and without the reference's code.

`CowWriter` places what a test asks for: which sectors are allocated, with what bytes, and everything a real file may have
beside them: garbage behind the path, stale data under clear bits, bitmaps with holes, files that end early.
"""

import os
import struct

SECTOR = 512
UML_LAYOUTS = ("uml-v1", "uml-v1-big", "uml-v2", "uml-v2-64", "uml-v3", "uml-v3-64")
QEMU_LAYOUTS = ("qemu-v2", "qemu-v2-32")
LAYOUTS = UML_LAYOUTS + QEMU_LAYOUTS
PATH_BUFFER = {"uml-v1": 256, "uml-v1-big": 256, "qemu-v2": 1024, "qemu-v2-32": 1024}


def path_buffer(layout):
    return PATH_BUFFER.get(layout, 4096)


def encode_header(layout, size, mtime, path, alignment=4096, sector_size=512):
    """The header's bytes. `path` is the whole path buffer, garbage included."""
    mtime_8 = struct.pack(">I4x", mtime)
    match layout:
        case "uml-v1":
            return struct.pack("<4sI256sIQI", b"MOOO", 1, path, mtime, size, sector_size)
        case "uml-v1-big":
            return struct.pack(">4sI256sIQI", b"OOOM", 1, path, mtime, size, sector_size)
        case "uml-v2":
            return struct.pack(">4sI4096sIQI", b"OOOM", 2, path, mtime, size, sector_size)
        case "uml-v2-64":
            return struct.pack(">4sI4096s8sQI4x", b"OOOM", 2, path, mtime_8, size, sector_size)
        case "qemu-v2":
            return struct.pack(">4sI1024sI4xQI4x", b"OOOM", 2, path, mtime, size, sector_size)
        case "qemu-v2-32":
            return struct.pack(">4sI1024sIQI", b"OOOM", 2, path, mtime, size, sector_size)
        case "uml-v3":
            return struct.pack(">4sIIQIII4096s", b"OOOM", 3, mtime, size, sector_size, alignment, 0, path)
        case "uml-v3-64":
            return struct.pack(">4sI8sQIII4096s4x", b"OOOM", 3, mtime_8, size, sector_size, alignment, 0, path)
    raise ValueError(layout)


def align(value, unit):
    return value + -value % unit


class CowWriter:
    """One COW file in the making. `backing` is the path as the header shall have it, b"" for none."""

    def __init__(self, layout, size, backing=b"", mtime=0, alignment=4096):
        self.layout, self.size, self.backing, self.mtime = layout, size, backing, mtime
        self.alignment = alignment
        self.sectors = align(size, SECTOR) // SECTOR
        header_length = len(encode_header(layout, 0, 0, b""))
        if layout.startswith("uml-v3"):
            self.bitmap_offset = align(header_length, alignment)
            self.bits = self.sectors
            bitmap_length = align(self.sectors, 8) // 8
            self.data_offset = align(self.bitmap_offset + bitmap_length, alignment)
        else:
            self.bitmap_offset = header_length
            if layout in QEMU_LAYOUTS:
                bitmap_length = align(self.sectors, 8) // 8
            else:
                bitmap_length = (size + SECTOR - 1) // (8 * SECTOR)
            self.bits = min(self.sectors, 8 * bitmap_length)
            self.data_offset = align(self.bitmap_offset + bitmap_length, SECTOR)
        self.bitmap = bytearray(bitmap_length)
        self.data = []  # (sector, bytes), written whether or not the bit is set
        self.path_garbage = b""
        self.full_length = True
        self.bitmap_as_hole = False
        self.tail = b""

    @property
    def length(self):
        """The file's length when its last sector is written."""
        return self.data_offset + self.sectors * SECTOR

    def allocate(self, first, count):
        for sector in range(first, first + count):
            self.bitmap[sector // 8] |= 1 << sector % 8

    def write_data(self, sector, data):
        self.data.append((sector, data))

    def save(self, path):
        """Writes the file. What is not data stays a hole."""
        buffer = (self.backing + b"\0" + self.path_garbage)[: path_buffer(self.layout)]
        allocated = int.from_bytes(self.bitmap, "little") & ((1 << self.bits) - 1)
        last = allocated.bit_length() - 1 if allocated else None
        with open(path, "wb") as file:
            file.write(encode_header(self.layout, self.size, self.mtime, buffer, self.alignment))
            self._save_bitmap(file)
            for sector, data in self.data:
                file.seek(self.data_offset + sector * SECTOR)
                file.write(data)
            if self.full_length:  # as UML sets it: not rounded up before the last sector is written
                length = self.length if last == self.sectors - 1 else self.data_offset + self.size
            elif last is None:
                length = self.bitmap_offset + len(self.bitmap)
            else:
                length = self.data_offset + (last + 1) * SECTOR
            file.truncate(length)
            file.seek(length)
            file.write(self.tail)

    def _save_bitmap(self, file):
        step = 4096 if self.bitmap_as_hole else max(1, len(self.bitmap))
        for start in range(0, len(self.bitmap), step):
            piece = self.bitmap[start : start + step]
            if any(piece) or not self.bitmap_as_hole:
                file.seek(self.bitmap_offset + start)
                file.write(piece)


def set_mtime(path, seconds, nanoseconds=0):
    stamp = seconds * 10**9 + nanoseconds
    os.utime(path, ns=(stamp, stamp))
