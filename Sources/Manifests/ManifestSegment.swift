package import DiskImages
internal import Linux
internal import SystemPackage

/// A stretch of guest disk that the target has, durably. `start` and `count` are sectors.
package struct ManifestSegment: Equatable, Sendable {
    package var record = "segment"
    package let start: UInt64
    package let count: UInt64
    /// `data`, `zero`, or `backing` for what is left to the target's backing file.
    package let kind: String
    package let digest: String
    /// The digests of its chunks, one behind the other, where they are recorded: of a base, parts
    /// of which many targets will have.
    package let chunks: String?
    /// Bytes of data that were read for it; nil where it has none, and in records of before.
    package var read: UInt64? = nil
    /// What of it could not be read, and is zeros; nil where all was.
    package var lost: [LostSectors]? = nil
    /// When it was recorded, in seconds since 1970.
    package var time: Double? = nil

    /// `read`: bytes of data that were read for it.
    package init(
        _ range: Range<UInt64>, _ outcome: Outcome, chunks: [ContentDigest]? = nil, read: UInt64 = 0
    ) {
        start = range.lowerBound / 512
        count = (range.upperBound - range.lowerBound) / 512
        kind = outcome.kind
        digest = outcome.digest.description
        self.chunks = chunks?.map(\.description).joined()
        self.read = read > 0 ? read : nil
    }

    /// What the chunk at `offset`, in bytes, holds; nil where that is not recorded.
    package func outcome(ofChunkAt offset: UInt64) -> Outcome? {
        guard outcome != .zero else { return .zero }
        let index = Int((offset - start * 512) / UInt64(Segment.chunk))
        guard let digits = chunks?.utf8.dropFirst(32 * index).prefix(32), let text = String(digits),
            let digest = ContentDigest(hex: text)
        else { return nil }
        return digest == Outcome.zero.digest ? .zero : .data(digest)
    }

    /// Equal is what is said of the target; when it was recorded does not count.
    package static func == (a: ManifestSegment, b: ManifestSegment) -> Bool {
        a.start == b.start && a.count == b.count && a.kind == b.kind && a.digest == b.digest
    }

    /// Bytes of data that were moved for it, as far as that is recorded: else all of it, where it
    /// is no hole.
    package var moved: UInt64 { min(read ?? .max, kind == "data" ? count &* 512 : 0) }

    /// The range in bytes, or nil where it passes 2^63.
    package var range: Range<UInt64>? {
        let limit = UInt64(Int64.max) / 512
        guard count > 0, start <= limit, count <= limit - start else { return nil }
        return start * 512..<(start + count) * 512
    }

    /// What it holds, or nil where kind or digest are not what they may be.
    package var outcome: Outcome? {
        switch kind {
        case "zero": .zero
        case "backing": .backing
        case "data": ContentDigest(hex: digest).map { .data($0) }
        default: nil
        }
    }
}

extension ManifestSegment {
    /// The ranges of `segments` in bytes, in the disk's order, neighbours taken together.
    package static func ranges(of segments: [ManifestSegment]) -> [Range<UInt64>] {
        var ranges: [Range<UInt64>] = []
        for range in segments.compactMap(\.range).sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = ranges.last, last.upperBound == range.lowerBound {
                ranges[ranges.count - 1] = last.lowerBound..<range.upperBound
            } else {
                ranges.append(range)
            }
        }
        return ranges
    }

    /// Bytes in `ranges`.
    package static func length(of ranges: [Range<UInt64>]) -> UInt64 {
        ranges.reduce(0) { $0 + ($1.upperBound - $1.lowerBound) }
    }

    /// Whether `segments` cover `length` bytes of disk from its start.
    package static func cover(_ segments: [ManifestSegment], _ length: UInt64) -> Bool {
        ranges(of: segments) == (length == 0 ? [] : [0..<length])
    }

    /// What of a disk of `length` bytes `ranges`, in order, leave out.
    package static func gaps(between ranges: [Range<UInt64>], in length: UInt64) -> [Range<UInt64>] {
        var gaps: [Range<UInt64>] = []
        var position: UInt64 = 0
        for range in ranges + [length..<length] {
            if range.lowerBound > position { gaps.append(position..<range.lowerBound) }
            position = max(position, range.upperBound)
        }
        return gaps
    }

    /// The digest over segments that cover a disk: of a line `START COUNT KIND DIGEST` for each, in
    /// order, neighbours without data taken together.
    package static func digest(of segments: [ManifestSegment]) -> ContentDigest {
        var text: [UInt8] = []
        var index = 0
        let ordered = segments.sorted { $0.start < $1.start }
        while index < ordered.count {
            let first = ordered[index]
            var count = first.count
            index += 1
            while first.kind != "data", index < ordered.count, ordered[index].kind == first.kind {
                count += ordered[index].count
                index += 1
            }
            text += Array("\(first.start) \(count) \(first.kind) \(first.digest)\n".utf8)
        }
        return ContentDigest(of: text)
    }
}
