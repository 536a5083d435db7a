"""Random chains of qcow2 files, made by qemu-img and qemu-io in every way that they can make them."""

import json
import os

from harness import MIB, SECTOR, run_tool


class RandomQcow2:
    """A chain of up to four files in `folder`; `top` is the uppermost."""

    def __init__(self, chance, folder):
        self.chance, self.folder = chance, folder
        self.top = self.format = self.size = None
        for depth in range(chance.randint(1, 4)):
            self._add(depth)

    def _add(self, depth):
        chance = self.chance
        if depth == 0 and chance.random() < 0.3:
            name, self.format, self.size = self._path("base.raw"), "raw", chance.choice((MIB, 3 * MIB, 5 * 65536 + 7 * SECTOR))
            run_tool("qemu-img", "create", "-q", "-f", "raw", name, str(self.size))
            cluster = 65536
        else:
            name, cluster = self._path(f"{depth}.qcow2"), self._create(depth)
            self.format = "qcow2"
            self.size = json.loads(run_tool("qemu-img", "info", "--output=json", name))["virtual-size"]
        self.top = name
        commands = []
        for _ in range(chance.randint(0, 10)):
            commands += self._change(cluster)
        if commands:
            options = sum((["-c", command] for command in commands), [])
            run_tool("qemu-io", "-f", self.format, name, *options, codes=(0, 1))  # 1: it was compressed twice
        if self.format == "qcow2" and chance.random() < 0.1:
            run_tool("qemu-img", "snapshot", "-c", "before", name, codes=(0, 1))  # 1: refcounts that are too small

    def _path(self, name):
        return os.path.join(self.folder, name)

    def _create(self, depth):
        chance = self.chance
        parts = chance.random() < 0.15
        cluster = 1 << chance.randint(14 if parts else 9, 21)
        options = [f"cluster_size={cluster}"]
        if not parts and chance.random() < 0.3:
            options.append("compat=0.10")
        else:
            options += [f"lazy_refcounts={chance.choice(('on', 'off'))}", f"compression_type={chance.choice(('zlib', 'zstd'))}"]
            options += [f"refcount_bits={chance.choice((8, 16, 64))}"] + ["extended_l2=on"] * parts
        backing, size = [], chance.choice((None, chance.randrange(1, 8000) * SECTOR))
        if self.top:
            backing = ["-b", chance.choice((os.path.basename(self.top), self.top)), "-F", self.format]
        elif chance.random() < 0.1:
            options.append("preallocation=metadata")
        size = [str(size or MIB)] if size or not backing else []
        run_tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", ",".join(options), *backing, self._path(f"{depth}.qcow2"), *size)
        return cluster

    def _change(self, cluster):
        chance, size = self.chance, self.size
        offset = chance.randrange(size // SECTOR) * SECTOR
        length = min(chance.choice((SECTOR, 4096, 65536, MIB, chance.randrange(1, 3000) * SECTOR)), size - offset)
        kind = chance.random()
        if self.format == "raw" or kind < 0.5:
            return [f"write -P {chance.choice((0, 1, 65, 200))} {offset} {length}"]
        if kind < 0.65:
            return [f"write -z {chance.choice(('', '-u '))}{offset} {length}"]
        if kind < 0.75:
            return [f"discard {offset} {length}"]
        offset = offset // cluster * cluster
        return [f"write -c -P {chance.choice((0, 7, 9))} {offset} {min(cluster, size - offset)}"]


def comparable(entries):
    """A map's entries as QEMU and Drover both have them: QEMU calls allocated holes data, and has offsets of what is not there."""
    merged = []
    for entry in entries:
        found = {key: entry[key] for key in ("start", "length", "depth", "present", "zero")}
        if entry["present"] and "offset" in entry:
            found["offset"] = entry["offset"]
        last = merged[-1] if merged else None
        same = last and all(last[key] == found[key] for key in ("depth", "present", "zero"))
        if same and last.get("offset", -1) + ("offset" in last and last["length"]) == found.get("offset", -1):
            last["length"] += found["length"]
        else:
            merged.append(found)
    return merged
