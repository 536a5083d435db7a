"""What a manifest says, and whether the disk holds it: read without Drover, after Documentation/manifest-format.md."""

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "Integration"))

from archive_codec import digest  # noqa: E402
from cow_header import PREFIX, SECTOR, has_magic, possible_headers  # noqa: E402
from harness import is_zero  # noqa: E402

MIB = 1 << 20
ZERO, BACKING = bytes(16), b"\xff" * 16


@dataclass
class Job:
    """A job's record and those that follow it."""

    head: dict
    segments: list = field(default_factory=list)
    checkpoints: list = field(default_factory=list)
    complete: dict | None = None
    is_damaged: bool = False

    def matches(self, status):
        """Whether a file with this status is the one that was completed."""
        return self.complete is not None and (status.st_size, time_text(status)) == (self.complete["size"], self.complete["mtime"])

    @property
    def holds_something(self):
        return bool(self.segments or self.checkpoints or self.complete)


def time_text(status):
    seconds, nanoseconds = divmod(status.st_mtime_ns, 10**9)
    return f"{seconds}.{nanoseconds:09}"


def read_jobs(manifest):
    """The jobs of a manifest, oldest first. What follows a damaged line counts from the next job on."""
    try:
        data = Path(manifest).read_bytes()
    except FileNotFoundError:
        return []
    lines = data.split(b"\n")[:-1]
    if len(lines) > 1 and lines[1].startswith(b" "):  # written over by an early version
        del lines[1:]
    jobs, is_sound = [], False
    for line in lines:
        record = _record(line)
        kind = record and record["record"]
        if kind in ("job", "archive"):
            jobs.append(Job(record))
            is_sound = True
        elif kind is None:
            is_sound = False
            if jobs:
                jobs[-1].is_damaged = True
        elif not is_sound:
            continue
        elif kind == "segment":
            jobs[-1].segments.append(record)
        elif kind == "checkpoint":
            jobs[-1].checkpoints.append(record)
        elif kind == "complete":
            jobs[-1].complete = record
    if len(jobs) > 1 and jobs[-1].head == jobs[-2].head and (jobs[-1].is_damaged or not jobs[-1].complete):
        del jobs[-1]  # a torn copy
    return jobs


def _record(line):
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("record"), str) else None


def wrong_segments(job, data):
    """The segments that `data`, a target's bytes, does not hold, as text."""
    wrong = []
    target, options = job.head["target"], job.head["options"]
    if job.segments and len(data) != target.get("size", len(data)):
        return [f"the file has {len(data)} bytes; the job says {target['size']}"]
    header = _header(data) if options["format"] == "cow" else Qcow2(data) if options["format"] == "qcow2" else None
    for segment in job.segments:
        found = _segment_digest(data, header, "depth" in options, segment["start"], segment["count"], target["length"])
        if found.hex() != segment["digest"]:
            wrong.append(f"segment {segment['start']} is recorded as {segment['digest']}, and the file has {found.hex()}")
    return wrong


def _header(data):
    """The header of a COW target that has one; the backing file's size settles nothing here, since Drover writes no layout with two readings."""
    if not has_magic(data[:4]):
        return None
    found = possible_headers(data[:PREFIX], len(data))
    return next((header for header in found if header.layout.name in ("uml-v3", "uml-v2", "qemu-v2")), None)


def _segment_digest(data, header, has_backing, start, count, length):
    first, last = start * SECTOR, min((start + count) * SECTOR, length)
    chunks = [_chunk_digest(data, header, has_backing, at, min(at + MIB, last)) for at in range(first, last, MIB)]
    for special in (ZERO, BACKING):
        if all(chunk == special for chunk in chunks):
            return special
    return digest(b"".join(chunks))


def _chunk_digest(data, header, has_backing, first, last):
    if header is None:
        content = data[first:last]
        return digest(content.ljust(-(-len(content) // SECTOR) * SECTOR, b"\0")) if not is_zero(content) else ZERO
    if isinstance(header, Qcow2):
        bits, held = header.part(first, last)
    else:
        bits = _bits(data, header, first // SECTOR, last // SECTOR)
        held = bytearray(data[header.data_offset + first : header.data_offset + last].ljust(last - first, b"\0"))
    for sector in range((last - first) // SECTOR):
        if not bits[sector // 8] >> sector % 8 & 1:
            held[sector * SECTOR : (sector + 1) * SECTOR] = bytes(SECTOR)
    if not has_backing:
        return digest(bytes(held)) if not is_zero(held) else ZERO
    count = (last - first) // SECTOR
    if not any(bits):
        return BACKING
    if int.from_bytes(bits, "little") == (1 << count) - 1 and is_zero(held):
        return ZERO
    return digest(bytes(held) + bits)


class Qcow2:
    """A qcow2 file's bytes, read by the format's page alone; uncompressed."""

    def __init__(self, data):
        self.data = data
        self.cluster = 1 << int.from_bytes(data[20:24], "big") if data[:4] == b"QFI\xfb" else 65536
        self.l1 = self._number(40)

    def _number(self, offset):
        return int.from_bytes(self.data[offset : offset + 8], "big")

    def _entry(self, cluster):
        entries = self.cluster // 8
        table = self._number(self.l1 + cluster // entries * 8) & 0x00FF_FFFF_FFFF_FE00
        return self._number(table + cluster % entries * 8) if table else 0

    def part(self, first, last):
        """A bit for each sector between the offsets that the file holds, and their bytes."""
        bits, held = bytearray((last - first + 4095) // 4096), bytearray()
        for position in range(first, last, SECTOR):
            entry = self._entry(position // self.cluster)
            at = entry & 0x00FF_FFFF_FFFF_FE00
            if entry:
                sector = (position - first) // SECTOR
                bits[sector // 8] |= 1 << sector % 8
            at += position % self.cluster
            held += self.data[at : at + SECTOR].ljust(SECTOR, b"\0") if entry & ~1 else bytes(SECTOR)
        return bytes(bits), held


def _bits(data, header, first, last):
    """The bitmap's part for these sectors, which begin at a whole byte."""
    length = (last - first + 7) // 8
    at = header.bitmap_offset + first // 8
    bits = bytearray(data[at : min(at + length, header.bitmap_offset + header.bitmap_length)].ljust(length, b"\0"))
    if (last - first) % 8:
        bits[-1] &= (1 << (last - first) % 8) - 1
    return bytes(bits)


def read_file(path):
    """A file's bytes and status; None where there is none."""
    try:
        with open(path, "rb") as file:
            return file.read(), os.fstat(file.fileno())
    except FileNotFoundError:
        return None
