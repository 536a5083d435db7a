package import DiskImages
internal import Linux
internal import Manifests

/// Cuts a chain's block status into chunks and spans, in the disk's order, without reading data.
///
/// The cut depends on the chain and the segment size alone: whole segments of one kind without data
/// become one span, everything else becomes chunks, segment by segment. What is recorded as
/// finished is left out.
package struct ChunkPlanner<Source: TargetRunSource>: Sendable {
    /// The whole disk's length.
    private let length: UInt64
    /// Where planning ends: the disk's length, or a multiple of `Limits.chunk`.
    private let end: UInt64
    private let segmentLength: UInt64
    private let holding: CopyScope
    private let writesZeros: Bool
    private let finished: [Range<UInt64>]
    private var runs: Source
    private var run: TargetRun?
    private var position: UInt64
    private var nextFinished = 0

    /// Plans `range` of a disk of `length` bytes; `runs` cover it. `finished` are whole segments or
    /// spans, in order, not overlapping. `writesZeros`: zeros that are held are written too.
    init(
        _ runs: Source, _ range: Range<UInt64>, length: UInt64, _ holding: CopyScope, segmentLength: UInt64,
        writesZeros: Bool = false,
        finished: [Range<UInt64>]
    ) {
        self.runs = runs
        self.length = length
        end = range.upperBound
        position = range.lowerBound
        self.segmentLength = segmentLength
        self.holding = holding
        self.writesZeros = writesZeros
        self.finished = finished
    }

    /// The next chunk or span; nil when all is planned.
    package mutating func next() throws -> Planned? {
        while nextFinished < finished.count, finished[nextFinished].lowerBound <= position {
            position = max(position, finished[nextFinished].upperBound)
            nextFinished += 1
        }
        guard position < end else { return nil }
        let run = try run(at: position)
        if position % segmentLength == 0, let span = span(in: run) {
            position += span.length
            return .span(span)
        }
        let segmentStart = position / segmentLength * segmentLength
        let segment = Segment(start: segmentStart, length: min(segmentLength, length - segmentStart))
        return .chunk(try chunk(of: segment))
    }

    /// The run that covers `position`.
    private mutating func run(at position: UInt64) throws -> TargetRun {
        while true {
            if let run, run.end > position { return run }
            guard let next = try runs.next() else {
                throw MigrationError(.bug, "the block status ends before the disk does")
            }
            run = next
        }
    }

    private func span(in run: TargetRun) -> EmptyRun? {
        let isHeld: Bool
        switch run.kind {
        case .data: return nil
        case .zero where writesZeros || holding.comparedWith != nil: return nil
        case .zero: isHeld = true
        case .backing: isHeld = false
        }
        var stop = run.end >= length ? length : min(run.end, end) / segmentLength * segmentLength
        if nextFinished < finished.count { stop = min(stop, finished[nextFinished].lowerBound) }
        return stop > position ? EmptyRun(start: position, length: stop - position, isHeld: isHeld) : nil
    }

    private mutating func chunk(of segment: Segment) throws -> Chunk {
        let end = min(position + UInt64(Limits.chunk), segment.end)
        var chunk = Chunk(segment: segment, start: position, length: Int(end - position))
        while position < end {
            let run = try run(at: position)
            let stop = min(run.end, end)
            let range = Int(position - chunk.start)..<Int(stop - chunk.start)
            switch run.kind {
            case .data:
                if let read = run.read(position..<stop, to: range.lowerBound) { chunk.runs.append(read) }
                chunk.written.extend(by: range)
                if marks { chunk.marked.extend(by: range) }
            case .zero:
                if writesZeros { chunk.written.extend(by: range) }
                if marks, writesZeros || holding.isOverlay { chunk.marked.extend(by: range) }
            case .backing: break
            }
            position = stop
        }
        if holding.comparedWith != nil { chunk.comparedLength = chunk.marked.reduce(0) { $0 + $1.count } }
        return chunk
    }

    private var marks: Bool { holding != .everything(marks: false) }
}

extension ChunkPlanner<TargetRuns> {
    /// Plans a whole chain's disk.
    package init(
        _ chain: ImageChain, _ holding: CopyScope, segmentLength: UInt64, writesZeros: Bool = false,
        finished: [Range<UInt64>] = []
    ) {
        self.init(
            TargetRuns(chain, holding), 0..<chain.guestLength, length: chain.guestLength, holding,
            segmentLength: segmentLength,
            writesZeros: writesZeros, finished: finished)
    }
}

extension [Range<Int>] {
    /// Adds a range that begins at or after the last one's end.
    mutating func extend(by range: Range<Int>) {
        if let last, last.upperBound == range.lowerBound {
            self[count - 1] = last.lowerBound..<range.upperBound
        } else {
            append(range)
        }
    }
}
