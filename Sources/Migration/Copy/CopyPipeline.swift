package import DiskImages
internal import Manifests
package import Stages

// How data flows when one image is converted or verified; PackPipeline and UnpackPipeline are built
// of the same parts. Elements, in the order data passes through them (Chunk.swift):
//
//     BlockStatus ─► TargetRun ─► Planned ─────► Finished ───► ManifestSegment
//                    planner │  chunk, span  │ workers     │ checkpointer
//                            ▼               ▼             ▼
//                 Limits.planned bytes   Limits.finished   target synced, then recorded
//
// A stage is a function from channel to channel, on a thread of its own. It finishes its output
// only when it ended without error; the first error cancels all others; nothing but the whole disk,
// recorded, makes a target complete.

/// What goes through the pipeline, and how.
package struct CopyPipeline: Sendable {
    package let chain: ImageChain
    package let holding: CopyScope
    package let segmentLength: UInt64
    /// The shortest run of zeros that is not written; 0 writes everything.
    package let shortestZeroRun: Int
    package let workers: WorkerSlots
    /// Bytes read a second at most; nil for no limit.
    package let rate: RateLimit?
    package let progress: Progress
    package let stop: StopFlag

    package init(
        chain: ImageChain, holding: CopyScope, segmentLength: UInt64, shortestZeroRun: Int = 4096,
        workers: WorkerSlots,
        rate: RateLimit? = nil,
        progress: Progress, stop: StopFlag
    ) {
        self.chain = chain
        self.holding = holding
        self.segmentLength = segmentLength
        self.shortestZeroRun = shortestZeroRun
        self.workers = workers
        self.rate = rate
        self.progress = progress
        self.stop = stop
    }
}

extension CopyPipeline {
    /// convert: plan → read, look for zeros, write → sync and record. Returns the segments
    /// recorded, `finished` not among them. Ends early, without error, when `stop` is requested:
    /// the caller sees that segments are missing.
    ///
    /// `checkSources` throws where a source changed; it is asked before anything is recorded.
    func convert(
        to sink: any ImageSink, recordingIn manifest: ManifestFile, leavingOut finished: [Range<UInt64>],
        checkSources: @escaping @Sendable () throws -> Void
    ) async throws -> [ManifestSegment] {
        let planned = BoundedChannel<Planned>(limit: Limits.planned)
        let done = BoundedChannel<Finished>(limit: Limits.finished)
        let planner = ChunkPlanner(
            chain, holding, segmentLength: segmentLength, writesZeros: shortestZeroRun == 0,
            finished: finished)
        return try await stages { group in
            try group.addStage { try await plan(planner, into: planned) }
            try group.addStage { try await work(planned, into: done, sink: sink) }
            try group.addStage {
                try await Checkpointer(sink.file, manifest, checkSources: checkSources).run(done)
            }
        }
    }

    /// verify: plan the target's own disk → read and digest → hand over what each segment holds, in
    /// any order.
    func digest(_ take: @escaping @Sendable (Range<UInt64>, Outcome) throws -> Void) async throws {
        let planned = BoundedChannel<Planned>(limit: Limits.planned)
        let done = BoundedChannel<Finished>(limit: Limits.finished)
        let planner = ChunkPlanner(chain, holding, segmentLength: segmentLength)
        _ = try await stages { group in
            try group.addStage { try await plan(planner, into: planned) }
            try group.addStage { try await work(planned, into: done, sink: nil) }
            try group.addStage { try await collect(done, take) }
        }
    }

    /// First stage: chunks and spans in the disk's order, no faster than the rate, until the end or
    /// a request to stop.
    private func plan(_ planner: ChunkPlanner<TargetRuns>, into planned: BoundedChannel<Planned>) async throws
        -> [ManifestSegment]
    {
        var planner = planner
        while !stop.isRequested, let next = try planner.next() {
            switch next {
            case .chunk(let chunk):
                try rate?.wait(for: chunk.readLength, stop)
                if stop.isRequested { break }
                try await planned.send(next, weight: chunk.length)
            case .span: try await planned.send(next)
            }
        }
        planned.finish()
        return []
    }

    /// Second stage: as many workers as there are slots for, each with its own thread and one
    /// buffer at a time.
    private func work(
        _ planned: BoundedChannel<Planned>, into done: BoundedChannel<Finished>, sink: (any ImageSink)?
    ) async throws
        -> [ManifestSegment]
    {
        let pool = try await BufferPool(count: workers.limit, capacity: Limits.buffer)
        _ = try await Workers.work(workers) { try await move(planned, into: done, sink: sink, pool) }
        done.finish()
        return []
    }

    private func move(
        _ planned: BoundedChannel<Planned>, into done: BoundedChannel<Finished>, sink: (any ImageSink)?,
        _ pool: BufferPool
    ) async throws -> [ManifestSegment] {
        let copier = try ChunkCopier(chain, holding, shortestZeroRun: shortestZeroRun, sink: sink)
        while let next = try await planned.receive() {
            switch next {
            case .chunk(let chunk):
                let buffer = try await pool.take()
                let (outcome, written) = try copier.copy(chunk, through: buffer)
                try await pool.give(buffer)
                progress.add(covered: UInt64(chunk.length), read: chunk.readLength, written: written)
                let start = sink?.fileOffset(of: chunk.start)
                let range = written > 0 ? start.map { $0..<$0 + UInt64(chunk.length) } : nil
                try await done.send(.chunk(chunk.segment, index: chunk.index, outcome, fileRange: range))
            case .span(let span):
                try copier.copy(span)
                progress.add(covered: span.length)
                try await done.send(.span(span))
            }
        }
        return []
    }

    /// Last stage of `digest`.
    private func collect(
        _ done: BoundedChannel<Finished>, _ take: @Sendable (Range<UInt64>, Outcome) throws -> Void
    ) async throws -> [ManifestSegment] {
        var open: [Segment: SegmentDigest] = [:]
        while let next = try await done.receive() {
            switch next {
            case .chunk(let segment, let index, let outcome, _):
                guard let whole = open[segment, default: SegmentDigest(segment)].add(outcome, at: index)
                else { continue }
                open[segment] = nil
                try take(segment.range, whole)
            case .span(let span): try take(span.range, span.isHeld ? .zero : .backing)
            }
        }
        return []
    }
}
