internal import DiskImages
internal import TransportArchive

/// A layer as it is packed: what is read, and which of it the archive holds.
struct PackSource: Sendable {
    /// The layer alone, or the whole chain where it is flattened.
    let chain: ImageChain
    let holding: Holding

    var isRaw: Bool { holding == .everything(marks: false) }
}

/// A stretch of one layer that becomes one record: whole chunks of guest disk whose data fits one frame.
struct PackChunk: Sendable {
    let sequence: UInt64
    let layer: Int
    var range: Range<UInt64>
    /// What is read, one piece behind the other: the content.
    var reads: [ReadRun] = []
    /// What is allocated: data runs in the order of the content, and runs known to be zero.
    var runs: [RunRecord.Run] = []
    var contentLength = 0
}

/// Gathers a layer's runs into records. The cut follows from bitmaps, holes and the disk's chunks alone, so the same layer gives the same records.
struct PackPlanner: Sendable {
    /// Runs of one record before zeros are found in its data.
    private static let mostRuns = 4096

    private let source: PackSource
    private let layer: Int
    private let length: UInt64
    private var sequence: UInt64
    private var runs: HeldRuns
    private var run: HeldRun?
    private var position: UInt64 = 0
    /// A chunk that did not fit the record before.
    private var pending: PackChunk?

    init(_ source: PackSource, layer: Int, sequence: UInt64) {
        self.source = source
        self.layer = layer
        self.sequence = sequence
        length = source.chain.guestLength
        runs = HeldRuns(source.chain, source.holding)
    }

    /// The next record's stretch; nil at the end of the layer.
    mutating func next() throws -> PackChunk? {
        var chunk: PackChunk?
        while let window = try nextWindow() {
            guard let current = chunk else {
                chunk = window
                continue
            }
            guard current.contentLength + window.contentLength <= RunRecord.longestContent,
                current.runs.count + window.runs.count <= PackPlanner.mostRuns
            else {
                pending = window
                break
            }
            chunk?.append(window)
        }
        guard let chunk else { return nil }
        defer { sequence += 1 }
        return PackChunk(
            sequence: sequence, layer: layer, range: chunk.range, reads: chunk.reads, runs: chunk.runs, contentLength: chunk.contentLength)
    }

    /// One chunk of guest disk, or more of them where nothing is to be read.
    private mutating func nextWindow() throws -> PackChunk? {
        if let window = pending {
            pending = nil
            return window
        }
        guard position < length else { return nil }
        let chunk = UInt64(Bounds.chunk)
        var end = min((position / chunk + 1) * chunk, length)
        let first = try run(at: position)
        if !first.isData, first.end > end { end = first.end >= length ? length : first.end / chunk * chunk }
        var window = PackChunk(sequence: 0, layer: layer, range: position..<end)
        while position < end {
            let run = try run(at: position)
            let stop = min(run.end, end)
            switch run.kind {
            case .data(let depth, let offset):
                window.reads.append(
                    ReadRun(
                        layer: depth, offset: offset + (position - run.start), position: window.contentLength, length: Int(stop - position))
                )
                window.contentLength += Int(stop - position)
                window.add(RunRecord.Run(start: position, end: stop, isZero: false))
            case .zero where !source.isRaw: window.add(RunRecord.Run(start: position, end: stop, isZero: true))
            case .zero, .backing: break
            }
            position = stop
        }
        return window
    }

    private mutating func run(at position: UInt64) throws -> HeldRun {
        while true {
            if let run, run.end > position { return run }
            guard let next = try runs.next() else { throw MigrationError(.bug, "the block status ends before the disk does") }
            run = next
        }
    }
}

extension HeldRun {
    var isData: Bool {
        if case .data = kind { true } else { false }
    }
}

extension PackChunk {
    /// Adds a run that begins at or after the last one's end.
    mutating func add(_ run: RunRecord.Run) { runs.append(seamless: run) }

    fileprivate mutating func append(_ next: PackChunk) {
        range = range.lowerBound..<next.range.upperBound
        for read in next.reads {
            reads.append(ReadRun(layer: read.layer, offset: read.offset, position: contentLength + read.position, length: read.length))
        }
        for run in next.runs { add(run) }
        contentLength += next.contentLength
    }
}

extension [RunRecord.Run] {
    /// Adds a run; one that goes on where the last one of its kind ended becomes part of it.
    mutating func append(seamless run: RunRecord.Run) {
        if let last, last.end == run.start, last.isZero == run.isZero {
            self[count - 1] = RunRecord.Run(start: last.start, end: run.end, isZero: run.isZero)
        } else {
            append(run)
        }
    }
}
