internal import DiskImages
internal import Manifests
internal import Stages
internal import TransportArchive

/// unpack: read records → decompress, check, write → sync and record. verify: the same without
/// writing.
struct UnpackPipeline: Sendable {
    let reader: ArchiveReader
    let workers: WorkerSlots
    let rate: RateLimit?
    let progress: Progress
    let stop: StopFlag

    /// What a worker says of one record.
    private struct Verdict: Sendable {
        let losses: [ArchiveReader.Loss]
        let reason: String?
    }

    /// Restores the layer that the reader stands at into `sink`, but for `finished`; returns the
    /// segments recorded.
    func restore(
        _ layer: Int, _ holding: CopyScope, to sink: any ImageSink, recordingIn manifest: ManifestFile,
        leavingOut finished: [Range<UInt64>],
        segmentLength: UInt64
    ) async throws -> [ManifestSegment] {
        let stored = BoundedChannel<StoredRecord>(limit: Limits.planned)
        let done = BoundedChannel<Finished>(limit: Limits.finished)
        let frames = try await BufferPool(count: workers.limit + 4, capacity: LZ4Frame.longest)
        return try await stages { group in
            try group.addStage {
                try await read(layer, holding, finished, segmentLength, into: stored, frames)
            }
            try group.addStage { try await work(stored, holding, to: sink, into: done, frames) }
            try group.addStage { try await Checkpointer(sink.file, manifest, checkSources: {}).run(done) }
        }
    }

    /// Reads the records of one layer and plans what they fill.
    private func read(
        _ layer: Int, _ holding: CopyScope, _ finished: [Range<UInt64>], _ segmentLength: UInt64,
        into stored: BoundedChannel<StoredRecord>,
        _ frames: BufferPool
    ) async throws -> [ManifestSegment] {
        let description = reader.header.layers[layer]
        reading: while reader.layer == layer, !stop.isRequested {
            let position = reader.position
            do {
                guard let run = try reader.next() else { break }
                var planner = ChunkPlanner(
                    RecordRuns(run, isRaw: description.layout == "raw"), run.range,
                    length: description.guestLength, holding,
                    segmentLength: segmentLength, finished: finished)
                var planned: [Planned] = []
                while let next = try planner.next() { planned.append(next) }
                guard !planned.isEmpty else {
                    try reader.skipFrame(of: run)
                    progress.resume(run.range.upperBound - run.range.lowerBound, read: run.frameLength)
                    continue
                }
                try rate?.wait(for: run.frameLength, stop)
                try await stored.send(
                    StoredRecord(run: run, frame: try await frame(of: run, frames), planned: planned),
                    weight: max(run.contentLength, planned.count << 10))
            } catch let error as DiskImageError where error.kind == .stopped {
                // What was read is still written and recorded.
                break reading
            } catch let error as ArchiveError {
                throw ArchiveError(
                    error.kind, "\(description.name): sectors from \(position / 512) on: \(error)")
            }
        }
        stored.finish()
        return []
    }

    private func frame(of run: RunRecord, _ frames: BufferPool) async throws -> AlignedBuffer? {
        guard run.frameLength > 0 else { return nil }
        let frame = try await frames.take()
        try reader.readFrame(of: run, into: frame.bytes)
        return frame
    }

    private func work(
        _ stored: BoundedChannel<StoredRecord>, _ holding: CopyScope, to sink: any ImageSink,
        into done: BoundedChannel<Finished>,
        _ frames: BufferPool
    ) async throws -> [ManifestSegment] {
        _ = try await Workers.work(workers) { () -> [ManifestSegment] in
            let opener = try FrameOpener()
            let writer = try RecordWriter(holding, sink: sink)
            while let record = try await stored.receive() {
                try await write(record, opener, writer, sink, into: done)
                if let frame = record.frame { try await frames.give(frame) }
            }
            return []
        }
        done.finish()
        return []
    }

