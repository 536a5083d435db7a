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
    /// What need not be read.
    private var known: KnownBottom? = nil

    /// Plans `range` of a disk of `length` bytes; `runs` cover it. `finished` are whole segments or
    /// spans, in order, not overlapping. `writesZeros`: zeros that are held are written too.
    init(
        _ runs: Source, _ range: Range<UInt64>, length: UInt64, _ holding: CopyScope, segmentLength: UInt64,
        writesZeros: Bool = false, finished: [Range<UInt64>]
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
        if let stretch = try knownStretch() {
            position = stretch.range.upperBound
            return .known(stretch)
        }
        return .chunk(try chunk(of: segment(at: position)))
    }

    private func segment(at position: UInt64) -> Segment {
        let start = position / segmentLength * segmentLength
        return Segment(start: start, length: min(segmentLength, length - start))
    }

    /// As many whole segments as are the bottom layer's alone and known, or else such chunks of
    /// one.
    private mutating func knownStretch() throws -> KnownStretch? {
        guard let ownEnd = try known?.end(at: position), let known else { return nil }
        let stop = nextFinished < finished.count ? min(end, finished[nextFinished].lowerBound) : end
        var (done, runs): ([Finished], [TargetRun]) = ([], [])
        var reached = position
        while reached < stop, reached % segmentLength == 0, runs.count < Limits.knownRuns {
            let segment = segment(at: reached)
            guard segment.end <= min(ownEnd, stop), let outcome = known.digests.outcome(of: segment) else {
                break
            }
            done.append(Finished(.whole(segment.range, outcome)))
            try collect(&runs, reached..<segment.end)
            reached = segment.end
        }
        if done.isEmpty {
            let segment = segment(at: position)
            let chunks = known.chunks(of: segment, from: position, upTo: min(ownEnd, stop))
            reached = chunks.end
            done = chunks.finished
            try collect(&runs, position..<reached)
        }
        guard !done.isEmpty else { return nil }
        return KnownStretch(
            range: position..<reached, finished: done, layer: known.layer, runs: runs, length: length,
            segmentLength: segmentLength)
    }

    /// Adds the runs of `range`, the first of which is the present one.
    private mutating func collect(_ runs: inout [TargetRun], _ range: Range<UInt64>) throws {
        var position = range.lowerBound
        while position < range.upperBound {
            let part = try run(at: position).clipped(to: position..<range.upperBound)
            runs.append(part)
            position = part.end
        }
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
        finished: [Range<UInt64>] = [], known: KnownDigests? = nil
    ) {
        self.init(
            TargetRuns(chain, holding), 0..<chain.guestLength, length: chain.guestLength, holding,
            segmentLength: segmentLength,
            writesZeros: writesZeros, finished: finished)
        // A bitmap tells data from zeros, for which it must be read.
        self.known = known.flatMap {
            holding == .everything(marks: false) && !writesZeros ? KnownBottom(chain, $0) : nil
        }
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
