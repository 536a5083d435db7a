"""`drover map --output picture`: what is drawn is what `map --output json` says, on paper and on a terminal."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import unittest

from chains import random_chain
from harness import DroverCase, start

COLOUR = re.compile("\x1b\\[[0-9;]*m")
UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
GLYPHS = "0123456789abcdefghijklmnopqrstuvwxyABCDEFGHIJKLMNOPQRSTUVWXYZ@#%"


def environment(**variables):
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LC_ALL", "LC_CTYPE", "LANG", "TERM")}
    return {**kept, **variables}


class MapPictureTests(DroverCase):
    def picture(self, image, **variables):
        process = start("map", "--output", "picture", image, stdout=subprocess.PIPE, env=environment(**variables))
        out, _ = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 0)
        return out.decode().splitlines()

    def on_terminal(self, image, columns, **variables):
        """What a terminal of so many columns gets."""
        controller, terminal = pty.openpty()
        try:
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
            process = start("map", "--output", "picture", image, stdout=terminal, env=environment(TERM="xterm", **variables))
            os.close(terminal)
            pieces = []
            while True:
                try:
                    piece = os.read(controller, 65536)
                except OSError:  # EIO: the other end is closed
                    break
                if not piece:
                    break
                pieces.append(piece)
            self.assertEqual(process.wait(timeout=30), 0)
        finally:
            os.close(controller)
        return b"".join(pieces).decode().splitlines()

    def small_chain(self):
        """An empty overlay of 1 MiB over a base with 4 KiB of data in every 64 KiB."""
        base, top = self.path("base.raw"), self.path("top.cow")
        with open(base, "wb") as file:
            for place in range(0, 1 << 20, 1 << 16):
                file.seek(place)
                file.write(b"b" * 4096)
            file.truncate(1 << 20)
        self.succeeds("create", "-o", "layout=qemu-v2", "-b", base, top)
        return top

    def cells(self, lines):
        return "".join(line.split("|")[1] for line in lines if "|" in line).rstrip(" ")

    def expected(self, image, length):
        """The characters, from the JSON map."""
        extents = self.succeeds("map", "--output", "json", image).json()
        layers = self.succeeds("info", "--backing-chain", "--output", "json", image).json()
        end = extents[-1]["start"] + extents[-1]["length"] if extents else 0
        cells = [set() for _ in range(-(-end // length))]
        for extent in extents:
            is_raw = layers[extent["depth"]]["format"] == "raw"
            kind = extent["depth"] if extent["data"] else "z" if extent["present"] and not is_raw else "."
            for cell in range(extent["start"] // length, (extent["start"] + extent["length"] - 1) // length + 1):
                cells[cell].add(kind)
        drawn = ""
        for kinds in cells:
            depths = [kind for kind in kinds if isinstance(kind, int)]
            drawn += "+" if len(depths) > 1 else GLYPHS[depths[0]] if depths else "z" if "z" in kinds else "."
        return drawn

    def test_what_is_drawn_is_what_json_says(self):
        for round_ in range(12):
            with self.subTest(round=round_):
                folder = self.scratch / f"chain{round_}"
                folder.mkdir()
                chain = random_chain(f"picture-{round_}", folder)
                lines = self.picture(chain.top, LC_ALL="C")
                found = re.search(r"each character ([0-9.]+) (\w+)$", lines[0])
                if found is None:
                    self.assertEqual(self.expected(chain.top, 512), "", str(chain))
                    continue
                length = int(float(found[1]) * UNITS[found[2]])
                self.assertEqual(self.cells(lines), self.expected(chain.top, length), str(chain))

    def test_without_a_utf8_locale_it_is_ascii(self):
        top = self.small_chain()
        self.assertTrue("\n".join(self.picture(top, LC_ALL="C")).isascii())
        self.assertIn("·", "\n".join(self.picture(top, LANG="C.UTF-8")))

    def test_a_pipe_gets_no_colours_and_the_width_of_columns(self):
        top = self.small_chain()
        for columns, drawn in (("40", 16), ("80", 64), ("200", 176), ("nonsense", 64)):
            lines = self.picture(top, COLUMNS=columns, TERM="xterm")
            self.assertNotIn("\x1b", "\n".join(lines))
            self.assertEqual({len(line.split("|")[1]) for line in lines if "|" in line}, {drawn})

    def test_a_terminal_gets_its_width_and_colours_unless_no_color_is_set(self):
        top = self.small_chain()
        coloured = self.on_terminal(top, 100)
        self.assertIn("\x1b[", "\n".join(coloured))
        plain = [COLOUR.sub("", line) for line in coloured]
        self.assertEqual({len(line) for line in plain if "|" in line}, {10 + 80 + 1})
        self.assertEqual(self.on_terminal(top, 100, NO_COLOR="1"), plain)

    def test_a_disk_of_terabytes_is_drawn_at_once(self):
        base, top = self.path("base.raw"), self.path("top.cow")
        with open(base, "wb") as file:
            file.truncate(7 << 40)
        self.succeeds("create", "-b", base, top)
        result = self.succeeds("map", "--output", "picture", top, measured=True)
        self.assertLess(result.seconds, 1)
        self.assertLess(result.peak, 64 << 20)


if __name__ == "__main__":
    unittest.main()
