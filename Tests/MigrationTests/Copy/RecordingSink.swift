import DiskImages
import SystemPackage
import TestSupport
import Testing

@testable import Linux
@testable import Manifests
@testable import Migration
@testable import Stages

/// A sink that notes what is asked of it and passes it on; `before` may throw instead.
final class RecordingSink: PlacedSink {
    private let inner: any PlacedSink
    private let before: @Sendable (String) throws -> Void
    private let noted = Locked<[String]>([])

    init(_ inner: any PlacedSink, before: @escaping @Sendable (String) throws -> Void = { _ in }) {
        self.inner = inner
        self.before = before
    }

    /// What was asked for, in order: `write 0+4096`, `mark 0: 3 255`, `mark all 0..<8192`, `clear
    /// 0..<8192`, `prepare`. Bytes of guest disk.
    var requests: [String] { noted.withLock { $0 } }

    var file: TargetFile { inner.file }

    private func note(_ request: String) throws {
        try before(request)
        noted.withLock { $0.append(request) }
    }

    func prepare() throws {
        try note("prepare")
        try inner.prepare()
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws {
        try note("write \(offset)+\(bytes.count)")
        try inner.write(bytes, at: offset)
    }

    func mark(_ bitmap: UnsafeRawBufferPointer, at offset: UInt64) throws {
        let last = bitmap.lastIndex { $0 != 0 } ?? -1
        try note("mark \(offset): \(bitmap[...last].map { "\($0)" }.joined(separator: " "))")
        try inner.mark(bitmap, at: offset)
    }

    func markAll(_ range: Range<UInt64>) throws {
        try note("mark all \(range)")
        try inner.markAll(range)
    }

    func clear(_ range: Range<UInt64>) throws {
        try note("clear \(range)")
        try inner.clear(range)
    }

    func fileOffset(of offset: UInt64) -> UInt64 { inner.fileOffset(of: offset) }
}

/// A chain on its way through the pipeline into a recording sink.
struct RecordedMove {
    let chain: ImageChain
    let sink: RecordingSink
    let manifest: ManifestFile
    let holding: CopyScope
    var shortestZeroRun = 4096
    var workers = 1
    var finished: [Range<UInt64>] = []
    let stop = StopFlag()

    /// Moves `source` to the raw image `out`, both in `directory`.
    init(
        _ directory: TemporaryDirectory, _ source: String, _ holding: CopyScope = .everything(marks: false),
        before: @escaping @Sendable (String) throws -> Void = { _ in }
    ) throws {
        chain = try ImageChain.open(directory(source), ChainOptions(location: try BackingLocation()))
        self.holding = holding
        let inner = RawSink(
            file: try TargetFile(staging: FilePlace(at: directory("out"))), length: chain.guestLength)
        try inner.prepare()
        sink = RecordingSink(inner, before: before)
        manifest = try ManifestFile(of: directory("out"))
        try manifest.begin(
            try #require(
                try ManifestContents(
                    parsing: ManifestText.bytes([ManifestText.job(length: chain.guestLength)]),
                    path: ManifestText.path
                ).job))
    }

    /// Does it; returns the segments that were recorded.
    func run(checkSources: @escaping @Sendable () throws -> Void = {}) async throws -> [ManifestSegment] {
        let options = MoveOptions(workers: WorkerSlots(limit: workers), stop: stop)
        let content = ChainContent(
            chain, holding, segmentLength: 1 << 20, shortestZeroRun: shortestZeroRun, finished: finished,
            progress: options.progress)
        return try await CopyPipeline(content, options).copy(
            to: sink, recordingIn: manifest, checkSources: checkSources)
    }
}