    private func write(
        _ record: StoredRecord, _ opener: FrameOpener, _ writer: RecordWriter, _ sink: any ImageSink,
        into done: BoundedChannel<Finished>
    ) async throws {
        let content: UnsafeRawBufferPointer
        do {
            content = try opener.open(record.run, record.frame)
        } catch let error as ArchiveError {
            throw ArchiveError(
                error.kind,
                "\(reader.header.describe(ArchiveReader.Loss(layer: record.run.layer, range: record.run.range))): \(error)"
            )
        }
        progress.add(covered: 0, read: record.run.frameLength)
        for next in record.planned {
            // What is missing then shows to the caller.
            if stop.isRequested { return }
            switch next {
            case .chunk(let chunk):
                let (outcome, written) = try writer.write(chunk, content)
                progress.add(covered: UInt64(chunk.length), written: written)
                let start = sink.fileOffset(of: chunk.start)
                try await done.send(
                    .chunk(
                        chunk.segment, index: chunk.index, outcome,
                        fileRange: written > 0 ? start..<start + UInt64(chunk.length) : nil))
            case .span(let span):
                try writer.write(span)
                progress.add(covered: span.length)
                try await done.send(.span(span))
            }
        }
    }

    /// Reads and checks everything; returns what is lost, in order, and why.
    func verify(canSalvage: Bool) async throws -> (losses: [ArchiveReader.Loss], reasons: [String]) {
        let stored = BoundedChannel<StoredRecord>(limit: Limits.planned)
        let frames = try await BufferPool(count: workers.limit + 4, capacity: LZ4Frame.longest)
        let verdicts = try await stages { group in
            try group.addStage { try await readAll(into: stored, frames, canSalvage: canSalvage) }
            try group.addStage { try await Workers.work(workers) { try await check(stored, frames) } }
        }
        let losses = verdicts.flatMap(\.losses).sorted {
            ($0.layer, $0.range.lowerBound) < ($1.layer, $1.range.lowerBound)
        }
        return (losses, verdicts.compactMap(\.reason))
    }

    private func readAll(into stored: BoundedChannel<StoredRecord>, _ frames: BufferPool, canSalvage: Bool)
        async throws -> [Verdict]
    {
        var verdicts: [Verdict] = []
        reading: while !stop.isRequested {
            switch try canSalvage ? reader.nextSalvaging(isStopped: { stop.isRequested }) : nextOrLoss() {
            case .end: break reading
            case .lost(let losses, let error):
                verdicts.append(Verdict(losses: losses, reason: error.description))
                if !canSalvage { break reading }
            case .run(let run):
                try rate?.wait(for: run.frameLength, stop)
                do {
                    let frame = try await frame(of: run, frames)
                    try await stored.send(
                        StoredRecord(run: run, frame: frame, planned: []), weight: max(1, run.contentLength))
                } catch let error as ArchiveError {
                    verdicts.append(
                        Verdict(
                            losses: [ArchiveReader.Loss(layer: run.layer, range: run.range)],
                            reason: error.description))
                }
            }
        }
        stored.finish()
        return verdicts
    }

    /// As `nextSalvaging`, of a pipe: what is behind the first damage cannot be looked for.
    private func nextOrLoss() throws -> ArchiveReader.Salvage {
        do {
            return try reader.next().map { .run($0) } ?? .end
        } catch let error as ArchiveError {
            return .lost(reader.losses(to: reader.header.layers.count, 0), error)
        }
    }

    private func check(_ stored: BoundedChannel<StoredRecord>, _ frames: BufferPool) async throws -> [Verdict]
    {
        let opener = try FrameOpener()
        var verdicts: [Verdict] = []
        while let record = try await stored.receive() {
            do {
                _ = try opener.open(record.run, record.frame)
                progress.add(
                    covered: record.run.range.upperBound - record.run.range.lowerBound,
                    read: record.run.frameLength)
            } catch let error as ArchiveError {
                verdicts.append(
                    Verdict(
                        losses: [ArchiveReader.Loss(layer: record.run.layer, range: record.run.range)],
                        reason: error.description))
            }
            if let frame = record.frame { try await frames.give(frame) }
        }
        return verdicts
    }
}
