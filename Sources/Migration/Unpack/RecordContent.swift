internal import DiskImages
internal import Glibc
internal import Manifests
internal import Stages
internal import TransportArchive

/// The records of an archive as content: those of one layer, or all that are left to be checked
/// alone. They are read in order by the planner, decompressed by the workers.
struct RecordContent: ContentSource {
    /// What is made of a layer's records; nil where they are only checked.
    struct Layer {
        var index: Int
        let scope: CopyScope
        let segmentLength: UInt64
        /// Ranges that an earlier run restored, in order.
        let finished: [Range<UInt64>]
    }

    private let reader: ArchiveReader
    private let layer: Layer?
    /// Where damage is written; nil where it ends everything.
    private let log: DamageLog?
    /// What reads what references lead to; nil where that is not looked at.
    private let references: (any ReferenceSource)?
    /// Takes note of where records lie; nil where nobody asks.
    private let places: RecordPlaces?
    /// What was lost so far of a pipe that is only checked.
    private var lost: [ArchiveReader.Loss] = []
    private let frames: BufferPool
    private let options: MoveOptions
    private var isOver = false

    /// What `reader` comes upon from where it stands: of `layer`, or to the archive's end.
    init(
        _ reader: ArchiveReader, _ layer: Layer?, _ options: MoveOptions, log: DamageLog? = nil,
        references: (any ReferenceSource)? = nil, places: RecordPlaces? = nil
    ) async throws {
        (self.reader, self.layer, self.log, self.options) = (reader, layer, log, options)
        (self.references, self.places) = (references, places)
        frames = try await BufferPool(count: options.workers.limit + 4, capacity: FrameFormat.longest)
    }

    var files: [ImageFile] { reader.stream.file.map { [$0] } ?? [] }
    var scope: CopyScope { layer?.scope ?? .everything(marks: false) }
    /// Zeros were taken out when it was packed: what is there is to be written.
    var shortestZeroRun: Int { 0 }

    func makeReader() throws -> RecordContentReader {
        try RecordContentReader(
            reader, layer, log: log, references: references, frames: frames, progress: options.progress)
    }

    mutating func next() async throws -> StoredRecord? {
        while true {
            if let layer, let lost = log?.takeUnplanned(of: layer.index) {
                let run = RunRecord(emptyFor: lost.layer, range: lost.range, runs: [])
                return StoredRecord(run: run, frame: nil, planned: try layer.plan(run, reader.header))
            }
            guard !isOver, !options.stop.isRequested, layer == nil || reader.layer == layer?.index else {
                return nil
            }
            let position = reader.position
            do {
                if let record = try await readNext() { return record }
            } catch let error as DiskImageError where error.kind == .stopped {
                // What was read is still written and recorded.
                return nil
            } catch let error as ArchiveError {
                guard let layer else { throw error }
                throw ArchiveError(
                    error.kind,
                    "\(reader.header.layers[layer.index].name): sectors from \(position / 512) on: \(error)")
            }
        }
    }

    /// Reads the next record; nil where there is nothing in it to be done, or none.
    private mutating func readNext() async throws -> StoredRecord? {
        guard let run = try nextRun() else { return nil }
        let planned = try layer?.plan(run, reader.header) ?? []
        if layer != nil, planned.isEmpty, log == nil {
            try reader.skipFrame(of: run)
            options.progress.resume(run.range.upperBound - run.range.lowerBound, read: run.frameLength)
            return nil
        }
        do {
            let frame = try await frame(of: run)
            try checkReferences(of: run, frame)
            return StoredRecord(run: run, frame: frame, planned: planned)
        } catch let error as ArchiveError {
            guard let log else { throw error }
            log.add(run, error)
            return StoredRecord(run: run, frame: nil, planned: planned.map { $0.holdingNothing(in: scope) })
        }
    }

    /// What comes from a pipe is not looked at again: what a record refers to is lost where its
    /// frame was.
    private mutating func checkReferences(of run: RunRecord, _ frame: AlignedBuffer?) throws {
        guard let log, references == nil else { return }
        if let frame,
            ContentDigest(of: UnsafeRawBufferPointer(rebasing: frame.bytes[..<run.frameLength]))
                != run.frameDigest
        {
            lost.append(ArchiveReader.Loss(layer: run.layer, range: run.range))
        }
        guard !lost.isEmpty else { return }
        for part in run.runs {
            guard case .reference(let place) = part.kind,
                lost.contains(where: {
                    $0.layer == place.layer && $0.range.overlaps(place.start..<place.start + part.length)
                })
            else { continue }
            log.add(
                ArchiveReader.Loss(layer: run.layer, range: part.start..<part.end),
                "what it refers to is lost")
        }
    }

    private mutating func nextRun() throws -> RunRecord? {
        guard let log else {
            let run = try reader.next()
            if run != nil { places?.add(reader) }
            isOver = run == nil
            return run
        }
        let expected = reader.layer
        switch try nextOrLoss() {
        case .run(let run):
            places?.add(reader)
            return run
        case .end: isOver = true
        case .lost(let losses, let error):
            log.add(losses, error, between: [expected, reader.layer])
            // What is behind the damage of a pipe cannot be looked for.
            isOver = reader.stream.file == nil
        }
        return nil
    }

    private func nextOrLoss() throws -> ArchiveReader.Salvage {
        guard reader.stream.file == nil else {
            return try reader.nextSalvaging { options.stop.isRequested }
        }
        do {
            return try reader.next().map { .run($0) } ?? .end
        } catch let error as ArchiveError {
            return .lost(reader.losses(to: reader.header.layers.count, 0), error)
        }
    }

