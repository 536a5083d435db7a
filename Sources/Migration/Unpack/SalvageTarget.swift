internal import DiskImages
internal import Linux
internal import Manifests
internal import TransportArchive

/// One file that is being salvaged. Its manifest is written at the end, when it is known what is
/// missing.
final class SalvageTarget {
    private let move: TargetMove
    private let header: ArchiveHeader
    private let layer: Int
    private let holding: CopyScope
    /// Locked until the file has its name. nil, as `file`, where the file is there already.
    private let manifest: ManifestFile?
    private let file: TargetFile?
    private let writer: RecordWriter?
    private let replacing: ReplacementPolicy
    private let replaced: ManifestJob.Replaced?
    /// What an earlier salvage left out of the file that is there; nil where none wrote it.
    private let recorded: [ManifestCompletion.Lost]?
    private var open: [Segment: SegmentDigest] = [:]
    private var segments: [ManifestSegment] = []

    init(_ layer: Int, as name: String, of plan: RestorePlan, in tree: FolderTree) throws {
        move = try plan.move(layer, as: name, in: tree)
        header = plan.header
        self.layer = layer
        holding = plan.holding(of: layer)
        var replacing = move.replacing
        if let lost = try SalvageTarget.finished(move) {
            recorded = lost
            self.replacing = replacing
            (manifest, file, writer, replaced) = (nil, nil, nil, nil)
            return
        }
        recorded = nil
        // What is refused leaves no manifest behind.
        if try ManifestFile.place(of: move.place.file).identity() == nil {
            try replacing.check(move.place.existing)
        }
        let manifest = try ManifestFile(of: move.place.file)
        // A checkpoint of this very job is begun anew; one of another is only forgotten by
        // --restart.
        let existing = try move.place.file.identity()
        _ = try move.start(move.load(manifest), existing, &replacing)
        (self.manifest, self.replacing, replaced) = (
            manifest, replacing, existing.map(ManifestJob.Replaced.init)
        )
        try manifest.begin(SalvageTarget.job(move, isWhole: false, replaced))
        let file = try TargetFile(staging: move.place.file)
        let sink = move.sink(in: file)
        try sink.prepare()
        self.file = file
        writer = try RecordWriter(holding, sink: sink)
    }

    private static func job(_ move: TargetMove, isWhole: Bool, _ replaced: ManifestJob.Replaced?)
        -> ManifestJob
    {
        var job = isWhole ? move.job : move.job.salvaged
        job.replaces = replaced
        job.time = WallClock.now
        return job
    }

    /// What is missing in the target as an earlier run of the same job left it, nothing where it
    /// was restored whole; nil where there is no such target.
    private static func finished(_ move: TargetMove) throws -> [ManifestCompletion.Lost]? {
        guard !move.restart, let existing = move.place.existing,
            let found = try ManifestFile.readEnds(of: move.place.file),
            let job = found.job, let completion = found.completion, completion.matches(existing)
        else { return nil }
        if job.isSameMove(as: move.job) { return [] }
        return job.isSameMove(as: move.job.salvaged) ? completion.lost ?? [] : nil
    }

    /// Writes what `run` holds; `content` is its frame's.
    func write(_ run: RunRecord, _ content: UnsafeRawBufferPointer) throws {
        guard let writer else { return }
        var planner = ChunkPlanner(
            RecordRuns(run, isRaw: header.layers[layer].layout == "raw"), run.range,
            length: header.layers[layer].guestLength, holding,
            segmentLength: move.job.options.segment, finished: [])
        while let next = try planner.next() {
            switch next {
            case .chunk(let chunk):
                let outcome = try writer.write(chunk, content).outcome
                guard
                    let whole = open[chunk.segment, default: SegmentDigest(chunk.segment)].add(
                        outcome, at: chunk.index)
                else { continue }
                open[chunk.segment] = nil
                segments.append(ManifestSegment(chunk.segment.range, whole))
            case .span(let span):
                try writer.write(span)
                segments.append(ManifestSegment(span.range, span.isHeld ? .zero : .backing))
            }
        }
    }

    /// Drops all that was written.
    func reset() throws {
        if let file { try move.sink(in: file).prepare() }
        (open, segments) = ([:], [])
    }

    /// Gives the file its name, `losses` recorded; what they cover was not written. `isVouchedFor`:
    /// what was written is known to be of this archive. False where the file was there before.
    func finish(_ losses: [ArchiveReader.Loss], isVouchedFor: Bool) throws -> Bool {
        let lost = losses.map {
            ManifestCompletion.Lost(
                start: $0.range.lowerBound / 512, count: ($0.range.upperBound - $0.range.lowerBound) / 512)
        }
        guard let file, let manifest else {
            // Whole, it is better than the archive.
            guard recorded?.isEmpty != false || recorded == lost else {
                throw MigrationError(
                    .target,
                    "\(move.name): was salvaged from a copy with other damage (--restart --force salvages it again)"
                )
            }
            return false
        }
        for loss in losses {
            try write(RunRecord(nothingIn: loss), UnsafeRawBufferPointer(start: nil, count: 0))
        }
        guard
            ManifestSegment.ranges(of: segments)
                == (move.job.target.length == 0 ? [] : [0..<move.job.target.length])
        else {
            throw MigrationError(.bug, "\(move.name): neither restored nor lost in part")
        }
        // What is recorded of a whole file is true before it is recorded: an ordinary run may go on
        // with it.
        try file.synchronizeWithTimes()
        let isWhole = lost.isEmpty && isVouchedFor
        try manifest.begin(SalvageTarget.job(move, isWhole: isWhole, replaced))
        for segment in segments { try manifest.append(segment) }
        try move.complete(file, manifest, segments, replacing, lost: isWhole ? nil : lost)
        return true
    }
}

extension RunRecord {
    /// As if the record of what is lost had said that nothing is held.
    fileprivate init(nothingIn loss: ArchiveReader.Loss) {
        self.init(emptyFor: loss.layer, range: loss.range, runs: [])
    }
}
