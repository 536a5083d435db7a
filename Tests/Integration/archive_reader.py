"""An independent reader of transport archives, written from Documentation/archive-format.md alone.

`read_archive` checks everything the page says and gives the layers; `read_by_seeking` reads one image by the index. A layer
knows its allocated sectors and `Archive.guest` what a guest sees. Whatever does not hold raises `Damaged`.
"""

import bisect
import json
import re
import struct
from dataclasses import dataclass, field

from archive_codec import decode_frame, digest
from cow_header import SECTOR, round_up

BEGINNINGS = {"lz4": bytes.fromhex("04224d186440a700000000055dcc02"), "zstd": bytes.fromhex("28b52ffd2000010000")}
MAGIC = bytes.fromhex("5d2a4d18")
PREFIX = struct.Struct("<4sI4sBsHQ16s16s")
RUN_BODY = struct.Struct("<IQQII16s16sI")
TABLE_BODY = struct.Struct("<IQI")
TABLE_ENTRY = struct.Struct("<QQ16s")
MOST_ENTRIES = 8192
MIB, MIB_SECTORS = 1 << 20, 2048
DATA, ZERO = (0,), (1,)
MOST_RECORD = {b"H": 32 * MIB + 72, b"R": 295_048, b"X": 262_232, b"I": 128 * MIB, b"T": 88}
LAYER_KEYS = {"name": str, "layout": str, "size": int, "mtime": str, "image": bool}


class Damaged(Exception):
    pass


@dataclass
class Record:
    offset: int
    kind: bytes
    sequence: int
    id: bytes
    previous: bytes
    body: bytes
    digest: bytes
    length: int


