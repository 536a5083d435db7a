package import DiskImages
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
    /// What is not as `backing` shows it, in pieces of `unit` bytes, whole sectors. Where metadata
    /// cannot tell, the bytes are compared when they are there.
    case differing(from: GuestReader, unit: UInt64)

    /// What is compared with the bytes of a backing file before it is held.
    var comparedWith: GuestReader? {
        if case .differing(let backing, _) = self { backing } else { nil }
    }

    var isOverlay: Bool {
        if case .everything = self { false } else { true }
    }

    /// What is held whole or not at all, in bytes.
    var unit: UInt64 {
        switch self {
        case .everything: sectorSize
        case .above(_, _, let unit), .differing(_, let unit): unit
        }
    }
}

/// Where runs come from: a chain's block status, or the records of an archive.
package protocol TargetRunSource: Sendable {
    /// The next run; nil past the end. Runs follow one another without gaps.
    mutating func next() throws -> TargetRun?
}

/// Runs that are known already.
package struct TargetRunList: TargetRunSource {
    var runs: ArraySlice<TargetRun>

    package mutating func next() -> TargetRun? { runs.popFirst() }
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

    /// The part of it in `range`, which it must overlap.
    func clipped(to range: Range<UInt64>) -> TargetRun {
        var part = self
        (part.start, part.end) = (max(start, range.lowerBound), min(end, range.upperBound))
        if case .data(let layer, let offset, let isEncoded) = kind {
            part.kind = .data(layer: layer, offset: offset + (part.start - start), isEncoded: isEncoded)
        }
        return part
    }

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
    private var pieces: ScopedExtents
    private var pending: [TargetRun] = []
    /// What is left of the last piece.
    private var rest: ScopedExtent?
    private let unit: UInt64
    private let length: UInt64

    /// From `start` on, which is whole units.
    init(_ chain: ImageChain, _ holding: CopyScope, from start: UInt64 = 0) {
        pieces = ScopedExtents(chain, holding, from: start)
        unit = holding.unit
        length = chain.guestLength
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

    /// The next runs that are whole units together.
    private mutating func nextRuns() throws -> [TargetRun]? {
        guard let piece = try rest ?? pieces.next() else { return nil }
        rest = nil
        let (extent, isHeld) = (piece.extent, piece.isHeld)
        // Whole units of one extent are as they are.
        let whole = extent.end >= length ? extent.end : extent.end / unit * unit
        guard extent.start % unit != 0 || whole <= extent.start else {
            if whole < extent.end { rest = piece.clipped(to: whole..<extent.end) }
            return [TargetRun(extent.clipped(to: extent.start..<whole), isHeld: isHeld)]
        }
        let end = min(extent.start / unit * unit + unit, length)
        var parts: [ScopedExtent] = []
        var next = piece
        while true {
            parts.append(next.clipped(to: next.extent.start..<min(next.extent.end, end)))
            if next.extent.end > end { rest = next.clipped(to: end..<next.extent.end) }
            guard next.extent.end < end, let following = try pieces.next() else { break }
            next = following
        }
        let isAnyHeld = parts.contains(where: \.isHeld)
        return parts.map { TargetRun($0.extent, isHeld: isAnyHeld) }
    }
}

/// A part of a source's disk, and whether the target is to hold it.
private struct ScopedExtent {
    let extent: Extent
    let isHeld: Bool

    func clipped(to range: Range<UInt64>) -> ScopedExtent {
        ScopedExtent(extent: extent.clipped(to: range), isHeld: isHeld)
    }
}

/// A chain's block status, cut where the target begins or ends to hold it.
private struct ScopedExtents {
    private let scope: CopyScope
    private let source: GuestReader
    private var extents: GuestExtents
    private var inBacking: GuestExtents?
    private var position: UInt64

    init(_ chain: ImageChain, _ scope: CopyScope, from start: UInt64) {
        source = GuestReader(chain)
        self.scope = scope
        let range = start..<max(start, chain.guestLength)
        extents = source.extents(in: range)
        if case .differing(let backing, _) = scope { inBacking = backing.extents(in: range) }
        position = start
    }

    mutating func next() throws -> ScopedExtent? {
        guard let extent = try extents.extent(at: position, upTo: source.length) else { return nil }
        let piece = try scoped(extent)
        position = piece.extent.end
        return piece
    }

    private mutating func scoped(_ extent: Extent) throws -> ScopedExtent {
        switch scope {
        case .everything: return ScopedExtent(extent: extent, isHeld: true)
        case .above(let depth, _, _) where extent.depth >= depth:
            return ScopedExtent(extent: extent, isHeld: false)
        case .above(_, let backingLength, _) where extent.content == .absent:
            // A layer in between is too short and hides what the backing file has there: those
            // zeros must be held. Past the backing file's own end it reads as zeros anyway.
            guard extent.start < backingLength else { return ScopedExtent(extent: extent, isHeld: false) }
            let hidden = extent.clipped(to: extent.start..<min(extent.end, backingLength))
            return ScopedExtent(extent: hidden, isHeld: true)
        case .above: return ScopedExtent(extent: extent, isHeld: true)
        case .differing(let backing, _):
            let other = try inBacking?.extent(at: extent.start, upTo: extent.end)
            let piece = extent.clipped(to: extent.start..<min(extent.end, other?.end ?? extent.end))
            return ScopedExtent(extent: piece, isHeld: !source.isSame(piece, as: other, of: backing))
        }
    }
}

extension TargetRun {
    /// All of `extent`, as the target is to hold it, or left to the backing file.
    fileprivate init(_ extent: Extent, isHeld: Bool) {
        let kind: Kind =
            switch extent.content {
            case _ where !isHeld: .backing
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
    /// bitmaps and holes alone but for what is to be compared.
    func holdsAnything(_ holding: CopyScope, from start: UInt64) throws -> Bool {
        var runs = TargetRuns(self, holding, from: start)
        while let run = try runs.next() {
            guard run.kind != .backing else { continue }
            guard let backing = holding.comparedWith else { return true }
            var differs = false
            try DiskDifference(of: GuestReader(self), against: backing).forEach(in: run.start..<run.end) {
                _, _ in
                differs = true
            }
            if differs { return true }
        }
        return false
    }
}
