"""Nothing is called done before it is on disk: the order of writes, syncs and the rename, as strace sees it."""

import os
import re

from harness import SECTOR, DroverCase, manifest_of
from moves import make_image
from write_trace import traced


class DurabilityTests(DroverCase):
    """A move of several segments, once to its end, watched."""

    def setUp(self):
        super().setUp()
        self.base, self.image = make_image(self.scratch, 24)
        self.target = self.path("out/disk.raw")
        os.mkdir(self.path("out"))
        os.mkdir(self.path("trace"))

    def trace(self, *options):
        arguments = ["convert", "--segment", "1M", *options, self.image, self.target]
        done, accesses = traced(arguments, self.path("trace"), data=20_000)
        self.assertEqual(done.returncode, 0, done.stderr)
        return accesses

    def of(self, accesses, kind, path):
        return [access for access in accesses if (access.kind, access.path) == (kind, path)]

    def test_data_is_durable_before_its_segment_is_recorded(self):
        accesses = self.trace()
        partial = f"{self.target}.partial"
        writes, syncs = self.of(accesses, "write", partial), self.of(accesses, "sync", partial)
        recorded = 0
        for record in self.of(accesses, "write", manifest_of(self.target)):
            for start, count in self.data_segments(record.text):
                begin, end = start * SECTOR, (start + count) * SECTOR
                inside = [w.ended for w in writes if w.offset < end and begin < w.offset + w.length]
                self.assertTrue(inside, f"the segment at sector {start} was recorded and never written")
                durable = any(max(inside) <= sync.began and sync.ended <= record.began for sync in syncs)
                self.assertTrue(durable, f"the segment at sector {start} was recorded before it was synced")
                recorded += 1
        self.assertGreater(recorded, 3, "the trace shows too little")

    def data_segments(self, text):
        """The data segments in a traced write to the manifest, as (first sector, sector count)."""
        for line in text.replace('\\"', '"').split("\\n"):
            if '"segment"' in line and '"data"' in line:
                yield tuple(int(re.search(rf'"{key}": ?(\d+)', line).group(1)) for key in ("start", "count"))

    def test_names_that_are_there_are_made_durable_where_their_files_lie(self):
        pipeline = self.path("fleet.yaml")
        with open(pipeline, "w") as file:
            file.write("sources: [base.raw, image.cow]\ntarget: {directory: out}\n")
        self.succeeds("run", "-q", pipeline)
        os.mkdir(self.path("out/deep"))
        for name in ("image.raw", "image.raw.manifest"):
            os.rename(self.path(f"out/{name}"), self.path(f"out/deep/{name}"))
        os.symlink("deep/image.raw", self.path("out/image.raw"))
        done, accesses = traced(["run", pipeline], self.path("trace"))
        self.assertEqual((done.returncode, "2 up to date" in done.stdout), (0, True), done.stdout + done.stderr)
        for folder in ("out", "out/deep"):
            self.assertTrue(self.of(accesses, "sync", self.path(folder)), f"{folder} was not synced")

    def test_the_end_is_in_order(self):
        for options in ((), ("-O", "cow", "-B", self.base)):
            with self.subTest(options=options):
                self.assert_the_end_is_in_order(self.trace(*options, "--force"))

    def assert_the_end_is_in_order(self, accesses):
        """fsync `.partial` and the records; append and fsync the completion record; rename; fsync the directory."""
        partial, manifest = f"{self.target}.partial", manifest_of(self.target)
        name = os.path.basename(self.target)
        renames = [access for access in accesses if access.kind == "rename" and os.path.basename(access.path) == name]
        self.assertEqual(len(renames), 1, "the target gets its name once")
        # Later ones only drop what was recorded of the target that was replaced.
        completed = [write for write in self.of(accesses, "write", manifest) if write.ended <= renames[0].began][-1]
        self.assertTrue(any(sync.ended <= completed.began for sync in self.of(accesses, "sync", partial)))
        before = [write for write in self.of(accesses, "write", manifest) if write.ended <= completed.began][-1]
        synced = [s for s in self.of(accesses, "sync", manifest) if before.ended <= s.began and s.ended <= completed.began]
        self.assertTrue(synced, "a power cut could keep the completion and lose a record before it")
        noted = [s for s in self.of(accesses, "sync", manifest) if completed.ended <= s.began]
        self.assertTrue(noted, "the completion record was not synced")
        self.assertLessEqual(noted[0].ended, renames[0].began, "renamed before the completion record was durable")
        folder = [s for s in self.of(accesses, "sync", self.path("out")) if renames[0].ended <= s.began]
        self.assertTrue(folder, "the directory was not synced after the rename")