@dataclass
class Layer:
    """What the header says of a layer, and `runs`: (first, end, bytes, or None for zeros), in order."""

    entry: dict
    runs: list = field(default_factory=list)
    sectors: int = 0
    stored: list = field(default_factory=list)  # of `runs` those whose bytes lie in this archive's own frames of the layer
    digest: bytes = bytes(16)

    def __post_init__(self):
        self.sectors = round_up(self.entry["size"], SECTOR) // SECTOR

    @property
    def names(self):
        return [self.entry["name"], *self.entry.get("also", [])]

    @property
    def is_raw(self):
        return self.entry["layout"] == "raw"

    def bytes_of(self, runs, first, count):
        """What `runs` hold of so many sectors; None for each that none of them holds."""
        found = []
        at = bisect.bisect_right(runs, first, key=lambda run: run[1])
        for sector in range(first, first + count):
            while at < len(runs) and runs[at][1] <= sector:
                at += 1
            if at == len(runs) or runs[at][0] > sector:
                found.append(None)
            else:
                begin, _, data = runs[at]
                found.append(bytes(SECTOR) if data is None else data[(sector - begin) * SECTOR : (sector - begin + 1) * SECTOR])
        return found

    def content_digest(self):
        """The digest of what the layer holds, as it does not depend on the archive."""
        windows, entries = {}, []
        for first, end, data in self.runs:
            if data is None and self.is_raw:
                continue
            number = first // MIB_SECTORS
            while number * MIB_SECTORS < end:
                begin, stop = max(first, number * MIB_SECTORS), min(end, (number + 1) * MIB_SECTORS)
                length = min(MIB_SECTORS, self.sectors - number * MIB_SECTORS)
                if data is None and stop - begin == length:
                    # Of zeros from one window's beginning to another's end, however many there are.
                    count = max(1, (end - begin) // MIB_SECTORS)
                    entries.append([number, count, bytes(16)])
                    number += count
                    continue
                piece = bytes((stop - begin) * SECTOR) if data is None else data[(begin - first) * SECTOR : (stop - first) * SECTOR]
                windows.setdefault(number, []).append((begin - number * MIB_SECTORS, piece))
                number += 1
        for number, pieces in windows.items():
            sectors = min(MIB_SECTORS, self.sectors - number * MIB_SECTORS)
            whole, bits = bytearray(sectors * SECTOR), bytearray((sectors + 7) // 8)
            for begin, piece in pieces:
                whole[begin * SECTOR : begin * SECTOR + len(piece)] = piece
                for sector in range(begin, begin + len(piece) // SECTOR):
                    bits[sector // 8] |= 1 << sector % 8
            held = b"".join(piece for _, piece in pieces)
            if not self.is_raw:
                is_zero = len(held) == len(whole) and not any(held)
                entries.append([number, 1, bytes(16) if is_zero else digest(held + bytes(bits))])
            elif any(whole):
                entries.append([number, 1, digest(bytes(whole))])
        joined = []
        for number, count, of_window in sorted(entries):
            if joined and joined[-1][0] + joined[-1][1] == number and not any(joined[-1][2]) and not any(of_window):
                joined[-1][1] += count
            else:
                joined.append([number, count, of_window])
        value = bytes(16)
        for number, count, of_window in joined:
            value = digest(value + struct.pack("<QQ", number, count) + of_window)
        return value

    def allocated(self):
        """The runs of sectors that hold something, neighbours joined."""
        joined = []
        for first, end, _ in self.runs:
            if joined and joined[-1][1] == first:
                joined[-1] = joined[-1][0], end
            else:
                joined.append((first, end))
        return joined


@dataclass
class Archive:
    id: bytes
    header: dict
    layers: list

    def state(self):
        """What it holds, however it is stored."""
        text = b""
        for layer in self.layers:
            entry = layer.entry
            numbers = [entry.get(key, "") for key in ("mode", "owner", "group", "backing")]
            fields = [len(layer.names), *layer.names, entry["layout"], entry["size"], entry.get("alignment", ""), entry["mtime"], *numbers, int(entry["image"]), int(entry.get("with", False)), entry.get("link", ""), layer.digest.hex()]
            text += b"".join(f"{field}\0".encode(errors="surrogateescape") for field in fields)
        return digest(text)

    def index_of(self, name):
        return next(number for number, layer in enumerate(self.layers) if name in layer.names)

    def guest(self, index, sectors=None):
        """What the guest of a layer sees, in whole sectors; cut or filled up to `sectors`."""
        layer = self.layers[index]
        backing = layer.entry.get("backing")
        seen = bytearray(layer.sectors * SECTOR if backing is None else self.guest(backing, layer.sectors))
        for first, end, data in layer.runs:
            seen[first * SECTOR : end * SECTOR] = data or bytes((end - first) * SECTOR)
        return bytes(seen[: (sectors or layer.sectors) * SECTOR].ljust((sectors or 0) * SECTOR, b"\0"))


class _Reader:
    """Goes through a file record by record."""

    def __init__(self, file, form):
        self.form = form
        self.file, self.id, self.sequence, self.previous = file, bytes(16), 0, bytes(16)

    def exactly(self, count):
        data = self.file.read(count)
        if len(data) != count:
            raise Damaged("the archive ends too early")
        return data

    def record(self, kinds):
        """The next record, which must be sound, of one of `kinds`, and in its place."""
        offset = self.file.tell()
        start = self.exactly(8)
        (length,) = struct.unpack_from("<I", start, 4)
        if start[:4] != MAGIC or not 64 <= length <= max(MOST_RECORD[kind] for kind in kinds) - 8:
            raise Damaged(f"no record at {offset}")
        whole = start + self.exactly(length)
        magic, _, text, version, kind, zero, sequence, identity, previous = PREFIX.unpack_from(whole)
        if text != b"DRVR" or digest(whole[:-16]) != whole[-16:]:
            raise Damaged(f"the record at {offset} is damaged")
        if version != 2:
            raise Damaged(f"version {version} is not known")
        if kind not in kinds or len(whole) > MOST_RECORD[kind] or zero:
            raise Damaged(f"the record at {offset} is of another kind")
        found = Record(offset, kind, sequence, identity, previous, whole[56:-16], whole[-16:], len(whole))
        if (sequence, identity, previous) != (self.sequence, self.id, self.previous):
            raise Damaged(f"the record at {offset} is in another's place")
        self.id = found.digest if kind == b"H" else self.id
        self.sequence, self.previous = sequence + 1, found.digest
        return found

    def here(self):
        """What follows is a record whose place in the order is not known: its own sequence and previous are believed."""
        at = self.file.tell()
        start = self.exactly(56)
        self.sequence, self.previous = struct.unpack_from("<Q", start, 16)[0], start[40:56]
        self.file.seek(at)

    def layer(self, number, layer, layers, parent=None):
        """All records of a layer; what the index must say of it."""
        same = layer.entry.get("same")
        if same is not None:
            layer.runs, layer.digest = parent.layers[same].runs, parent.layers[same].digest
            zeros = sum(last - begin for begin, last, data in layer.runs if data is None) * SECTOR
            held = sum(last - begin for begin, last, _ in layer.runs) * SECTOR - zeros
        entry = {"offset": self.file.tell(), "sequence": self.sequence, "previous": self.previous.hex()}
        entry |= {"records": 0, "data": 0, "zeros": 0, "stored": 0, "shared": 0, "inherited": 0}
        if same is not None:
            entry |= {"zeros": zeros, "inherited": held}
        expected, records = 0, []
        while expected < layer.sectors and same is None:
            record = self.record((b"R",))
            body = record.body
            records.append((record.offset, expected, record.digest))
            if len(body) < RUN_BODY.size:
                raise Damaged("a run record is too short")
            index, first, end, content, stored, of_frame, of_content, count = RUN_BODY.unpack_from(body)
            if (index, first) != (number, expected) or not first < end <= layer.sectors:
                raise Damaged("a record stands for other sectors")
            if end % 2048 and end != layer.sectors:
                raise Damaged("a record does not end at a whole MiB")
            if content > MIB or stored > MIB + 4096 or (content == 0) != (stored == 0) or count > 8192:
                raise Damaged("a record claims too much")
            runs = _runs(body[RUN_BODY.size :], count, first, end)
            if content != SECTOR * sum(last - begin for begin, last, kind in runs if kind == DATA):
                raise Damaged("the content has another length than the runs")
            frame = self.exactly(stored)
            data = decode_frame(frame, content, self.form) if stored else b""
            if data is None or digest(frame) != of_frame:
                raise Damaged("a frame's or a content's digest is another")
            if layer.entry["layout"] == "uml-v2" and runs and runs[-1][1] > layer.sectors // 8 * 8:
                raise Damaged("a run covers sectors without a bit")
            self.add_runs(number, runs, data, of_content, layers, parent)
            entry["records"] += 1
            entry["data"] += content
            entry["stored"] += stored
            for key, wanted in (("zeros", lambda kind: kind == ZERO), ("shared", lambda kind: kind[0] == 2), ("inherited", lambda kind: kind[0] == 3)):
                entry[key] += SECTOR * sum(last - begin for begin, last, kind in runs if wanted(kind))
            expected = end
        entry["length"] = self.file.tell() - entry["offset"]
        return entry, records

    def add_runs(self, number, runs, data, of_content, layers, parent):
        """Takes in what a record holds, references with it."""
        layer, position, whole = layers[number], 0, b""
        for begin, last, kind in runs:
            length = (last - begin) * SECTOR
            if kind == ZERO:
                layer.runs.append((begin, last, None))
                continue
            if kind == DATA:
                bytes_here = data[position : position + length]
                position += length
                layer.stored.append((begin, last, bytes_here))
            elif kind[0] == 2:
                _, of, first = kind
                if of >= number:
                    raise Damaged("a reference leads to no earlier layer")
                found = layers[of].bytes_of(layers[of].stored, first, last - begin)
                if None in found:
                    raise Damaged("a reference leads to what is not stored")
                bytes_here = b"".join(found)
            else:
                _, of, first = kind
                if parent is None or of >= len(parent.layers) or first + last - begin > parent.layers[of].sectors:
                    raise Damaged("a reference leads to what the parent does not have")
                found = parent.layers[of].bytes_of(parent.layers[of].runs, first, last - begin)
                bytes_here = b"".join(sector or bytes(SECTOR) for sector in found)
            layer.runs.append((begin, last, bytes_here))
            whole += bytes_here
        if len(whole) > MIB or digest(whole) != of_content:
            raise Damaged("a content's digest is another")

    def tables(self, number, records):
        """The tables of a layer's records, which must say what was found; where they begin."""
        start = self.file.tell()
        for first in range(0, len(records), MOST_ENTRIES):
            if self.table(number, first) != records[first : first + MOST_ENTRIES]:
                raise Damaged("a table of records says something else than was found")
        return start

    def table(self, number, first):
        """The entries of a table: where each record begins, its first sector, its digest."""
        body = self.record((b"X",)).body
        if len(body) < TABLE_BODY.size or (len(body) - TABLE_BODY.size) % TABLE_ENTRY.size:
            raise Damaged("a table of records has another length")
        layer, before, count = TABLE_BODY.unpack_from(body)
        if (layer, before) != (number, first) or count != (len(body) - TABLE_BODY.size) // TABLE_ENTRY.size:
            raise Damaged("a table of records is another's")
        return list(TABLE_ENTRY.iter_unpack(body[TABLE_BODY.size :]))


def _runs(data, count, first, end):
    position, runs = 0, []

    def number():
        nonlocal position
        value = shift = 0
        while True:
            if position == len(data) or shift == 63:
                raise Damaged("a number does not end")
            byte = data[position]
            position, value, shift = position + 1, value | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                return value

    for _ in range(count):
        begin = first + number()
        length, kind = divmod(number(), 4)
        if length == 0 or begin + length > end:
            raise Damaged("a run is empty or too long")
        runs.append((begin, begin + length, (kind, number(), number()) if kind > 1 else (kind,)))
        first = begin + length
    if position != len(data):
        raise Damaged("something follows the runs")
    return runs


def allowed_name(name):
    encoded = name.encode(errors="surrogateescape")
    parts = encoded.split(b"/")
    return (
        0 < len(encoded) <= 4000
        and b"\0" not in encoded
        and all(part not in (b"", b".", b"..") and len(part) <= 240 for part in parts)
        and not any(part.endswith((b".partial", b".manifest")) for part in parts)
    )


def parse_header(body):
    try:
        header = json.loads(body)
        layers = [Layer(entry) for entry in header["layers"]]
        if header["version"] != 2:
            raise Damaged(f"version {header['version']} is not known")
        options = header["options"]
        whole = isinstance(options["compression"], str) and isinstance(options["flatten"], bool) and options["zeroRun"] >= 0
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"the header is none: {error!r}") from error
    names, folders, depths = set(), set(), []
    for index, layer in enumerate(layers):
        entry, backing = layer.entry, layer.entry.get("backing")
        whole = whole and all(type(entry.get(key)) is kind for key, kind in LAYER_KEYS.items())
        if not whole or not 0 <= entry["size"] <= 2**63 - 512 or not re.fullmatch(r"-?\d+\.\d{9}", entry["mtime"]):
            raise Damaged("the header has a layer with other keys")
        also = entry.get("also", [])
        if type(also) is not list or not all(type(name) is str for name in also):
            raise Damaged("the header has a layer whose further names are none")
        for name in (entry["name"], *also):
            if not allowed_name(name) or name in names:
                raise Damaged(f"a name is not allowed: {name!r}")
            names.add(name)
            parts = name.split("/")
            folders |= {"/".join(parts[:count]) for count in range(1, len(parts))}
        if backing is not None and not 0 <= backing < index or (layer.is_raw and backing is not None):
            raise Damaged("a backing file does not stand before its overlay")
        depths.append(1 if backing is None else depths[backing] + 1)
    if names & folders or max(depths, default=0) > 64:
        raise Damaged("a name is a folder of another, or a chain is too long")
    return header, layers


def _begin(file):
    start = file.read(9)
    form = next((form for form, beginning in BEGINNINGS.items() if beginning[:9] == start), None)
    if form is None or file.read(len(BEGINNINGS[form]) - 9) != BEGINNINGS[form][9:]:
        raise Damaged("this is no archive")
    reader = _Reader(file, form)
    record = reader.record((b"H",))
    return reader, record, *parse_header(record.body)


def _index(record, header_body):
    if len(record.body) < 4:
        raise Damaged("the index is too short")
    (length,) = struct.unpack_from("<I", record.body)
    if record.body[4 : 4 + length] != header_body:
        raise Damaged("the header's copy differs")
    try:
        index = json.loads(record.body[4 + length :])
        return index["layers"], bytes.fromhex(index["last"]), bytes.fromhex(index["state"])
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged("the index is none") from error


def read_archive(file, parent=None):
    """Reads and checks all of an archive, front to back; `parent` is the archive that it stands on, read."""
    reader, head, header, layers = _begin(file)
    check_parent(header, layers, parent)
    found = [reader.layer(number, layer, layers, parent) for number, layer in enumerate(layers)]
    last = reader.previous
    entries = [{**entry, "tables": reader.tables(number, records)} for number, (entry, records) in enumerate(found)]
    for layer, entry in zip(layers, entries):
        layer.digest = layer.digest if "same" in layer.entry else layer.content_digest()
        entry["digest"] = layer.digest.hex()
    archive = Archive(head.digest, header, layers)
    index = reader.record((b"I",))
    if _index(index, head.body) != (entries, last, archive.state()):
        raise Damaged("the index says something else than was found")
    trailer = reader.record((b"T",))
    if len(trailer.body) != 16 or struct.unpack("<QQ", trailer.body) != (index.offset, file.tell()):
        raise Damaged("the trailer says something else than was found")
    if file.read(1):
        raise Damaged("something follows the trailer")
    return archive


def check_parent(header, layers, parent):
    """The archive that this one stands on is the one that its header means."""
    wanted = header.get("parent")
    if wanted is not None and (parent is None or parent.state().hex() != wanted["state"]):
        raise Damaged("the archive that it stands on is another")
    for layer in layers:
        same = layer.entry.get("same")
        if same is None:
            continue
        if wanted is None or not 0 <= same < len(parent.layers) or parent.layers[same].sectors != layer.sectors or parent.layers[same].is_raw != layer.is_raw:
            raise Damaged("a layer is to be one that the parent does not have")


def read_by_seeking(file, name):
    """Reads one image with its chain by the index; layers that it cannot need have no runs."""
    reader, head, header, layers = _begin(file)
    length = file.seek(0, 2)
    file.seek(length - 88)
    trailer = _record_somewhere(reader, b"T")
    offset, total = struct.unpack("<QQ", trailer.body)
    if total != length or not 0 < offset < length:
        raise Damaged("the trailer names another length")
    file.seek(offset)
    index = _record_somewhere(reader, b"I")
    entries, _, _ = _index(index, head.body)
    if index.digest != trailer.previous or len(entries) != len(layers):
        raise Damaged("the index is not the trailer's")
    archive = Archive(head.digest, header, layers)
    wanted, number = [], archive.index_of(name)
    while number is not None:
        wanted.append(number)
        number = layers[number].entry.get("backing")
    if header["options"].get("dedup"):
        wanted = range(max(wanted) + 1)
    for number in sorted(wanted):
        entry = entries[number]
        file.seek(entry["offset"])
        reader.sequence, reader.previous = entry["sequence"], bytes.fromhex(entry["previous"])
        found, records = reader.layer(number, layers[number], layers)
        if {**found, "tables": entry["tables"], "digest": layers[number].content_digest().hex()} != entry:
            raise Damaged("the index says something else than was found")
        file.seek(entry["tables"])
        for first in range(0, len(records), MOST_ENTRIES):
            reader.here()
            if reader.table(number, first) != records[first : first + MOST_ENTRIES]:
                raise Damaged("a table of records says something else than was found")
    return archive


def read_sector(file, name, sector):
    """One sector of a layer, nothing but its record decoded; None where the layer does not hold it."""
    file.seek(0)
    reader, head, header, layers = _begin(file)
    file.seek(file.seek(0, 2) - 88)
    trailer = _record_somewhere(reader, b"T")
    file.seek(struct.unpack("<QQ", trailer.body)[0])
    entries, _, _ = _index(_record_somewhere(reader, b"I"), head.body)
    number = Archive(head.digest, header, layers).index_of(name)
    for first in range(0, entries[number]["records"], MOST_ENTRIES):
        file.seek(entries[number]["tables"] + first // MOST_ENTRIES * MOST_RECORD[b"X"])
        reader.here()
        for offset, begin, of_record in reversed(reader.table(number, first)):
            if begin > sector:
                continue
            file.seek(offset)
            record = _record_somewhere(reader, b"R")
            if record.digest != of_record:
                raise Damaged("a table names another record")
            _, begin, end, content, stored, _, of_content, count = RUN_BODY.unpack_from(record.body)
            if sector >= end:
                break
            data, position = decode_frame(reader.exactly(stored), content, reader.form) if stored else b"", 0
            for start, last, kind in _runs(record.body[RUN_BODY.size :], count, begin, end):
                if start <= sector < last and kind[0] == 2:
                    return read_sector(file, layers[kind[1]].entry["name"], kind[2] + sector - start)
                if start <= sector < last:
                    at = position + (sector - start) * SECTOR
                    return bytes(SECTOR) if kind == ZERO else data[at : at + SECTOR]
                position += (last - start) * SECTOR if kind == DATA else 0
            return None
    raise Damaged("no table has the sector")


def _record_somewhere(reader, kind):
    reader.here()
    return reader.record((kind,))
