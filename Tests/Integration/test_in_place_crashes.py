"""`rebase` and `commit`, killed or failed at calls chosen from all of them: a sample of `Tests/Crash/in_place.py`."""

import os
import random
import sys

from harness import REPOSITORY, DroverCase

sys.path.insert(0, str(REPOSITORY / "Tests" / "Crash"))

from in_place import SCENARIOS, explore  # noqa: E402

POINTS = 15  # of each command
LONGEST = 25  # seconds; what is not tried by then is left to other seeds


class InPlaceCrashTests(DroverCase):
    def test_the_disk_is_what_it_was_or_the_image_is_refused(self):
        seed = os.environ.get("DROVER_SEED") or str(random.SystemRandom().randrange(10**6))
        print(f"DROVER_SEED={seed}", file=sys.stderr, flush=True)
        names = list(SCENARIOS)
        random.Random(seed).shuffle(names)
        tried, failures = explore(names, POINTS, seed, LONGEST)
        self.assertEqual(failures, [])
        self.assertGreater(tried, 20)
