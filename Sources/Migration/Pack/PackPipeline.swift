internal import DiskImages
internal import Linux
internal import Manifests
internal import Stages
internal import TransportArchive

/// Where an archive goes.
enum PackOutput: Sendable {
    case file(TargetFile)
    case pipe(PipeWriter)
    /// Nobody wants its bytes, only its digests.
    case nowhere

    var file: TargetFile? {
        if case .file(let file) = self { file } else { nil }
    }

    /// Writes `bytes`, which follow what was written before and begin at `offset` of the archive.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws {
        switch self {
        case .file(let file): try file.write(bytes, at: offset)
        case .pipe(let pipe): try pipe.write(bytes)
        case .nowhere: break
        }
    }
}

/// pack: plan → read, take out zeros, compress → write in order → sync and record.
struct PackPipeline: Sendable {
    let sources: [PackSource]
    let compression: Compression
    let shortestZeroRun: Int
    /// What is stored already; nil where nothing is referred to.
    let shared: Locked<SharedContent>?
    private let turns = Turns()
    let segmentLength: UInt64
    /// Whether a source that changes is an error.
    let isConsistent: Bool
    let options: MoveOptions

    private struct Job: Sendable {
        let chunk: PackChunk
        let frame: AlignedBuffer
    }

    /// Packs everything that `composer` has not had yet. Returns the composer as it is then; ends
    /// early, without error, when `stop` is requested.
    func pack(_ composer: ArchiveComposer, to output: PackOutput, recordingIn manifest: ManifestFile?)
        async throws -> ArchiveComposer
    {
        let files = sources.flatMap { $0.chain.layers.map(\.file) }
        // What later layers share is read again, to be compared: where nobody is pushed out by it,
        // it stays until then.
        let isRoom = shared != nil && files.reduce(0) { $0 &+ $1.identity.allocated } < FreeMemory.bytes / 2
        let staying = isRoom && !options.keepsCache ? files : []
        for file in staying { file.rememberCached() }
        defer { for file in staying { file.forgetCached() } }
        if staying.isEmpty { options.passCache(files) }
        let planned = BoundedChannel<Job>(limit: Limits.planned)
        let packed = BoundedChannel<PackedFrame>(limit: 2 * options.workers.limit + 2)
        let checkpoints = BoundedChannel<ArchiveManifest.Checkpoint>(limit: 4)
        let frames = try await BufferPool(count: 2 * options.workers.limit + 2, capacity: FrameFormat.longest)
        let end = Locked(composer)
        try await stages { group in
            try group.addStage { try await plan(from: composer.place, into: planned, frames) }
            try group.addStage { try await work(planned, into: packed) }
            try group.addStage {
                let written = try await write(packed, composer, to: output, frames, checkpoints)
                end.withLock { $0 = written }
            }
            try group.addStage { try await record(checkpoints, output, manifest) }
        }
        return end.withLock(\.self)
    }

    /// Layer after layer, in the disk's order. Frames are taken here, in the order they are written
    /// in: no worker can hold one that the writer waits for.
    private func plan(
        from start: ArchiveComposer.Place, into planned: BoundedChannel<Job>, _ frames: BufferPool
    ) async throws {
        var number: UInt64 = 0
        try resume(to: start)
        for (layer, source) in sources.enumerated() where layer >= start.layer && !source.isInherited {
            let position = layer == start.layer ? start.position : 0
            var planner = PackPlanner(source, layer: layer, from: position, keepsZeros: shortestZeroRun == 0)
            while !options.stop.isRequested, var chunk = try planner.next() {
                chunk.number = number
                number += 1
                try options.rate?.wait(for: chunk.readLength, options.stop)
                if options.stop.isRequested { break }
                let weight = chunk.reads.isEmpty ? 1 : Int(chunk.heldLength)
                try await planned.send(Job(chunk: chunk, frame: try await frames.take()), weight: weight)
            }
        }
        planned.finish()
    }

    /// Counts what an earlier run packed.
    private func resume(to start: ArchiveComposer.Place) throws {
        for (layer, source) in sources.enumerated() where layer <= start.layer {
            let end = layer < start.layer ? source.recordedLength : start.position
            guard end > 0 else { continue }
            let read =
                options.progress.isShown
                ? try source.chain.countData(source.holding, in: [0..<end]).within : 0
            options.progress.resume(end, read: Int(clamping: read))
        }
    }

