"""What must hold after any interruption, and when the same command has ended with 0."""

import os
import shutil
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "Integration"))

from cow_header import Refused  # noqa: E402
from harness import drover  # noqa: E402
from records import read_file, read_jobs, wrong_segments  # noqa: E402
from reference import open_chain  # noqa: E402

MANIFEST, STAGING, HIDDEN = ".manifest", ".partial", ".drover-"
ARCHIVE = ".drover"  # proves itself


def files_below(folder):
    """All paths of files below `folder`, relative to it."""
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_symlink() or not path.is_dir())


def is_final(path):
    """Whether it is a name under which somebody looks for an image."""
    return not path.endswith((MANIFEST, STAGING)) and not any(part.startswith(HIDDEN) for part in path.split("/"))


def modes(folder):
    return {path: stat.filemode((Path(folder) / path).lstat().st_mode) for path in files_below(folder)}


def content(folder):
    """The bytes of all files with final names."""
    return {path: (Path(folder) / path).read_bytes() for path in files_below(folder) if is_final(path)}


def recorded(folder):
    """The targets that a manifest proves to be complete."""
    found = set()
    for path in content(folder):
        jobs = read_jobs(os.path.join(folder, path + MANIFEST))
        if any(job.matches(os.stat(os.path.join(folder, path))) for job in jobs):
            found.add(path)
    return found


def guests(folder, paths):
    """What the guest of each overlay sees; None where it would refuse its base."""
    return {path: guest(Path(folder) / path) for path in paths}


def guest(path):
    try:
        return open_chain(path).guest()
    except Refused:
        return None


@dataclass
class Expected:
    """What a scenario begins and ends with: files, targets' bytes, what guests see, sources."""

    command: list
    old: dict
    new: dict
    old_guests: dict
    new_guests: dict
    proven: set  # old targets that a manifest proved
    recorded: set  # new targets that one proves
    left: dict  # all files when the command has ended, each with its mode
    sources: dict = field(repr=False)

    @property
    def has_family(self):
        """Whether a base and overlays are to be named together."""
        changed = {path for path in self.old if self.old[path] != self.new[path]}
        return bool(changed & set(self.old_guests)) and bool(changed - set(self.old_guests))


class Judge:
    """Looks at a world after an interruption, and collects what is wrong."""

    def __init__(self, world, expected, verifies=True):
        self.world, self.out, self.expected, self.verifies = world, world.out, expected, verifies
        self.wrong = []

    def says(self, text):
        self.wrong.append(text)

    # After the interruption

    def interrupted(self):
        """No final name with partial data, no record that says more than the disk holds, the sources untouched."""
        self.sources()
        self.names()
        for path in files_below(self.out):
            if path.endswith(MANIFEST) and is_final(path[: -len(MANIFEST)]):
                self.manifest(path[: -len(MANIFEST)])
        self.readers()

    def sources(self):
        if (found := source_state(self.world.src)) != self.expected.sources:
            changed = [path for path in found.keys() | self.expected.sources.keys() if found.get(path) != self.expected.sources.get(path)]
            self.says(f"sources were touched: {', '.join(sorted(changed))}")

    def names(self):
        found = content(self.out)
        for path, data in found.items():
            if data not in (self.expected.old.get(path), self.expected.new.get(path)):
                known = path in self.expected.old or path in self.expected.new
                self.says(f"{path} is neither the old nor the new file" if known else f"{path} is a name that nobody asked for")
            elif data != self.expected.old.get(path):
                self.mode(path)
        for path in self.expected.old.keys() - found.keys():
            self.says(f"{path} was there, and is gone")

    def mode(self, path):
        mode = stat.filemode((self.out / path).lstat().st_mode)
        if mode != self.expected.left[path]:
            self.says(f"{path} has the mode {mode}; without an interruption it has {self.expected.left[path]}")

    def manifest(self, target):
        """What the records say of a target and of its staging file."""
        jobs = read_jobs(self.out / (target + MANIFEST))
        named, staged = read_file(self.out / target), read_file(self.out / (target + STAGING))
        old, new = self.expected.old.get(target), self.expected.new.get(target)
        if named and named[0] == old and target in self.expected.proven and old != new:
            if not any(job.matches(named[1]) for job in jobs):
                self.says(f"{target} is the old one, and nothing proves it any more")
        job = jobs[-1] if jobs else None
        if job is None or not job.holds_something:
            return
        if job.complete:
            file = next((file for file in (named, staged) if file and job.matches(file[1])), None)
            if file is None and target not in self.expected.recorded and named and named[0] == new:
                return  # It was created, and what is recorded is not forgotten yet.
            if file is None:
                return self.says(f"{target} is recorded as complete, and no such file is there")
        else:
            # Of a job that is not complete, the staging file holds what is recorded.
            file = staged
            if file is None:
                return self.says(f"segments of {target} are recorded, and there is no staging file")
        data = file[0]
        if job.complete and data not in (old, new):
            self.says(f"{target} is recorded as complete, and the file has other bytes")
        if job.head["record"] == "job":
            for text in wrong_segments(job, data):
                self.says(f"{target}: {text}")
        elif job.checkpoints and new is not None and data != old:
            length = job.checkpoints[-1]["length"]
            if data[:length] != new[:length]:
                self.says(f"{target}: {length} bytes are recorded, and the file has {len(data)}, or others")

    def readers(self):
        """What a guest sees, and whether `verify` says sound of what is not."""
        allowed = {path: {self.expected.old_guests.get(path), self.expected.new_guests.get(path)} - {None} for path in self.expected.new_guests}
        for path in files_below(self.out):
            if not is_final(path) or path not in self.expected.new:
                continue
            seen = guest(self.out / path) if path in allowed else b""
            mixed = path in allowed and seen is not None and seen not in allowed[path]
            if mixed:
                self.says(f"the guest of {path} sees bytes that are neither old nor new")
            jobs = read_jobs(self.out / (path + MANIFEST))
            if not self.verifies or not jobs:
                continue
            code = drover("verify", "-q", self.out / path).code
            is_proven = any(job.matches(os.stat(self.out / path)) for job in jobs)
            if code == 0 and (mixed or seen is None):
                self.says(f"verify says that {path} is sound, and its base is not the one it was made for")
            elif code == 0 and not is_proven and not path.endswith(ARCHIVE):
                self.says(f"verify says that {path} is sound, and nothing is recorded of it")
            elif code != 0 and is_proven and not (code == 2 and (seen is None or self.expected.has_family)):
                self.says(f"verify of {path}, which is whole and recorded, is {code}")
            elif code not in (0, 2, 65):
                self.says(f"verify of {path} is {code}")

    # At the end

    def ended(self, code, error):
        """The same command has ended: with the same bytes, records that are true of them, and nothing left behind."""
        self.sources()
        if code != 0:
            return self.says(f"the same command ends with {code}: {error.strip()}")
        found = content(self.out)
        for path in sorted(self.expected.new.keys() | found.keys()):
            if path not in found:
                self.says(f"{path} is not there, and the command said 0")
            elif found[path] != self.expected.new.get(path):
                self.says(f"{path} has other bytes than without an interruption")
        left = files_below(self.out)
        for path in sorted(set(left) - set(self.expected.left) - found.keys()):
            self.says(f"{path} was left behind")
        for path in sorted(set(left) & set(self.expected.left)):
            self.mode(path)
        for path in sorted(set(self.expected.left) - set(left) - self.expected.new.keys()):
            self.says(f"{path} is missing")
        for path in self.expected.new_guests:
            if guest(self.out / path) != self.expected.new_guests[path]:
                self.says(f"the guest of {path} sees other bytes")
        for path in left:
            if path.endswith(MANIFEST) and path in self.expected.left:
                self.completed(path[: -len(MANIFEST)])

    def completed(self, target):
        jobs, named = read_jobs(self.out / (target + MANIFEST)), read_file(self.out / target)
        if not named or not jobs:
            return  # Of what is created, nothing is recorded.
        if not jobs[-1].matches(named[1]):
            return self.says(f"the manifest of {target} does not say that this file is complete")
        if jobs[-1].head["record"] == "job":
            for text in wrong_segments(jobs[-1], named[0]):
                self.says(f"{target}: {text}")

    def durable(self, calls):
        """All calls of all runs up to the one that said 0: whether what they named and wrote was synced."""
        for text in unsynced(calls, self.out, self.expected.new):
            self.says(text)


