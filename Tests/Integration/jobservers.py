"""Jobservers as make has them, made by a test: tokens in a pipe, a FIFO or a character device, and who works with them."""

import fcntl
import os
import select
import signal
import subprocess
import termios
import threading
import time
import tty
from pathlib import Path

from harness import binary

STYLES = ("pipe", "fifo", "device")


class Jobserver:
    """`tokens` tokens, each with a value of its own; `style` is `pipe` (Make up to 4.3), `fifo` (from 4.4 on) or `device`.

    The device is a terminal, which is a character device with a queue in each direction: what comes back is handed out again.
    """

    def __init__(self, folder, style, tokens):
        self.style, self.values = style, bytes(range(65, 65 + tokens))
        if style == "pipe":
            self.reading, self.writing = os.pipe()
            auth = f"{self.reading},{self.writing}"
        elif style == "device":
            self.master, self.reading = os.openpty()
            tty.setraw(self.reading)
            self.writing = self.master
            self.path = os.ttyname(self.reading)
            auth = f"fifo:{self.path}"
            threading.Thread(target=self.hand_out, daemon=True).start()
        else:
            path = os.path.join(folder, f"GMfifo{time.monotonic_ns()}")
            os.mkfifo(path)
            self.reading = self.writing = os.open(path, os.O_RDWR)
            auth = f"fifo:{path}"
        self.makeflags = f" -j{tokens + 1} --jobserver-auth={auth}"
        os.write(self.writing, self.values)

    def hand_out(self):
        """Hands out again what was given back, until the device is closed."""
        while True:
            try:
                os.write(self.master, os.read(self.master, 1))
            except OSError:
                return

    def start(self, *arguments, flags=None, under=(), **options):
        """Starts Drover as a recipe of this make; `under` is a command that runs it."""
        environment = dict(os.environ, MAKEFLAGS=self.makeflags if flags is None else flags, MAKELEVEL="1")
        passed = (self.reading, self.writing) if self.style == "pipe" else ()
        return subprocess.Popen(
            [*under, binary(), *map(os.fspath, arguments)], env=environment, pass_fds=passed, stderr=subprocess.PIPE, text=True, **options
        )

    def add(self, value):
        self.values += value
        os.write(self.writing, value)

    def count(self):
        """How many tokens nobody has taken."""
        return int.from_bytes(fcntl.ioctl(self.reading, termios.FIONREAD, b"\0" * 4), "little")

    def take_all(self):
        """The tokens that are there, and waits for none."""
        found = b""
        while select.select([self.reading], [], [], 0.1 if self.style == "device" else 0)[0]:
            found += os.read(self.reading, 1)
        return found

    def close(self):
        for descriptor in {self.reading, self.writing}:
            os.close(descriptor)


def workers(pid):
    """How many workers the process `pid` has now."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return 0  # it has ended meanwhile
    return sum(thread_name(pid, task) == "worker" for task in tasks)


def thread_name(pid, task):
    try:
        return Path(f"/proc/{pid}/task/{task}/comm").read_text().strip()
    except OSError:
        return None  # it has ended meanwhile


def workers_below(pid):
    """How many workers all processes have that `pid` has started, and how many such processes there are."""
    found = [workers(child) for child in descendants(pid)]
    return sum(found), sum(count > 0 for count in found)


def descendants(pid):
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            pass
    below = {pid}
    while True:
        more = {child for child, parent in parents.items() if parent in below} | below
        if more == below:
            return below - {pid}
        below = more


def most_workers(process, until=lambda count: False, limit=30):
    """Watches a running process until it has ended, or `until` is true for the number of its workers; the most there were."""
    most, end = 0, time.monotonic() + limit
    while process.poll() is None:
        count = workers(process.pid)
        most = max(most, count)
        if until(count):
            break
        if time.monotonic() > end:
            process.send_signal(signal.SIGKILL)
            raise AssertionError(f"still {count} workers after {limit} s")
        time.sleep(0.001)
    return most
