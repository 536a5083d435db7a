internal import Glibc
internal import ImageFormats

/// Compares what two chains show a guest, from the first byte on; what a chain lacks at its end
/// reads as zeros.
///
/// Only what may differ is read: not what both chains know to be zero, and not what both take from
/// one place of one file. Holds a window of each side, whatever the disks' sizes.
package struct ChainComparison {
    /// What a step found. Offsets are bytes of guest disk.
    package enum Step: Equatable, Sendable {
        /// No difference up to `end`, which is where the next step begins.
        case same(end: UInt64)
        /// The first sector that differs begins at `offset`.
        case different(offset: UInt64)
    }

    /// Bytes of guest disk that are read and compared at a time.
    private static let windowLength: UInt64 = 1 << 20
    /// A stretch of this length that need not be compared ends the window: going on behind it is
    /// cheaper than filling it with zeros.
    private static let longestSkipInWindow: UInt64 = 64 << 10

    private var a: ComparedSide
    private var b: ComparedSide
    private let length: UInt64
    private var position: UInt64 = 0

    /// Compares the first `length` bytes of both guest disks. Throws where there is no memory for
    /// the windows.
    package init(_ a: ImageChain, _ b: ImageChain, length: UInt64) throws {
        self.a = try ComparedSide(a, windowLength: Int(ChainComparison.windowLength))
        self.b = try ComparedSide(b, windowLength: Int(ChainComparison.windowLength))
        self.length = length
    }

    /// Where the first sector that differs within the first `length` bytes begins, or nil where
    /// there is none.
    package static func firstDifference(
        _ a: ImageChain, _ b: ImageChain, length: UInt64, isStopped: () -> Bool = { false }
    ) throws -> UInt64? {
        var comparison = try ChainComparison(a, b, length: length)
        while let step = try comparison.next() {
            if isStopped() {
                throw DiskImageError(.stopped, a.top.path, "stopped by a signal (run the same command again)")
            }
            if case .different(let offset) = step { return offset }
        }
        return nil
    }

    /// Compares the next window at most; nil at the end. Not to be asked again once it found a
    /// difference.
    package mutating func next() throws -> Step? {
        guard position < length else { return nil }
        let window = try planWindow()
        guard !window.isEmpty else { return .same(end: position) }
        let count = Int(window.upperBound - window.lowerBound)
        let found = (try a.read(count), try b.read(count))
        guard let index = ChainComparison.firstDifferingSector(found.0, found.1) else {
            return .same(end: position)
        }
        return .different(offset: window.lowerBound + UInt64(index))
    }

    /// Walks on and collects what is to be read; the range may be empty where nothing was left to
    /// compare.
    private mutating func planWindow() throws -> Range<UInt64> {
        var start = position
        a.runs.removeAll(keepingCapacity: true)
        b.runs.removeAll(keepingCapacity: true)
        while position < length {
            let limit = min(length, start + ChainComparison.windowLength)
            guard position < limit else { break }
            let (inA, inB) = (
                try a.extent(at: position, upTo: length), try b.extent(at: position, upTo: length)
            )
            let end = min(inA.end, inB.end)
            if (inA.isZero && inB.isZero) || isSameSource(inA, inB) {
                let isWindowOpen = !(a.runs.isEmpty && b.runs.isEmpty)
                if isWindowOpen, end - position >= ChainComparison.longestSkipInWindow { break }
                position = isWindowOpen ? min(end, limit) : end
                if !isWindowOpen { start = position }
            } else {
                let stretch = position..<min(end, limit)
                a.add(inA.clipped(to: stretch), at: Int(position - start))
                b.add(inB.clipped(to: stretch), at: Int(position - start))
                position = stretch.upperBound
            }
        }
        return start..<position
    }

    /// Whether both take their data from the same place of the same file.
    private func isSameSource(_ inA: Extent, _ inB: Extent) -> Bool {
        guard case .data(let offsetInA) = inA.content, case .data(let offsetInB) = inB.content,
            offsetInA == offsetInB
        else { return false }
        return a.file(of: inA).isSameFile(as: b.file(of: inB))
    }

    private static func firstDifferingSector(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Int?
    {
        guard let firstA = a.baseAddress, let firstB = b.baseAddress, memcmp(firstA, firstB, a.count) != 0
        else { return nil }
        return stride(from: 0, to: a.count, by: Int(sectorSize)).first {
            memcmp(firstA + $0, firstB + $0, min(Int(sectorSize), a.count - $0)) != 0
        }
    }
}

/// One of the two chains, where its walk is, and its window.
private struct ComparedSide {
    private let chain: ImageChain
    private let reader: ChunkReader
    private let buffer: AlignedBuffer
    private var status: BlockStatus
    private var current: Extent?
    /// What to read into the window.
    var runs: [ReadRun] = []

    init(_ chain: ImageChain, windowLength: Int) throws {
        self.chain = chain
        reader = try ChunkReader(chain.layers)
        buffer = try AlignedBuffer(capacity: windowLength)
        status = BlockStatus(of: chain)
    }

    /// What the chain has from `position` on, up to `end` at most; positions never go back.
    mutating func extent(at position: UInt64, upTo end: UInt64) throws -> Extent {
        while position < chain.guestLength, position >= current?.end ?? 0 { current = try status.next() }
        guard position < chain.guestLength, let current else {
            return Extent(start: position, length: end - position, depth: 0, content: .absent)
        }
        return current.clipped(to: position..<end)
    }

    /// Notes that `extent` is to be read to `position` of the window, unless it is zeros.
    mutating func add(_ extent: Extent, at position: Int) {
        if let run = extent.read(to: position) { runs.append(run) }
    }

    func file(of extent: Extent) -> FileIdentity { chain.layers[extent.depth].file.identity }

    /// The first `count` bytes of the window, read.
    func read(_ count: Int) throws -> UnsafeRawBufferPointer {
        let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<count])
        try reader.read(runs, into: bytes)
        return UnsafeRawBufferPointer(bytes)
    }
}
