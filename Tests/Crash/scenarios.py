"""The commands whose every call is tried: what lies there before, and the command.

A scenario is a function that fills a `World` and returns the command. `world.old` runs Drover for what an earlier run left.
"""

import os
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "Integration"))

from cow_writer import CowWriter, set_mtime  # noqa: E402
from harness import MIB, SECTOR, drover  # noqa: E402
from moves import make_image  # noqa: E402

SCENARIOS, LONG = {}, {}
OLD, NEW = 1_450_000_000, 1_450_000_100
SMALL = 256 << 10


def scenario(function):
    SCENARIOS[function.__name__.replace("_", "-")] = function
    return function


def long(function):
    """One whose manifest fills several pages, for power cuts alone: it makes too many calls to try them all."""
    LONG[function.__name__.replace("_", "-")] = function
    return function


class World:
    """A folder with sources in `src`, targets in `out`, and nothing else in it that changes."""

    def __init__(self, root):
        self.root = Path(root)
        self.src, self.out = self.root / "src", self.root / "out"
        self.src.mkdir(parents=True)
        self.out.mkdir()
        self.piped = None
        self.guests = {}  # overlays of `out` that stand on a base of `out`: the disk that the guest sees, by the overlay's path

    def old(self, *command):
        """An earlier run, which must succeed."""
        result = drover(*command, cwd=self.root)
        if result.code != 0:
            raise AssertionError(f"the earlier run failed\n{result}")

    def image(self, mebibytes=4, seed=0):
        """An overlay over a base, several segments long."""
        base, image = make_image(self.src, mebibytes, seed)
        return base, image

    def edited(self, path, seed=9, mtime=NEW):
        """Changes some bytes of a raw file, in place."""
        with open(path, "r+b") as file:
            file.seek(8192)
            file.write(random.Random(seed).randbytes(9000))
        set_mtime(path, mtime, 5)


def move(command, *options):
    return [command, "-q", "--jobs", "1", *options]


# Conversions


@scenario
def convert_raw(world):
    _, image = world.image()
    return move("convert", "--segment", "1M", image, "out/disk.raw")


@scenario
def convert_cow(world):
    _, image = world.image(3)
    return move("convert", "--segment", "1M", "-O", "cow", "-o", "layout=qemu-v2", image, "out/disk.cow")


@scenario
def convert_overlay(world):
    base, image = world.image()
    return move("convert", "--segment", "1M", "-O", "cow", "-B", base, image, "out/disk.cow")


@scenario
def convert_qcow2(world):
    _, image = world.image(3)
    return move("convert", "--segment", "1M", "-O", "qcow2", image, "out/disk.qcow2")


@scenario
def convert_qcow2_overlay(world):
    base, image = world.image()
    return move("convert", "--segment", "1M", "-O", "qcow2", "-o", "cluster_size=4k", "-B", base, image, "out/disk.qcow2")


@scenario
def convert_as_base(world):
    base, _ = world.image(3)
    with open(base, "ab") as file:
        file.write(b"the end")
    set_mtime(base, OLD, 77)
    return move("convert", "--segment", "1M", "--as-base", base, "out/base.raw")


@scenario
def convert_force(world):
    """Over a complete target of the same source, which has changed since."""
    base, _ = world.image(3)
    command = move("convert", "--segment", "1M", base, "out/disk.raw")
    world.old(*command)
    world.edited(base)
    return [*command, "--force"]


@scenario
def convert_force_foreign(world):
    """Over a file that Drover did not write."""
    _, image = world.image(3)
    (world.out / "disk.raw").write_bytes(b"somebody's" * 1000)
    return move("convert", "--segment", "1M", "--force", image, "out/disk.raw")


@scenario
def convert_force_archive(world):
    """Over a complete archive, whose manifest is of the other kind."""
    base, image = world.image(3)
    world.old("pack", "-q", "out/disk.raw", base)
    return move("convert", "--segment", "1M", "--force", image, "out/disk.raw")


