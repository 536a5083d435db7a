"""Headers cut at every length and with every byte damaged: an error or the right bytes, within a second, never a crash.

A normal run takes a sample, another one every time unless `DROVER_SEED` gives it; `DROVER_EVERY_BYTE=1` tries all of it,
which takes twenty minutes.
"""

import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import unittest
from concurrent.futures import ProcessPoolExecutor

from cow_writer import LAYOUTS
from damaged_headers import all_damages, sampled_damages, sound_image, survives

EVERY_BYTE = os.environ.get("DROVER_EVERY_BYTE") == "1"
SEED = os.environ.get("DROVER_SEED") or str(random.SystemRandom().randrange(10**9))
BATCH = 100
WORKERS = 2


class DamagedHeaderTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="drover-headers-")
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.images = {layout: sound_image(layout, cls.folder) for layout in LAYOUTS}

    def run_all(self, jobs):
        """Runs `survives` on every job in fresh, small processes, so that Drover's memory can be seen beside theirs."""
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(WORKERS, mp_context=context) as pool:
            complaints = [text for texts in pool.map(survives, *zip(*jobs)) for text in texts]
        shown = "\n".join(complaints[:10])
        self.assertFalse(complaints, f"{len(complaints)} complaints, the first:\n{shown}")

    def jobs(self, choose, commands):
        for layout, data in self.images.items():
            damages = choose(layout, data)
            for at in range(0, len(damages), BATCH):
                yield layout, data, damages[at : at + BATCH], commands

    def test_convert_refuses_or_reads_right(self):
        print(f"DROVER_SEED={SEED} ", end="", file=sys.stderr, flush=True)

        def choose(layout, data):
            return all_damages(layout, data) if EVERY_BYTE else sampled_damages(layout, data, SEED)

        self.run_all(list(self.jobs(choose, ("convert",))))

    def test_other_commands_refuse_or_answer(self):
        def choose(layout, data):
            return sampled_damages(layout, data, SEED)[::6]

        self.run_all(list(self.jobs(choose, ("info", "map", "check"))))