    private func frame(of run: RunRecord) async throws -> AlignedBuffer? {
        guard run.frameLength > 0 else { return nil }
        let frame = try await frames.take()
        do {
            try reader.readFrame(of: run, into: frame.bytes)
        } catch {
            try await frames.give(frame)
            throw error
        }
        return frame
    }

    /// Leaves out all that is still to come of the layer, and writes down what is missing.
    mutating func pass() throws {
        while !isOver, reader.layer == layer?.index {
            guard let run = try nextRun() else { continue }
            do {
                try reader.skipFrame(of: run)
            } catch let error as ArchiveError {
                guard let log else { throw error }
                log.add(run, error)
            }
        }
    }
}

extension RecordContent.Layer {
    /// What `run` fills of the target, but for what is finished.
    func plan(_ run: RunRecord, _ header: ArchiveHeader) throws -> [Planned] {
        let described = header.layers[index]
        var planner = ChunkPlanner(
            RecordRuns(run, isRaw: described.isRaw), run.range, length: described.guestLength, scope,
            segmentLength: segmentLength, finished: finished)
        var planned: [Planned] = []
        while let next = try planner.next() { planned.append(next) }
        return planned
    }
}

/// A record as it was read, and what is to be done with it: stage one of verified content.
struct StoredRecord: ContentPortion {
    let run: RunRecord
    /// The frame as stored, not looked at yet; nil where the record has none.
    let frame: AlignedBuffer?
    /// Chunks and spans of the target that it fills.
    let planned: [Planned]

    var weight: Int { max(run.contentLength, planned.count << 10, 1) }
    var readLength: Int { run.frameLength }
}

/// Decompresses and checks records, one at a time.
struct RecordContentReader: ContentReader {
    private let opener: RecordOpener
    private let header: ArchiveHeader
    private let log: DamageLog?
    private let frames: BufferPool
    private let progress: Progress
    /// nil where records are only checked.
    private let layer: RecordContent.Layer?
    /// What the record that is open holds.
    private var content = UnsafeRawBufferPointer(start: nil, count: 0)

    init(
        _ reader: ArchiveReader, _ layer: RecordContent.Layer?, log: DamageLog?,
        references: (any ReferenceSource)?, frames: BufferPool, progress: Progress
    ) throws {
        opener = try RecordOpener(reader.format, references)
        (header, self.layer, self.log, self.frames, self.progress) = (
            reader.header, layer, log, frames, progress
        )
    }

    mutating func open(_ record: StoredRecord) throws -> [Planned] {
        let run = record.run
        guard record.frame != nil || run.frameLength == 0 else { return record.planned }
        var planned = record.planned
        do {
            let frame = record.frame.map { UnsafeRawBufferPointer(rebasing: $0.bytes[..<run.frameLength]) }
            let opened = try opener.open(run, frame ?? UnsafeRawBufferPointer(start: nil, count: 0))
            content = opened.bytes
            if let first = opened.lost.first {
                guard let log else { throw ArchiveError(.damaged, "\(first.reason)") }
                for (part, reason) in opened.lost {
                    log.add(ArchiveReader.Loss(layer: run.layer, range: part.start..<part.end), "\(reason)")
                }
                planned = try layer?.plan(run.holding(opened.runs), header) ?? []
            }
        } catch let error as ArchiveError {
            guard let log else {
                let loss = ArchiveReader.Loss(layer: run.layer, range: run.range)
                throw ArchiveError(error.kind, "\(header.describe(loss)): \(error)")
            }
            log.add(run, error)
            return record.planned.map { $0.holdingNothing(in: layer?.scope ?? .everything(marks: false)) }
        }
        progress.add(
            covered: layer == nil ? run.range.upperBound - run.range.lowerBound : 0, read: run.frameLength)
        return planned
    }

    func bytes(of chunk: Chunk, in window: AlignedBuffer, mustMove: Bool) -> UnsafeRawBufferPointer {
        if !mustMove, chunk.runs.count == 1, chunk.runs[0].length == chunk.length {
            let start = Int(chunk.runs[0].offset)
            return UnsafeRawBufferPointer(rebasing: content[start..<start + chunk.length])
        }
        let bytes = UnsafeMutableRawBufferPointer(rebasing: window.bytes[..<chunk.length])
        var covered = 0
        for run in chunk.runs {
            if run.position > covered { memset(bytes.baseAddress! + covered, 0, run.position - covered) }
            memcpy(bytes.baseAddress! + run.position, content.baseAddress! + Int(run.offset), run.length)
            covered = run.position + run.length
        }
        if covered < chunk.length { memset(bytes.baseAddress! + covered, 0, chunk.length - covered) }
        return UnsafeRawBufferPointer(bytes)
    }

    func close(_ record: StoredRecord) async throws {
        if let frame = record.frame { try await frames.give(frame) }
    }
}

extension Planned {
    /// The same stretch of a target that holds nothing there: its records are lost.
    fileprivate func holdingNothing(in scope: CopyScope) -> Planned {
        switch self {
        case .chunk(let chunk):
            .chunk(Chunk(segment: chunk.segment, start: chunk.start, length: chunk.length))
        case .span(let span):
            .span(EmptyRun(start: span.start, length: span.length, isHeld: !scope.isOverlay))
        case .known: self
        }
    }
}

extension RunRecord {
    /// The same stretch that holds no more than `runs`.
    fileprivate func holding(_ runs: [Run]) -> RunRecord {
        RunRecord(
            layer: layer, range: range, runs: runs, contentLength: contentLength, frameLength: frameLength,
            frameDigest: frameDigest, contentDigest: contentDigest)
    }
}
