"""Writes overlays for the benchmark: the same runs of the same guest disk as a COW file and as a qcow2 file.

A run is (offset, length) in bytes of the guest disk, sector-aligned, sorted, not touching the next; what it holds is read
from a raw file. In qcow2 a run takes the whole clusters it touches, the rest of them filled from the same raw file, as QEMU
fills them from the backing file.
"""

import os
import struct
from collections.abc import Iterator

SECTOR = 512
Run = tuple[int, int]


def roundup(value: int, unit: int) -> int:
    return -(-value // unit) * unit


def copy(source: int, target: int, source_offset: int, target_offset: int, length: int) -> None:
    """Copies bytes as data: zeros are written, not skipped, so that they are allocated."""
    while length:
        piece = os.pread(source, min(length, 1 << 20), source_offset)
        os.pwrite(target, piece, target_offset)
        source_offset += len(piece)
        target_offset += len(piece)
        length -= len(piece)


def write_cow(path: str, base: str, size: int, source: str, runs: list[Run]) -> None:
    """A UML V3 overlay of `base`, as uml_mkcow and a guest would have made it."""
    alignment = 4096
    bitmap_offset = 2 * alignment
    data_offset = roundup(bitmap_offset + -(-size // SECTOR // 8), alignment)
    header = struct.pack(">IIIQIII", 0x4F4F4F4D, 3, int(os.stat(base).st_mtime), size, SECTOR, alignment, 0) + os.fsencode(base)
    image, disk = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644), os.open(source, os.O_RDONLY)
    os.truncate(image, data_offset + size)
    os.pwrite(image, header, 0)
    for offset, length in runs:
        copy(disk, image, offset, data_offset + offset, length)
    for first, bits in bitmap_pieces(runs):
        os.pwrite(image, bits, bitmap_offset + first)
    os.close(image)
    os.close(disk)


def bitmap_pieces(runs: list[Run]) -> Iterator[tuple[int, bytes]]:
    """The bytes of the bitmap that are not zero, as (index of the first, bytes); one piece for 32 MiB of guest disk."""
    piece_sectors = 1 << 16
    pieces: dict[int, int] = {}
    for offset, length in runs:
        sector, end = offset // SECTOR, (offset + length) // SECTOR
        while sector < end:
            piece = sector // piece_sectors
            stop = min(end, (piece + 1) * piece_sectors)
            pieces[piece] = pieces.get(piece, 0) | ((1 << (stop - sector)) - 1) << (sector % piece_sectors)
            sector = stop
    for piece, bits in pieces.items():
        yield piece * piece_sectors // 8, bits.to_bytes(piece_sectors // 8, "little").rstrip(b"\0")


def write_qcow2(path: str, base: str | None, base_format: str, size: int, source: str, runs: list[Run], cluster: int) -> None:
    """A qcow2 version 3 file, its clusters in guest order, with complete reference counts (`qemu-img check` accepts it)."""
    clusters = sorted({n for offset, length in runs for n in range(offset // cluster, -(-(offset + length) // cluster))})
    per_table = cluster // 8
    tables = sorted({n // per_table for n in clusters})
    l1_entries = -(-size // (cluster * per_table))
    l1_clusters = -(-l1_entries * 8 // cluster)
    counts_per_block = cluster // 2
    used = 1 + l1_clusters + len(tables) + len(clusters)
    blocks = -(-used // counts_per_block)
    while True:  # reference counts count themselves
        table_clusters = -(-blocks * 8 // cluster)
        total = used + blocks + table_clusters
        if -(-total // counts_per_block) <= blocks:
            break
        blocks = -(-total // counts_per_block)
    l1_at = cluster
    refcount_table_at = l1_at + l1_clusters * cluster
    blocks_at = refcount_table_at + table_clusters * cluster
    l2_at = blocks_at + blocks * cluster
    data_at = l2_at + len(tables) * cluster

    name = os.fsencode(base) if base else b""
    extensions = struct.pack(">II", 0xE2792ACA, len(base_format)) + base_format.encode().ljust(8, b"\0") if base else b""
    extensions += bytes(8)
    name_at = 104 + len(extensions) if base else 0
    header = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 3, name_at, len(name), cluster.bit_length() - 1, size, 0,
                         l1_entries, l1_at, refcount_table_at, table_clusters, 0, 0)  # fmt: skip
    header += struct.pack(">QQQII", 0, 0, 0, 4, 104) + extensions + name

    copied = 1 << 63
    index = {n: i for i, n in enumerate(tables)}
    l1 = [0] * l1_entries
    l2 = [[0] * per_table for _ in tables]
    for table, i in index.items():
        l1[table] = (l2_at + i * cluster) | copied
    image, disk = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644), os.open(source, os.O_RDONLY)
    disk_size = os.fstat(disk).st_size
    for i, n in enumerate(clusters):
        l2[index[n // per_table]][n % per_table] = (data_at + i * cluster) | copied
    first = 0
    for i in range(1, len(clusters) + 1):  # neighbouring clusters in one go
        if i == len(clusters) or clusters[i] != clusters[i - 1] + 1:
            start = clusters[first] * cluster
            copy(disk, image, start, data_at + first * cluster, min((i - first) * cluster, disk_size - start))
            first = i
    os.truncate(image, total * cluster)
    os.pwrite(image, header, 0)
    os.pwrite(image, struct.pack(f">{l1_entries}Q", *l1), l1_at)
    os.pwrite(image, struct.pack(f">{blocks}Q", *(blocks_at + i * cluster for i in range(blocks))), refcount_table_at)
    os.pwrite(image, b"\0\1" * total, blocks_at)
    os.pwrite(image, b"".join(struct.pack(f">{per_table}Q", *table) for table in l2), l2_at)
    os.close(image)
    os.close(disk)
