"""`drover report PIPELINE --html FILE`: one page that is complete, safe and readable, judged by a real Chromium."""

import os
import shutil
import unittest

from browser import Browser
from cow_writer import set_mtime
from harness import MIB, REPOSITORY, DroverCase, run_tool
from page_checks import DESK, PHONE, PageChecks

LARGEST_PAGE = 8 * MIB
HOSTILE = [b'<b>bold&"quotes".cow', b"line\nfeed.cow", b"'apostrophe'.cow"]

# Text of every row of the fleet's table: [name, state, ...].
ROWS = "[...document.querySelectorAll('.fleet tbody tr')].map(row => [...row.children].map(e => e.innerText.trim()))"


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
        failures = self.browser.evaluate("document.querySelector('.failures').innerText")
        self.assertIn("broken.cow", failures)
        before = "document.querySelector('.failures').compareDocumentPosition(document.querySelector('.fleet')) & Node.DOCUMENT_POSITION_FOLLOWING"
        self.assertTrue(self.browser.evaluate(before), "failures stand before the table")
        maps = self.browser.evaluate("document.querySelectorAll('svg.map').length")
        self.assertEqual(maps, len(rows) - 1, "every image that can be opened has a map")

    def test_a_link_unfolds_its_image(self):
        fleet, page = self.fleet(), self.path("out.html")
        self.succeeds("report", fleet, "--html", page)
        self.browser.show(page, DESK, 900)
        self.browser.evaluate("document.querySelectorAll('details').forEach(e => e.open = false)")
        self.browser.evaluate("document.querySelector('.fleet tbody a').click()")
        self.assertTrue(self.browser.evaluate("document.querySelector('details').open"))

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

    def test_a_thousand_images_are_one_page_of_a_few_megabytes(self):
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


if __name__ == "__main__":
    unittest.main()