def unsynced(calls, out, finals):
    """What the calls leave to a power cut: content of finished targets, and names in folders."""
    written, named = set(), {}
    for call in calls:
        if call.result not in ("made", "half", "short"):
            continue
        path, second = call.path, call.second
        if call.operation in ("write", "truncate", "allocate", "copy", "times", "mode", "owner"):
            written.add(path)
        elif call.operation == "sync":
            written.discard(path)
            named = {name: folder for name, folder in named.items() if folder != path}
        elif call.operation == "sync-all":
            written, named = set(), {}
        elif call.operation == "mkdir":
            named[path] = os.path.dirname(path)
        elif call.operation in ("rename", "link"):
            named[second] = os.path.dirname(second)
            if path in written:
                written.discard(path)
                written.add(second)
            else:
                written.discard(second)
    problems = []
    for final in sorted(finals):
        path = str(out / final)
        if path in written:
            problems.append(f"{final} is called done, and was not synced")
        while path != str(out):
            if path in named:
                problems.append(f"{os.path.relpath(path, out)} has its name, and its folder was not synced")
            path = os.path.dirname(path)
    return problems


def source_state(folder):
    """Every source's times, length and file. The ctime moves with any change; what only reads does not move it."""
    found = {}
    for path in Path(folder).rglob("*"):
        status = path.lstat()
        found[str(path)] = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode)
    return found


def restore(snapshot, folder):
    """Makes `folder` what `snapshot` is, files' times included. What is so already stays the file that it is: records name inodes."""
    snapshot, folder = Path(snapshot), Path(folder)
    for path in sorted(folder.rglob("*"), reverse=True):
        kept = snapshot / path.relative_to(folder)
        if path.is_dir() and not path.is_symlink():
            if not kept.is_dir():
                path.rmdir()
        elif not kept.is_file() or not _is_same(path, kept):
            path.unlink()
    for kept in sorted(snapshot.rglob("*")):
        path = folder / kept.relative_to(snapshot)
        if kept.is_dir():
            path.mkdir(exist_ok=True)
        elif not path.exists():
            shutil.copy2(kept, path)


def _is_same(path, kept):
    found, expected = path.lstat(), kept.lstat()
    facts = [(status.st_size, status.st_mtime_ns, status.st_mode) for status in (found, expected)]
    return facts[0] == facts[1] and path.read_bytes() == kept.read_bytes()
