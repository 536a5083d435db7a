internal import DiskImages
internal import ImageFormats

/// What of a source's disk a target holds itself.
package enum CopyScope: Equatable, Sendable {
    /// Everything a guest sees, in one file. `marks`: the target has a bitmap, which marks what is
    /// data.
    case everything(marks: Bool)
    /// What the layers above `depth` hold; the rest is left to a backing file whose guest disk is
    /// `backingLength` bytes long. Pieces of `unit` bytes, whole sectors, are held whole or not at
    /// all: what the layers above hold only in part is completed from the rest.
    case above(depth: Int, backingLength: UInt64, unit: UInt64 = sectorSize)

    var isOverlay: Bool {
        if case .above = self { true } else { false }
    }
}

/// Where runs come from: a chain's block status, or the records of an archive.
package protocol TargetRunSource: Sendable {
    /// The next run; nil past the end. Runs follow one another without gaps.
    mutating func next() throws -> TargetRun?
}

/// A run of the source's disk and what becomes of it in the target. Bytes.
package struct TargetRun: Equatable, Sendable {
    package enum Kind: Equatable, Sendable {
        /// Data of a layer: of its file from `offset` on, or, where it is encoded, of its own disk.
        case data(layer: Int, offset: UInt64, isEncoded: Bool)
        /// Held by the target, known to be zero.
        case zero
        /// Left to the target's backing file.
        case backing
    }

    package var start: UInt64
    package var end: UInt64
    package var kind: Kind

    /// How `range`, a part of it of at most `Int.max` bytes, is read to `position` of a buffer; nil
    /// where there is nothing to read.
    func read(_ range: Range<UInt64>, to position: Int) -> ReadRun? {
        guard case .data(let layer, let offset, let isEncoded) = kind else { return nil }
        return ReadRun(
            layer: layer, offset: offset + (range.lowerBound - start), isEncoded: isEncoded,
            position: position, length: Int(range.upperBound - range.lowerBound))
    }
}

/// Turns a chain's block status into what becomes of it; neighbours without data are merged,
/// whatever layers they come from.
package struct TargetRuns: TargetRunSource {
    private var status: BlockStatus
    private let holding: CopyScope
    private var pending: [TargetRun] = []
    /// What is left of the last extent.
    private var rest: Extent?
    private let length: UInt64

    /// From `start` on, which is whole units.
    init(_ chain: ImageChain, _ holding: CopyScope, from start: UInt64 = 0) {
        status = BlockStatus(of: chain, from: start)
        length = chain.guestLength
        self.holding = holding
    }

    package mutating func next() throws -> TargetRun? {
        while pending.count < 2 {
            guard let runs = try nextRuns() else { break }
            for run in runs {
                if let last = pending.last, last.kind == run.kind, run.kind == .zero || run.kind == .backing {
                    pending[pending.count - 1].end = run.end
                } else {
                    pending.append(run)
                }
            }
        }
        return pending.isEmpty ? nil : pending.removeFirst()
    }

    private mutating func nextRuns() throws -> [TargetRun]? {
        guard case .above(_, _, let unit) = holding, unit > sectorSize else {
            return try status.next().map(runs)
        }
        guard let extent = try rest ?? status.next() else { return nil }
        rest = nil
        // Whole units of one extent are as they are.
        let whole = extent.end >= length ? extent.end : extent.end / unit * unit
        guard extent.start % unit != 0 || whole <= extent.start else {
            if whole < extent.end { rest = extent.clipped(to: whole..<extent.end) }
            return runs(of: extent.clipped(to: extent.start..<whole))
        }
        let end = min(extent.start / unit * unit + unit, length)
        var parts: [Extent] = []
        var next = extent
        while true {
            parts.append(next.clipped(to: next.start..<min(next.end, end)))
            if next.end > end { rest = next.clipped(to: end..<next.end) }
            guard next.end < end, let following = try status.next() else { break }
            next = following
        }
        let runs = parts.flatMap(runs)
        guard runs.contains(where: { $0.kind != .backing }) else { return runs }
        return parts.map { TargetRun($0) }
    }

    private func runs(of extent: Extent) -> [TargetRun] {
        func run(_ kind: TargetRun.Kind, _ start: UInt64, _ end: UInt64) -> TargetRun {
            TargetRun(start: start, end: end, kind: kind)
        }
        switch (holding, extent.content) {
        case (.everything, _): return [TargetRun(extent)]
        case (.above(let depth, _, _), _) where extent.depth >= depth:
            return [run(.backing, extent.start, extent.end)]
        case (.above(_, let backingLength, _), .absent):
            // A layer in between is too short and hides what the backing file has there: those
            // zeros must be held. Past the backing file's own end it reads as zeros anyway.
            let hidden = min(max(backingLength, extent.start), extent.end)
            return (hidden > extent.start ? [run(.zero, extent.start, hidden)] : [])
                + (extent.end > hidden ? [run(.backing, hidden, extent.end)] : [])
        case (.above, _): return [TargetRun(extent)]
        }
    }
}

extension TargetRun {
    /// All of `extent`, as the target is to hold it.
    fileprivate init(_ extent: Extent) {
        let kind: Kind =
            switch extent.content {
            case .data(let offset): .data(layer: extent.depth, offset: offset, isEncoded: false)
            case .encoded(let offset): .data(layer: extent.depth, offset: offset, isEncoded: true)
            case .zero, .absent: .zero
            }
        self.init(start: extent.start, end: extent.end, kind: kind)
    }
}

extension ImageChain {
    /// Bytes of data that a target reads from this chain, in all and within `ranges` (in order);
    /// from bitmaps and holes alone.
    package func countData(_ holding: CopyScope, in ranges: [Range<UInt64>]) throws -> (
        all: UInt64, within: UInt64
    ) {
        var runs = TargetRuns(self, holding)
        var (all, within): (UInt64, UInt64) = (0, 0)
        var rest = ranges[...]
        while let run = try runs.next() {
            guard case .data = run.kind else { continue }
            all += run.end - run.start
            while let first = rest.first, first.upperBound <= run.start { rest.removeFirst() }
            for range in rest {
                guard range.lowerBound < run.end else { break }
                within += min(run.end, range.upperBound) - max(run.start, range.lowerBound)
            }
        }
        return (all, within)
    }

    /// Whether a target that holds `holding` would have to hold a sector at or past `start`, from
    /// bitmaps and holes alone.
    func holdsAnything(_ holding: CopyScope, from start: UInt64) throws -> Bool {
        var runs = TargetRuns(self, holding, from: start)
        while let run = try runs.next() {
            if run.kind != .backing { return true }
        }
        return false
    }
}