# Archives


def packed(world, *options):
    """An archive of two overlays over a base, beside the sources."""
    base, image = world.image(3)
    world.old("pack", "-q", *options, "src/fleet.drover", image, base)
    return "src/fleet.drover"


@scenario
def pack(world):
    base, image = world.image(4)
    return move("pack", "--segment", "1M", "out/fleet.drover", image, base)


@scenario
def pack_force(world):
    """Over a complete archive of the same sources, one of which has changed since."""
    base, image = world.image(3)
    command = move("pack", "--segment", "1M", "--ignore-mtime", "out/fleet.drover", image, base)
    world.old(*command)
    world.edited(base)
    return [*command, "--force"]


@scenario
def pack_since(world):
    """On an archive of before, in zstd; a base of it has changed."""
    base, image = world.image(3)
    world.old("pack", "-q", "--compression", "zstd", "src/old.drover", image, base)
    world.edited(base)
    return move("pack", "--segment", "1M", "--ignore-mtime", "--compression", "zstd", "--since", "src/old.drover", "out/fleet.drover", image, base)


@scenario
def unpack_since(world):
    base, image = world.image(3)
    world.old("pack", "-q", "src/old.drover", image, base)
    world.edited(base)
    world.old("pack", "-q", "--ignore-mtime", "--since", "src/old.drover", "src/fleet.drover", image, base)
    return move("unpack", "-C", "out", "src/fleet.drover")


@scenario
def pack_flat(world):
    _, image = world.image(3)
    return move("pack", "--segment", "1M", "--flatten", "out/fleet.drover", image)


@scenario
def unpack(world):
    return move("unpack", "-C", "out/new", packed(world))


@scenario
def unpack_pipe(world):
    world.piped = str(world.root / packed(world))
    return move("unpack", "-C", "out", "-")


@scenario
def unpack_raw(world):
    return move("unpack", "-O", "raw", "-C", "out", packed(world), "image.cow")


@scenario
def unpack_raw_pipe(world):
    world.piped = str(world.root / packed(world))
    return move("unpack", "-O", "raw", "-C", "out", "-")


@scenario
def unpack_force(world):
    """Over what was unpacked from an archive of before."""
    archive = packed(world)
    world.old("unpack", "-q", "-C", "out", archive)
    world.edited(world.src / "base.raw")
    world.old("pack", "-q", "--force", "--ignore-mtime", archive, "src/image.cow", "src/base.raw")
    return move("unpack", "--force", "-C", "out", archive)


@scenario
def unpack_force_foreign(world):
    archive = packed(world)
    for name in ("image.cow", "base.raw"):
        (world.out / name).write_bytes(b"somebody's" * 1000)
    return move("unpack", "--force", "-C", "out", archive)


# Overlays


@scenario
def create(world):
    base, _ = world.image(1)
    return ["create", "-b", base, "out/new.cow"]


@scenario
def create_force(world):
    """Over a file that Drover did not write."""
    base, _ = world.image(1)
    (world.out / "new.cow").write_bytes(b"somebody's" * 1000)
    return ["create", "--force", "-b", base, "out/new.cow"]


@scenario
def create_force_converted(world):
    """Over a complete target, whose manifest says nothing of the new file."""
    base, image = world.image(2)
    world.old("convert", "-q", "-O", "cow", "-B", base, image, "out/new.cow")
    return ["create", "--force", "-b", base, "out/new.cow"]


# Fleets

KEEP = """
sources: [guests/*.cow]
target: {directory: ../out, format: cow, keep-chain: true}
"""
FLAT = "sources: [guests/*.cow]\ntarget: {directory: ../out}\n"
PACK = "operation: pack\nsources: [guests/*.cow]\ntarget: {directory: ../out, archive: ../out/fleet.drover}\n"


