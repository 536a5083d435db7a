"""Writes transport archives from Documentation/archive-format.md, sound ones and those that nobody should write.

Everything is under the right digests, so that a reader has to judge what an archive says and not whether it is damaged.
"""

import json
import struct
from dataclasses import dataclass, field

from archive_codec import digest, stored_frame
from archive_reader import Archive, Layer
from cow_header import SECTOR, round_up

BEGINNING = bytes.fromhex("04224d186440a700000000055dcc02")
MIB_SECTORS = 2048


def layer(name, size=SECTOR * 8, layout="raw", **more):
    entry = {"image": True, "layout": layout, "mtime": "1500000000.000000001", "name": name, "size": size, **more}
    if layout == "uml-v3":
        entry.setdefault("alignment", 4096)
    return entry


def number(value):
    """A variable-length number."""
    data = bytearray()
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


@dataclass
class Reference:
    """Sectors that an earlier layer stores, or, of kind 3, the parent holds; `data` is what they are."""

    layer: int
    first: int
    data: bytes
    kind: int = 2


@dataclass
class Stretch:
    """One run record: `runs` are (first, end, bytes, a `Reference`, or None for zeros)."""

    first: int
    end: int
    runs: list = field(default_factory=list)
    overrides: dict = field(default_factory=dict)  # fields of the record's body that shall say something else


@dataclass
class ArchiveWriter:
    """`stretches` are those of each layer; None stands for one record with `data` at its begin and nothing behind it."""

    layers: list
    stretches: list | None = None
    data: bytes = bytes(range(256)) * 2
    version: int = 2
    header_version: int = 2
    more: dict = field(default_factory=dict)  # further keys of the header

    def header(self):
        options = {"compression": "none", "dedup": True, "flatten": False, "zeroRun": 4096}
        whole = {**self.more, "layers": self.layers, "options": options, "version": self.header_version}
        return json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")

    def record(self, kind, body):
        data = b"\x5d\x2a\x4d\x18" + struct.pack("<I4sBsHQ", len(body) + 64, b"DRVR", self.version, kind, 0, self.sequence)
        data += self.id + self.previous + body
        self.previous = digest(data)
        self.sequence += 1
        self.id = self.previous if kind == b"H" else self.id
        return data + self.previous

    def bytes(self):
        self.id = self.previous = bytes(16)
        self.sequence = 0
        header = self.header()
        out, entries, tables = BEGINNING + self.record(b"H", header), [], []
        for index, entry in enumerate(self.layers):
            start = {"offset": len(out), "sequence": self.sequence, "previous": self.previous.hex()}
            counts = {"records": 0, "data": 0, "zeros": 0, "stored": 0, "shared": 0, "inherited": 0}
            records = []
            for stretch in self.stretches_of(index, entry):
                piece = self.stretch(index, stretch, counts)
                records.append((len(out), stretch.first, self.previous))
                out += piece
            entries.append({**start, "length": len(out) - start["offset"], **counts, "digest": self.held(index, entry).digest.hex()})
            tables.append(records)
        last = self.previous.hex()
        for index, records in enumerate(tables):
            entries[index]["tables"] = len(out)
            for first in range(0, len(records), 8192):
                part = records[first : first + 8192]
                out += self.record(b"X", struct.pack("<IQI", index, first, len(part)) + b"".join(struct.pack("<QQ16s", *entry) for entry in part))
        state = Archive(self.id, {}, [self.held(index, entry) for index, entry in enumerate(self.layers)]).state().hex()
        tables = json.dumps({"last": last, "layers": entries, "state": state}, sort_keys=True, separators=(",", ":")).encode()
        at = len(out)
        out += self.record(b"I", struct.pack("<I", len(header)) + header + tables)
        return out + self.record(b"T", struct.pack("<QQ", at, len(out) + 88))

    def held(self, index, entry):
        """What a layer holds."""
        layer = Layer({**entry, "size": 0} if type(entry["size"]) is not int else entry)
        try:
            for stretch in self.stretches_of(index, entry):
                layer.runs += [(first, end, getattr(data, "data", data)) for first, end, data in stretch.runs]
            layer.digest = layer.content_digest()
        except (IndexError, TypeError, OverflowError):
            pass  # what nobody should write holds nothing that anybody could know
        return layer

    def stretches_of(self, index, entry):
        if self.stretches is not None:
            return self.stretches[index]
        sectors = round_up(entry["size"], SECTOR) // SECTOR
        count = min(sectors, len(self.data) // SECTOR)
        return [Stretch(0, sectors, [(0, count, self.data[: count * SECTOR])])] if sectors else []

    def stretch(self, index, stretch, counts):
        content = b"".join(data for _, _, data in stretch.runs if isinstance(data, bytes))
        whole = b"".join(getattr(data, "data", data) for _, _, data in stretch.runs if data)
        frame = stored_frame(content) if content else b""
        runs, position = b"", stretch.first
        for first, end, data in stretch.runs:
            kind = 1 if data is None else getattr(data, "kind", 0)
            runs += number(first - position) + number((end - first) * 4 + kind)
            runs += number(data.layer) + number(data.first) if kind > 1 else b""
            counts["shared"] += SECTOR * (end - first) if kind == 2 else 0
            counts["inherited"] += SECTOR * (end - first) if kind == 3 else 0
            position = end
            counts["zeros"] += SECTOR * (end - first) if data is None else 0
        counts["records"] += 1
        counts["data"] += len(content)
        counts["stored"] += len(frame)
        fields = {"layer": index, "first": stretch.first, "end": stretch.end, "content": len(content), "frame": len(frame)}
        fields |= {"of_frame": digest(frame), "of_content": digest(whole), "count": len(stretch.runs), "runs": runs}
        fields |= stretch.overrides
        body = struct.pack("<IQQII16s16sI", *list(fields.values())[:-1]) + fields["runs"]
        return self.record(b"R", body) + frame
