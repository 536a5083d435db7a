internal import DiskImages
internal import Linux
internal import Manifests
internal import Stages

// How data flows, whatever is moved: convert, verify, unpack, salvage and the verification of
// archives are this one, and PackPipeline is built of the same parts. Elements, in the order data
// passes through them:
//
//     ContentSource ─► portion ─────────► Finished ───► ManifestSegment
//        chain: BlockStatus ─► TargetRun     │ workers     │ recorder
//        archive: records ─► their runs      ▼             ▼
//                 Limits.planned bytes   Limits.finished   target synced, then recorded
//
// A stage is a function from channel to channel, on a thread of its own. It finishes its output
// only when it ended without error; the first error cancels all others; nothing but the whole disk,
// recorded, makes a target complete.

/// What goes through the pipeline, and how.
struct CopyPipeline<Source: ContentSource>: Sendable {
    let source: Source
    let options: MoveOptions

    init(_ source: Source, _ options: MoveOptions) {
        self.source = source
        self.options = options
    }

    /// plan → read, look for zeros, digest, write → sync and record. Returns the segments recorded.
    /// Ends early, without error, when a stop is requested: the caller sees that segments are
    /// missing.
    ///
    /// `checkSources` throws where a source changed; it is asked before anything is recorded.
    /// `recordsChunks`: with a segment's digest its chunks'.
    func copy(
        to sink: any ImageSink, recordingIn manifest: ManifestFile, recordsChunks: Bool = false,
        checkSources: @escaping @Sendable () throws -> Void = {}
    ) async throws -> [ManifestSegment] {
        let recorded = Locked([ManifestSegment]())
        try await run(sink) { done in
            let segments = try await Checkpointer(
                sink.file, manifest, recordsChunks: recordsChunks, keepsCache: options.keepsCache,
                checkSources: checkSources
            ).run(done)
            recorded.withLock { $0 = segments }
        }
        return recorded.withLock(\.self)
    }

    /// plan → read, digest → hand over what each segment holds, in any order. Nothing is written.
    func digest(_ take: @escaping @Sendable (SegmentCollector.Whole) throws -> Void) async throws {
        try await run(nil) { done in
            var collector = SegmentCollector()
            while let next = try await done.receive() {
                if let whole = collector.add(next) { try take(whole) }
            }
        }
    }

    private func run(
        _ sink: (any ImageSink)?,
        _ record: @escaping @Sendable (BoundedChannel<Finished>) async throws -> Void
    ) async throws {
        options.passCache(source.files)
        let planned = BoundedChannel<Source.Portion>(limit: Limits.planned)
        let done = BoundedChannel<Finished>(limit: Limits.finished)
        try await stages { group in
            try group.addStage { try await plan(into: planned) }
            try group.addStage {
                try await Workers.work(options.workers) { try await work(planned, into: done, sink) }
                done.finish()
            }
            try group.addStage { try await record(done) }
        }
    }

    /// First stage: portions in the disk's order, no faster than the rate, until the end or a
    /// request to stop.
    private func plan(into planned: BoundedChannel<Source.Portion>) async throws {
        var source = source
        while !options.stop.isRequested, let next = try await source.next() {
            if next.readLength > 0 { try options.rate?.wait(for: next.readLength, options.stop) }
            if options.stop.isRequested { break }
            try await planned.send(next, weight: next.weight)
        }
        planned.finish()
    }

    /// Does what is to be done for `next`.
    private func finish(
        _ next: Planned, _ writer: ChunkWriter, _ reader: Source.Reader, _ window: AlignedBuffer
    ) throws -> [Finished] {
        switch next {
        case .chunk(let chunk):
            let result = try writer.write(chunk, from: reader, through: window)
            options.progress.add(covered: UInt64(chunk.length), written: result.written)
            if writer.sink != nil { try FailPoint.written.pass() }
            var finished = Finished(
                .chunk(chunk.segment, index: chunk.index, result.outcome), read: UInt64(chunk.readLength))
            (finished.fileRange, finished.lost) = (result.fileRange, reader.takeLosses())
            return [finished]
        case .span(let span):
            try writer.write(span)
            options.progress.add(covered: span.length)
            return [Finished(.whole(span.range, span.outcome))]
        case .known(let stretch):
            guard try writer.sink?.share(stretch.range, of: stretch.layer.file) == true else {
                var planner = stretch.planner(source.scope)
                var finished: [Finished] = []
                while let next = try planner.next() { finished += try finish(next, writer, reader, window) }
                return finished
            }
            let length = stretch.dataLength
            options.progress.add(
                covered: stretch.range.upperBound - stretch.range.lowerBound, read: length, written: length)
            try FailPoint.written.pass()
            return stretch.shared
        }
    }

    /// Second stage: one of as many workers as there are slots for, with its own thread, and one
    /// buffer.
    private func work(
        _ planned: BoundedChannel<Source.Portion>, into done: BoundedChannel<Finished>,
        _ sink: (any ImageSink)?
    ) async throws {
        var reader = try source.makeReader()
        let writer = try ChunkWriter(source.scope, shortestZeroRun: source.shortestZeroRun, sink: sink)
        let window = try AlignedBuffer(capacity: Limits.buffer)
        while let portion = try await planned.receive() {
            for next in try reader.open(portion) {
                for finished in try finish(next, writer, reader, window) { try await done.send(finished) }
            }
            try await reader.close(portion)
        }
    }
}
