internal import DiskImages
internal import Manifests

/// A chain as content: planned from bitmaps and holes, read by the workers.
struct ChainContent: ContentSource {
    let scope: CopyScope
    let shortestZeroRun: Int
    /// Whether what cannot be read is zeros.
    var salvages = false
    private let chain: ImageChain
    private let progress: Progress
    private var planner: ChunkPlanner<TargetRuns>

    /// What `scope` says of `chain`, but for the ranges `finished`, which are in order. `known`: of
    /// its bottom layer, whose segments the target may share.
    init(
        _ chain: ImageChain, _ scope: CopyScope, segmentLength: UInt64, shortestZeroRun: Int = 4096,
        finished: [Range<UInt64>] = [], known: KnownDigests? = nil, progress: Progress
    ) {
        (self.chain, self.scope, self.progress) = (chain, scope, progress)
        self.shortestZeroRun = shortestZeroRun
        planner = ChunkPlanner(
            chain, scope, segmentLength: segmentLength, writesZeros: shortestZeroRun == 0, finished: finished,
            known: known)
    }

    var files: [ImageFile] { chain.layers.map(\.file) }

    mutating func next() throws -> Planned? { try planner.next() }

    func makeReader() throws -> ChainContentReader {
        let reader = try ChunkReader(chain.layers)
        return ChainContentReader(
            reader: reader, unreadable: salvages ? UnreadableSectors(reader) : nil, progress: progress)
    }
}

extension ImageChain {
    /// Begins to show how far a move is that reads what `scope` says of this chain, but for what
    /// was `finished` before; ranges in order. Data is counted where somebody looks.
    func begin(_ progress: Progress, named name: String, _ scope: CopyScope, finished: [Range<UInt64>])
        throws
    {
        let data = progress.isShown ? try countData(scope, in: finished) : nil
        progress.begin(
            Progress.Snapshot(
                name: name, total: data?.all, done: data?.within ?? 0, resumed: data?.within ?? 0,
                length: guestLength, covered: ManifestSegment.length(of: finished)))
    }
}

/// Reads the chunks of a chain.
struct ChainContentReader: ContentReader {
    let reader: ChunkReader
    /// nil where what cannot be read ends everything.
    let unreadable: UnreadableSectors?
    let progress: Progress

    func open(_ portion: Planned) -> [Planned] { [portion] }

    func bytes(of chunk: Chunk, in window: AlignedBuffer, mustMove: Bool) throws -> UnsafeRawBufferPointer {
        let bytes = UnsafeMutableRawBufferPointer(rebasing: window.bytes[..<chunk.length])
        if let unreadable {
            try unreadable.read(chunk, into: bytes)
        } else {
            try reader.read(chunk.runs, into: bytes)
        }
        progress.add(covered: 0, read: chunk.readLength)
        return UnsafeRawBufferPointer(bytes)
    }

    func takeLosses() -> [Range<UInt64>] { unreadable?.take() ?? [] }

    func file(of run: ReadRun) -> ImageFile? { reader.file(of: run) }

    func close(_ portion: Planned) {}
}

extension Planned: ContentPortion {
    var weight: Int {
        switch self {
        case .chunk(let chunk): chunk.length
        case .span: 1
        case .known: Limits.chunk
        }
    }

    var readLength: Int {
        switch self {
        case .chunk(let chunk): chunk.readLength + chunk.comparedLength
        case .span, .known: 0
        }
    }
}
