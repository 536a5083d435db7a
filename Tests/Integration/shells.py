"""What real shells offer when the Tab key is pressed, with Drover's completion scripts loaded."""

import fcntl
import os
import pty
import re
import select
import subprocess
import termios
import time

from harness import required_tool

TIMEOUT = 30
EVERY = b"\x1b*"  # Meta-*: puts everything that could stand here into the line
# How a shell starts, and what it is told then; {script} is the completion script's path.
SHELLS = {
    "bash": (["--norc", "--noprofile", "-i"], ["source {script}"]),
    "zsh": (
        ["-f", "-i"],
        [
            "unset zle_bracketed_paste; fpath=({folder} $fpath); autoload -Uz compinit; compinit -u -D",
            "zle -C every complete-word _generic; bindkey '\\e*' every; zstyle ':completion:every:*' insert true",
            "zstyle ':completion:every::::' completer _all_matches _complete",
        ],
    ),
}


def offers(shell, script, lines, folder, path):
    """For each of `lines` the words with which `shell` would go on, in `folder`; `path` is where it finds drover."""
    environment = {"PATH": f"{path}:{os.environ['PATH']}", "HOME": str(folder), "TERM": "dumb", "LC_ALL": "C.UTF-8"}
    if shell == "fish":
        return [fish_offers(script, line, folder, environment) for line in lines]
    with Terminal(shell, script, folder, environment) as terminal:
        return [terminal.offers(line) for line in lines]


def fish_offers(script, line, folder, environment):
    command = [required_tool("fish"), "--no-config", "-c", f"source '{script}'; complete -C '{line}'"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    return {offer.split("\t")[0] for offer in done.stdout.splitlines()}


class Terminal:
    """An interactive bash or zsh on a pseudo-terminal."""

    def __init__(self, shell, script, folder, environment):
        options, setup = SHELLS[shell]
        self.ours, theirs = pty.openpty()
        self.shell = subprocess.Popen(
            [required_tool(shell), *options], stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(theirs)
        self.shown = b""
        for line in setup:
            self.type(line.format(script=f"'{script}'", folder=f"'{os.path.dirname(script)}'").encode() + b"\n")
        self.type(b"echo REA''DY\n")
        self.read_until(b"READY")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shell.kill()
        self.shell.wait()
        os.close(self.ours)

    def offers(self, line):
        """Has everything inserted that fits, and prints the line's words instead of running it."""
        self.type(line.encode() + EVERY + b"\x01printf '<%s>\\n' \x05 DO''NE\n")
        words = re.findall(rb"^<(.*)>\r?$", self.read_until(b"<DONE>"), re.MULTILINE)
        return {os.fsdecode(word) for word in words[len(line.split(" ")) - 1 :]}

    def type(self, keys):
        os.write(self.ours, keys)

    def read_until(self, mark):
        end = time.monotonic() + TIMEOUT
        while mark not in self.shown:
            ready, _, _ = select.select([self.ours], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise AssertionError(f"the shell does not answer; it showed {self.shown!r}")
            self.shown += os.read(self.ours, 65536)
        before, _, self.shown = self.shown.partition(mark)
        return before
