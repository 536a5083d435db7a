"""What a chain becomes when its backing file is kept: the sectors the new overlay must hold, and the layouts that can."""

from dataclasses import dataclass

from cow_header import SECTOR, has_magic

WRITTEN_LAYOUTS = ("uml-v3", "uml-v2", "qemu-v2")


@dataclass(frozen=True)
class Allocation:
    """`must` are the guest sectors that need their bit; `may` can have it or not without a guest seeing a difference."""

    must: frozenset
    may: frozenset


def overlay_allocation(chain, base_depth):
    """The bits of an overlay that stands on the layer `base_depth` and merges all layers above it.

    A sector a merged layer has needs its bit. So does one where a merged layer is too short and hides data of the base:
    it is an allocated zero from now on.
    """
    must, may = set(), set()
    base = chain.below(base_depth)
    base_bytes = None
    for span in chain.spans():
        sectors = range(span.first, span.last)
        if span.present and span.depth < base_depth:
            must.update(sectors)
        elif not span.present and span.depth + 1 < base_depth:
            base_bytes = base.guest() if base_bytes is None else base_bytes
            for sector in sectors:
                content = base_bytes[sector * SECTOR : (sector + 1) * SECTOR]
                if content.strip(b"\0"):
                    must.add(sector)
                elif content:
                    may.add(sector)
    return Allocation(frozenset(must), frozenset(may))


def can_hold(chain, base_depth, layout, allocation):
    """Whether `layout` can hold that overlay: True, False, or None where the rules leave it open."""
    base, top = chain.layers[base_depth], chain.layers[0]
    taken_raw = base.header is None and _is_cow_file(base.path)
    if not layout.startswith("uml"):
        return not taken_raw  # QEMU reads a COW file as a chain, always
    if base.header is not None or base.sectors != top.sectors:
        return False
    if taken_raw or base.size != top.size:
        return None
    if layout == "uml-v2":
        bits = 8 * ((base.size + SECTOR - 1) // (8 * SECTOR))
        if any(sector >= bits for sector in allocation.must):
            return False
        if any(sector >= bits for sector in allocation.may):
            return None
    return True


def _is_cow_file(path):
    with open(path, "rb") as file:
        return has_magic(file.read(4))
