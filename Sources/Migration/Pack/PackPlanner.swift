internal import DiskImages
internal import Linux
internal import TransportArchive

/// A layer as it is packed: what is read, and which of it the archive holds.
struct PackSource: Sendable {
    /// The layer alone, or the whole chain where it is flattened.
    let chain: ImageChain
    let holding: CopyScope
    /// What of it the parent has; nil where there is none, or no such layer.
    var inherited: InheritedContent? = nil

    /// Whether nothing of it is read or stored.
    var isInherited: Bool { if case .whole? = inherited { true } else { false } }
    /// The part of the disk that the archive has records of.
    var recordedLength: UInt64 { isInherited ? 0 : chain.guestLength }

    var isRaw: Bool { holding == .everything(marks: false) }
}

/// A stretch of one layer that becomes one record, or a part of one: whole chunks of guest disk of
/// which the layer holds at most one chunk, or more where that is known to be zeros.
struct PackChunk: Sendable {
    /// Its place in the order of all chunks, from 0.
    var number: UInt64 = 0
    let layer: Int
    var range: Range<UInt64>
    /// What the layer holds: its bytes one behind the other are what is looked at.
    var held: [Range<UInt64>] = []
    var heldLength: UInt64 = 0
    /// Where those bytes are data; everywhere else they are zeros.
    var reads: [ReadRun] = []

    var readLength: Int { reads.reduce(0) { $0 + $1.length } }
}

/// Gathers what a layer holds into records. The cut follows from bitmaps and the disk's chunks
/// alone: it is the same whether zeros are holes, were written, or are extents that nobody wrote
/// to, of which a file system says now one and now the other.
struct PackPlanner: Sendable {
    private let source: PackSource
    private let layer: Int
    private let length: UInt64
    /// Whether zeros are packed as data.
    private let keepsZeros: Bool
    private var runs: TargetRuns
    private var run: TargetRun?
    private var position: UInt64
    /// A chunk that did not fit the record before.
    private var pending: PackChunk?

    /// Begins at `start`, where a record begins.
    init(_ source: PackSource, layer: Int, from start: UInt64 = 0, keepsZeros: Bool) {
        self.source = source
        self.layer = layer
        self.keepsZeros = keepsZeros
        length = source.chain.guestLength
        position = start
        runs = TargetRuns(source.chain, source.holding, from: start)
    }

    /// The next record's stretch; nil at the end of the layer.
    mutating func next() throws -> PackChunk? {
        guard var chunk = try nextWindow() else { return nil }
        while let window = try nextWindow() {
            // A long stretch of zeros is more than fits, but then counts as the chunk that would be
            // the last of it if somebody had written them.
            let fits =
                chunk.heldLength == 0 || window.heldLength == 0
                || chunk.heldLength + window.heldLength <= RunRecord.longestContent
                    && chunk.lastSegment == window.firstSegment
            guard fits else {
                pending = window
                break
            }
            chunk.append(window)
        }
        return chunk
    }

    /// One chunk of guest disk, or more of them where nothing is to be read.
    private mutating func nextWindow() throws -> PackChunk? {
        if let window = pending {
            pending = nil
            return window
        }
        guard position < length else { return nil }
        let chunk = UInt64(Limits.chunk)
        var end = min((position / chunk + 1) * chunk, length)
        let first = try run(at: position)
        if isPassedOver(first), first.end > end {
            end = first.end >= length ? length : first.end / chunk * chunk
        }
        var window = PackChunk(layer: layer, range: position..<end)
        while position < end {
            let run = try run(at: position)
            let stop = min(run.end, end)
            if let read = run.read(position..<stop, to: Int(window.heldLength)) { window.reads.append(read) }
            if run.kind != .backing { window.hold(position..<stop) }
            position = stop
        }
        return window
    }

    /// Whether a run is known to have no data.
    private func isPassedOver(_ run: TargetRun) -> Bool {
        switch run.kind {
        case .data: false
        case .zero: !keepsZeros
        case .backing: true
        }
    }

    private mutating func run(at position: UInt64) throws -> TargetRun {
        while true {
            if let run, run.end > position { return run }
            guard let next = try runs.next() else {
                throw MigrationError(.bug, "the block status ends before the disk does")
            }
            run = next
        }
    }
}

extension TargetRun {
    var isData: Bool {
        if case .data = kind { true } else { false }
    }
}

extension PackChunk {
    /// Cuts begin anew with every such stretch of a disk: what is added to one moves no cut of the
    /// next.
    static let segment: UInt64 = 64 << 20

    /// The segments in which what is held begins and ends.
    fileprivate var firstSegment: UInt64? { held.first.map { $0.lowerBound / PackChunk.segment } }
    fileprivate var lastSegment: UInt64? { held.last.map { ($0.upperBound - 1) / PackChunk.segment } }

    /// Adds what is held at or behind the end of what there is.
    fileprivate mutating func hold(_ range: Range<UInt64>) {
        if let last = held.last, last.upperBound == range.lowerBound {
            held[held.count - 1] = last.lowerBound..<range.upperBound
        } else {
            held.append(range)
        }
        heldLength += range.upperBound - range.lowerBound
    }

    fileprivate mutating func append(_ next: PackChunk) {
        range = range.lowerBound..<next.range.upperBound
        for read in next.reads {
            reads.append(read.moved(by: Int(heldLength)))
        }
        for range in next.held { hold(range) }
    }
}

extension [RunRecord.Run] {
    /// Adds a run; one that goes on where the last one of its kind ended becomes part of it.
    mutating func append(seamless run: RunRecord.Run) {
        if let last, last.goesOn(in: run) {
            self[count - 1] = RunRecord.Run(start: last.start, end: run.end, kind: last.kind)
        } else {
            append(run)
        }
    }
}
