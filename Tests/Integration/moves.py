"""Moves that take long enough to be interrupted: an image to move, and ways to stop the move in the middle."""

import os
import random
import signal
import subprocess
import time

from cow_writer import CowWriter, set_mtime
from harness import MIB, SECTOR, manifest_of, records, start, stop

MTIME = 1_450_000_000


def make_image(folder, mebibytes, seed=0, filled=0.4):
    """A uml-v3 overlay `image.cow` over `base.raw` in `folder`; about `filled` of the base is data. Returns both paths."""
    rng = random.Random(seed)
    base, image = os.path.join(folder, "base.raw"), os.path.join(folder, "image.cow")
    block = rng.randbytes(MIB)
    with open(base, "wb") as file:
        for number in range(mebibytes):
            if rng.random() < filled:
                file.seek(number * MIB)
                file.write(number.to_bytes(4, "big") + block[4 : rng.randrange(1, MIB // 4096) * 4096])
        file.truncate(mebibytes * MIB)
    set_mtime(base, MTIME, 123_456_789)
    writer = CowWriter("uml-v3", mebibytes * MIB, os.fsencode(base), MTIME)
    position = rng.randrange(2000)
    while position < writer.sectors:
        count = min(rng.choice((1, 7, 64, 513)), writer.sectors - position)
        writer.allocate(position, count)
        if rng.random() < 0.8:
            writer.write_data(position, rng.randbytes(count * SECTOR))
        position += count + rng.randrange(1, 6000)
    writer.save(image)
    set_mtime(image, MTIME + 5)
    return base, image


def last_job(target):
    """The records of the last job, which counts; what an earlier one completed may stand before it."""
    if not os.path.exists(manifest_of(target)):
        return []
    found = records(target)
    begin = max((index for index, record in enumerate(found) if record["record"] in ("job", "archive")), default=0)
    return found[begin:]


def segments(target):
    """The segments that are recorded as done, as (first sector, sector count, kind)."""
    return [(r["start"], r["count"], r["kind"]) for r in last_job(target) if r["record"] == "segment"]


def data_segments(target):
    return sum(kind == "data" for _, _, kind in segments(target))


def is_complete(target):
    return any(record["record"] == "complete" for record in last_job(target))


def interrupt(arguments, target, done=3, number=signal.SIGKILL, limit=30):
    """Starts `drover` with `arguments`, stops it by a signal when `done` segments with data are recorded.

    The arguments must slow it down (`--rate`). Returns the exit code and what it wrote to standard error.
    """
    with open(os.devnull, "rb") as nothing:
        process = start(*arguments, stdin=nothing, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + limit
    while is_complete(target) or data_segments(target) < done:
        if process.poll() is not None:
            raise AssertionError(f"ended before it could be stopped: {process.returncode} {process.stderr.read()}")
        if time.monotonic() > end:
            stop(process)
            raise AssertionError(f"no {done} segments of data recorded after {limit} s")
        time.sleep(0.002)
    code = stop(process, number)
    with process.stderr:
        return code, process.stderr.read()