    private func work(_ planned: BoundedChannel<Job>, into packed: BoundedChannel<PackedFrame>) async throws {
        try await Workers.work(options.workers) {
            var packer = try ChunkPacker(sources, compression, shortestZeroRun: shortestZeroRun)
            let comparison = try ParentComparison()
            while let job = try await planned.receive() {
                let content = try packer.read(job.chunk)
                let runs = try await runs(of: content, comparison)
                let frame = try packer.pack(content, as: runs, into: job.frame)
                options.progress.add(
                    covered: job.chunk.range.upperBound - job.chunk.range.lowerBound,
                    read: job.chunk.readLength,
                    written: frame.run.frameLength)
                try await packed.send(frame)
            }
        }
        packed.finish()
    }

    /// The runs of what was read, in the order of all chunks: what is found depends on what was
    /// before.
    private func runs(of content: ReadContent, _ comparison: ParentComparison) async throws -> [RunRecord.Run]
    {
        let bytes = UnsafeRawBufferPointer(content.bytes)
        var runs = content.runs
        if case .equal(let archive, let layer)? = sources[content.chunk.layer].inherited {
            runs = try comparison.inherit(runs, bytes, from: archive, layer)
        }
        guard let shared else { return runs }
        let fingerprints = SharedContent.fingerprints(runs, bytes)
        return try await turns.take(content.chunk.number) {
            try shared.withLock { try $0.match(content.chunk.layer, runs, bytes, fingerprints) }
        }
    }

    /// Writes frames in their order, whatever order they come in, and says how far the archive is
    /// after each segment.
    private func write(
        _ packed: BoundedChannel<PackedFrame>, _ composer: ArchiveComposer, to output: PackOutput,
        _ frames: BufferPool,
        _ checkpoints: BoundedChannel<ArchiveManifest.Checkpoint>
    ) async throws -> ArchiveComposer {
        var composer = composer
        var early: [UInt64: PackedFrame] = [:]
        var number: UInt64 = 0
        var joiner = RecordJoiner()
        var recorded = composer.offset
        var layer = -1
        while let next = try await packed.receive() {
            early[next.number] = next
            while let frame = early.removeValue(forKey: number) {
                number += 1
                if frame.run.layer != layer {
                    // All of the layer before was read.
                    if layer >= 0, isConsistent { try sources[layer].chain.checkUnchanged() }
                    layer = frame.run.layer
                }
                composer.add(frame.windows, of: layer)
                for run in joiner.add(
                    frame.run, isLast: frame.run.range.upperBound == sources[layer].chain.guestLength)
                {
                    try write(run, frame.frame, &composer, to: output)
                }
                try FailPoint.written.pass()
                try await frames.give(frame.frame)
                if composer.offset - recorded >= segmentLength {
                    if isConsistent { try sources[layer].chain.checkUnchanged() }
                    try await checkpoints.send(
                        ArchiveManifest.Checkpoint(length: composer.offset, sequence: composer.sequence))
                    recorded = composer.offset
                }
            }
        }
        guard early.isEmpty else { throw MigrationError(.bug, "a part of the archive was left out") }
        if composer.offset > recorded {
            try await checkpoints.send(
                ArchiveManifest.Checkpoint(length: composer.offset, sequence: composer.sequence))
        }
        checkpoints.finish()
        return composer
    }

    /// Writes a record and, where it has one, its frame.
    private func write(
        _ run: RunRecord, _ frame: AlignedBuffer, _ composer: inout ArchiveComposer, to output: PackOutput
    ) throws {
        let offset = composer.offset
        let record = composer.run(run)
        try record.withUnsafeBytes { try output.write($0, at: offset) }
        guard run.frameLength > 0 else { return }
        try output.write(
            UnsafeRawBufferPointer(rebasing: frame.bytes[..<run.frameLength]),
            at: offset + UInt64(record.count))
    }

    private func record(
        _ checkpoints: BoundedChannel<ArchiveManifest.Checkpoint>, _ output: PackOutput,
        _ manifest: ManifestFile?
    ) async throws {
        var unsynced: ArchiveManifest.Checkpoint?
        // The first one is recorded at once: a run that is killed again and again gets on all the
        // same.
        var lastSync = ContinuousClock.now - Limits.syncInterval
        func synchronize() throws {
            guard let checkpoint = unsynced, let file = output.file, let manifest else { return }
            try file.synchronize()
            try FailPoint.synced.pass()
            try manifest.append(checkpoint)
            try FailPoint.recorded.pass()
            if !options.keepsCache { file.leaveCache() }
            (unsynced, lastSync) = (nil, .now)
        }
        while let checkpoint = try await checkpoints.receive() {
            // One that comes while the last is still being synced stands for those before it.
            unsynced = checkpoint
            if lastSync.duration(to: .now) >= Limits.syncInterval { try synchronize() }
        }
        try synchronize()
    }
}
