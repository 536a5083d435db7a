"""`drover report PIPELINE --html FILE`: one page that is complete, safe and readable, judged by a real Chromium."""

import json
import os
import re
import shutil
import unittest

from browser import Browser
from cow_writer import set_mtime
from harness import MIB, REPOSITORY, DroverCase, run_tool
from page_checks import DESK, PHONE, PageChecks

LARGEST_PAGE = 3 * MIB // 2
HOSTILE = [b'<b>bold&"quotes".cow', b"line\nfeed.cow", b"'apostrophe'.cow"]

# Text of every row of the fleet's tables: [name, state, ...]; of those that are not filtered out.
ROWS = "[...document.querySelectorAll('.fleet tbody tr')].map(row => [...row.children].map(e => (e.innerText || e.textContent).trim()))"
SHOWN = ROWS.replace("tr'", "tr:not([hidden])'")
# The sections that are shown: [what is in them, whether they are unfolded].
GROUPS = "[...document.querySelectorAll('.group:not([hidden])')].map(e => [e.querySelector('h3').lastChild.textContent.trim(), e.open])"


class ReportPageTests(PageChecks, DroverCase):
    @classmethod
    def setUpClass(cls):
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.close)

    def pipeline(self, folder, text=""):
        """A pipeline over `folder/guests`, whose guests stand on `folder/base`."""
        file = os.path.join(folder, "fleet.yaml")
        with open(file, "w") as out:
            out.write(f"version: 1\nsources: [guests/*.cow]\nbacking-map: {{/srv/uml: .}}\ntarget: {{directory: migrated}}\n{text}")
        return file

    def fleet(self):
        """The three guests of the fixtures, one that is damaged, and names that are no good text."""
        run_tool("tar", "-xf", REPOSITORY / "Fixtures" / "uml-fleet.tar.xz", "-C", self.scratch)
        guests = self.scratch / "a" / "guests"
        with open(guests / "broken.cow", "wb") as file:
            file.write((guests / "a1-idle.cow").read_bytes()[:100])
        for name in HOSTILE:
            shutil.copy2(guests / "a1-idle.cow", os.path.join(os.fsencode(guests), name))
        return self.pipeline(self.scratch / "a")

    def test_a_fleet_with_a_failure_and_hostile_names(self):
        fleet, page = self.fleet(), self.path("out.html")
        self.succeeds("report", fleet, "--html", page)  # nothing is done yet
        self.check_page(self.browser, page)
        self.succeeds("run", fleet, code=1, timeout=120)
        self.succeeds("report", fleet, "--html", page)  # replaces the first
        self.assertFalse(os.path.lexists(page + ".partial"))
        self.check_page(self.browser, page)

        self.browser.show(page, DESK, 900)
        rows = {row[0].split("\n")[0]: row for row in self.browser.evaluate(ROWS)}
        broken = next(row for name, row in rows.items() if "broken.cow" in name)
        self.assertIn("failed", broken[1])
        for shown in ('<b>bold&"quotes".cow', "line\\nfeed.cow", "'apostrophe'.cow"):
            row = next((row for name, row in rows.items() if shown in name), None)
            self.assertIsNotNone(row, f"{shown} is not in {sorted(rows)}")
            self.assertIn("done", row[1])
        self.assertIn("expected a uml-v3 header", broken[0], "why it failed stands beside its name")
        groups = self.browser.evaluate(GROUPS)
        self.assertEqual(groups, [["1 failed", True], ["6 done", False]])
        maps = self.browser.evaluate("document.querySelectorAll('svg.map').length")
        self.assertEqual(maps, len(rows) - 1, "every image that can be opened has a map")

    def test_a_link_unfolds_its_image(self):
        fleet, page = self.fleet(), self.path("out.html")
        self.succeeds("report", fleet, "--html", page)
        self.browser.show(page, DESK, 900)
        self.browser.evaluate("document.querySelectorAll('details').forEach(e => e.open = false)")
        image = self.browser.evaluate("(() => { const link = document.querySelector('.fleet tbody a'); link.click(); return link.hash })()")
        self.assertTrue(self.browser.evaluate(f"document.querySelector('{image}').parentElement.open"))

    def test_images_are_filtered_and_put_in_order(self):
        fleet, page = self.fleet(), self.path("out.html")
        self.succeeds("run", fleet, code=1, timeout=120)
        self.succeeds("report", fleet, "--html", page)
        for width in (DESK, PHONE):
            self.browser.show(page, width, 900)
            self.type_filter("A3 DONE")
            self.assertEqual([row[0].split("\n")[0] for row in self.browser.evaluate(SHOWN)], ["guests/a3-db.cow"])
            self.assertEqual(self.browser.evaluate("document.querySelector('.tools output').innerText"), "1 of 7 shown")
            self.assertEqual(self.browser.evaluate(GROUPS), [["6 done", True]], "what does not fit is gone")
            self.type_filter("")
            self.assertEqual([opened for _, opened in self.browser.evaluate(GROUPS)], [True, False], "as it was")
            self.browser.evaluate("document.querySelectorAll('.group').forEach(e => e.open = true)")
            self.choose_order("3")
            sizes = self.browser.evaluate("[...document.querySelectorAll('.group.done tbody tr')].map(e => e.children[3].innerText)")
            self.assertEqual(sizes, sorted(sizes, key=in_bytes, reverse=True))
            self.choose_order("0")
            names = [row[0].split("\n")[0] for row in self.browser.evaluate(SHOWN)][1:]
            self.assertEqual([name for name in names if "a" in name[:8]], sorted(name for name in names if "a" in name[:8]))
        self.assertEqual(self.browser.complaints, [])

    def type_filter(self, text):
        event = "find.dispatchEvent(new Event('input'))"
        self.browser.evaluate(f"(() => {{ const find = document.querySelector('.tools input'); find.value = '{text}'; {event} }})()")

    def choose_order(self, value):
        event = "order.dispatchEvent(new Event('change'))"
        self.browser.evaluate(f"(() => {{ const order = document.querySelector('.tools select'); order.value = '{value}'; {event} }})()")

    def test_somebody_has_to_look_at_what_is_stale_altered_or_gone(self):
        fleet, page = self.fleet(), self.path("out.html")
        guests = self.scratch / "a" / "guests"
        os.remove(guests / "broken.cow")
        self.succeeds("run", fleet, timeout=120)
        os.utime(guests / "a1-idle.cow")
        os.rename(guests / "a2-small.cow", self.path("elsewhere.cow"))
        with open(self.scratch / "a" / "migrated" / "a3-db.raw", "r+b") as file:
            file.write(b"mine")
        self.succeeds("report", fleet, "--html", page)
        self.browser.show(page, DESK, 900)
        self.assertEqual(
            self.browser.evaluate(GROUPS),
            [["1 stale", True], ["1 altered", True], ["1 orphan", True], ["3 done", False]],
        )
        shown = {row[0].split("\n")[0]: row[0] for row in self.browser.evaluate(ROWS)}
        self.assertIn("a1-idle.cow changed", shown["guests/a1-idle.cow"])
        self.check_page(self.browser, page)

    def test_throughput_is_of_data_not_of_holes(self):
        """A GiB that holds 64 KiB in each of its 16 segments, read at 256 KiB a second."""
        (self.scratch / "guests").mkdir()
        guest, page = self.scratch / "guests" / "sparse.cow", self.path("out.html")
        with open(guest, "wb") as file:
            for segment in range(16):
                file.seek(segment * 64 * MIB)
                file.write(os.urandom(64 * 1024))
            file.truncate(1024 * MIB)
        fleet = self.pipeline(self.scratch, "source-format: raw\nrate: 256k\n")
        self.succeeds("run", fleet, timeout=60)
        with open(self.scratch / "migrated" / "sparse.raw.manifest") as file:
            records = [json.loads(line) for line in file]
        self.assertEqual(sum(record.get("read", 0) for record in records), 16 * 64 * 1024)
        self.succeeds("report", fleet, "--html", page)
        self.browser.show(page, DESK, 900)
        caption = self.browser.evaluate("document.querySelector('figcaption').innerText")
        found = re.search(r": 1 MiB in ([34]) s of work, (\d+) KiB/s on average, (\d+) KiB/s at most", caption)
        self.assertIsNotNone(found, caption)
        self.assertLess(int(found[2]), 350)
        self.assertLess(int(found[3]), 600)

    def test_only_a_report_is_replaced(self):
        fleet, page = self.fleet(), self.path("out.html")
        with open(page, "w") as file:
            file.write("<!DOCTYPE html>\n<title>Somebody's</title>")
        self.fails(73, "report", fleet, "--html", page)
        with open(page) as file:
            self.assertIn("Somebody's", file.read())
        self.succeeds("report", fleet, "--html", page, "--force")
        self.fails(73, "report", fleet, "--html", self.scratch)
        self.fails(73, "report", fleet, "--html", self.scratch / "a" / "guests" / "a1-idle.cow", "--force")

    def test_a_thousand_images_are_one_small_page(self):
        folder = self.scratch / "large"
        (folder / "guests").mkdir(parents=True)
        base = folder / "base.img"
        with open(base, "wb") as file:
            file.truncate(MIB)
            file.write(b"base" * 1024)
        set_mtime(base, 1_700_000_000)
        first = folder / "guests" / "vm-0000.cow"
        self.succeeds("create", "-b", base, first)
        for number in range(1, 1000):
            shutil.copy2(first, folder / "guests" / f"vm-{number:04}.cow")
        page = self.path("out.html")
        self.succeeds("report", self.pipeline(folder), "--html", page, timeout=120)
        self.assertLess(os.path.getsize(page), LARGEST_PAGE)
        for width in (DESK, PHONE):
            self.browser.show(page, width, 800)
            self.assertGreaterEqual(self.browser.evaluate("document.querySelectorAll('.fleet tbody tr').length"), 1000)
            self.assertLessEqual(self.browser.evaluate("document.documentElement.scrollWidth"), width)
            self.browser.evaluate("document.querySelectorAll('.group').forEach(e => e.open = true)")
            self.assertEqual(self.browser.evaluate("document.querySelectorAll('svg.strip path').length > 999"), True)


def in_bytes(text):
    """What `1.5 MiB` is; nothing of what is no size."""
    number, _, unit = text.partition(" ")
    return float(number) * 1024 ** ["B", "KiB", "MiB", "GiB"].index(unit) if unit else 0


if __name__ == "__main__":
    unittest.main()