def overlay(world, name, base, seed):
    """A small overlay over `base`; returns the guest's disk."""
    rng = random.Random(seed)
    disk = bytearray(base.read_bytes())
    writer = CowWriter("uml-v3", len(disk), os.fsencode(str(base)), int(os.stat(base).st_mtime))
    for _ in range(3):
        count, first = rng.randrange(1, 30), rng.randrange(0, len(disk) // SECTOR - 30)
        data = rng.randbytes(count * SECTOR)
        writer.allocate(first, count)
        writer.write_data(first, data)
        disk[first * SECTOR : (first + count) * SECTOR] = data
    path = world.src / "guests" / name
    # In place: a source that changed is the same file.
    writer.save(path)
    set_mtime(path, OLD + seed)
    return bytes(disk)


def fleet(world, pipeline, guests=2):
    """`guests` overlays over one base; returns the base and the command."""
    for folder in ("guests", "base"):
        (world.src / folder).mkdir()
    (world.src / "fleet.yaml").write_text(pipeline)
    base = world.src / "base" / "base.raw"
    base.write_bytes(random.Random(1).randbytes(SMALL // 2) + bytes(SMALL // 2))
    set_mtime(base, OLD)
    for number in range(guests):
        overlay(world, f"g{number}.cow", base, number)
    return base, ["run", "-q", "--jobs", "2", "src/fleet.yaml"]


@scenario
def run_keep(world):
    return fleet(world, KEEP)[1]


@scenario
def run_flat(world):
    return fleet(world, FLAT)[1]


@scenario
def run_pack(world):
    return fleet(world, PACK)[1]


@scenario
def run_pack_each(world):
    return fleet(world, "operation: pack\nsources: [guests/*.cow]\ntarget: {directory: ../out}\n")[1]


@scenario
def run_stale_family(world):
    """The base changed, and its overlays with it: all are made again."""
    base, command = fleet(world, KEEP)
    world.old(*command)
    world.edited(base)
    for number in range(2):
        overlay(world, f"g{number}.cow", base, number + 10)
    return command


def stale_guest(world, pipeline):
    """One overlay changed since the fleet was moved, the base did not."""
    base, command = fleet(world, pipeline)
    world.old(*command)
    overlay(world, "g1.cow", base, 11)
    return command


@scenario
def run_stale_guest(world):
    return stale_guest(world, KEEP)


@scenario
def run_stale_flat(world):
    return stale_guest(world, FLAT)


@scenario
def run_stale_pack(world):
    return stale_guest(world, PACK)


@scenario
def run_stale_grown(world):
    """The base changed, its overlay with it, and there is one more overlay than before."""
    base, command = fleet(world, KEEP, guests=1)
    world.old(*command)
    world.edited(base)
    overlay(world, "g0.cow", base, 20)
    overlay(world, "g1.cow", base, 21)  # and one more than before
    return command


# Manifests of several pages


@long
def convert_long(world):
    """Many segments with a little data each."""
    source = world.src / "long.raw"
    with open(source, "wb") as file:
        for number in range(48):
            file.seek(number * MIB)
            file.write(bytes([number + 1]) * 4096)
        file.truncate(48 * MIB)
    set_mtime(source, OLD)
    return move("convert", "--segment", "1M", str(source), "out/long.raw")


@long
def run_stale_wide(world):
    """An archive of many sources, of which one changed: the manifest's first record is two pages long, the old one and the new one."""
    for number in range(40):
        path = world.src / f"source-number-{number:03}.raw"
        path.write_bytes(b"A" * 4096)
        set_mtime(path, OLD)
    (world.src / "fleet.yaml").write_text("operation: pack\nsources: [source-*.raw]\ntarget: {archive: ../out/fleet.drover, directory: ../out}\n")
    command = ["run", "-q", "src/fleet.yaml"]
    world.old(*command)
    path.write_bytes(b"B" * 4096)
    set_mtime(path, NEW)
    return command
