package import DiskImages

/// A stretch of one layer: what is allocated in it, and the LZ4 frame behind it that holds its
/// data. The body of an `R` record.
///
/// | offset | size | meaning |
/// |--------|------|---------|
/// | 0      | 4    | index of the layer |
/// | 4      | 8    | first sector of the stretch |
/// | 12     | 8    | the sector after its last |
/// | 20     | 4    | bytes of content; 0: no frame follows |
/// | 24     | 4    | bytes of the frame that follows |
/// | 28     | 16   | XXH3-128 of the frame, first to last byte |
/// | 44     | 16   | XXH3-128 of the content |
/// | 60     | 4    | number of runs |
/// | 64     |      | the runs, two variable-length numbers each: sectors since the end of the run before (or since the first sector); sectors × 2 + (1 for zeros) |
///
/// A variable-length number has 7 bits a byte, the lowest first; the highest bit says that another
/// byte follows. The content is the data runs' bytes one after the other. In a COW layer, what no
/// run covers is not allocated; in a raw layer it is zeros.
package struct RunRecord: Equatable, Sendable {
    /// Bytes of content that one record has at most.
    package static let longestContent = 1 << 20
    /// Runs that one record has at most.
    package static let mostRuns = 8192

    /// A run of allocated sectors. Bytes of guest disk.
    package struct Run: Equatable, Sendable {
        package let start: UInt64
        package let end: UInt64
        package let isZero: Bool

        package init(start: UInt64, end: UInt64, isZero: Bool) {
            self.start = start
            self.end = end
            self.isZero = isZero
        }
    }

    package let layer: Int
    /// Bytes of guest disk; whole sectors.
    package let range: Range<UInt64>
    package let runs: [Run]
    package let contentLength: Int
    package let frameLength: Int
    package let frameDigest: ContentDigest
    package let contentDigest: ContentDigest

    package init(
        layer: Int, range: Range<UInt64>, runs: [Run], contentLength: Int, frameLength: Int,
        frameDigest: ContentDigest,
        contentDigest: ContentDigest
    ) {
        self.layer = layer
        self.range = range
        self.runs = runs
        self.contentLength = contentLength
        self.frameLength = frameLength
        self.frameDigest = frameDigest
        self.contentDigest = contentDigest
    }

    /// A stretch without data: `runs` are zeros.
    package init(emptyFor layer: Int, range: Range<UInt64>, runs: [Run]) {
        self.init(
            layer: layer, range: range, runs: runs, contentLength: 0, frameLength: 0, frameDigest: .ofNothing,
            contentDigest: .ofNothing)
    }

    /// Bytes of guest disk in zero runs.
    var zeroLength: UInt64 { runs.reduce(0) { $0 + ($1.isZero ? $1.end - $1.start : 0) } }

    package func serialized() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(number: UInt32(layer))
        bytes.append(number: range.lowerBound / 512)
        bytes.append(number: range.upperBound / 512)
        bytes.append(number: UInt32(contentLength))
        bytes.append(number: UInt32(frameLength))
        bytes += frameDigest.bytes
        bytes += contentDigest.bytes
        bytes.append(number: UInt32(runs.count))
        var position = range.lowerBound
        for run in runs {
            bytes.append(variable: (run.start - position) / 512)
            bytes.append(variable: (run.end - run.start) / 512 * 2 + (run.isZero ? 1 : 0))
            position = run.end
        }
        return bytes
    }

    /// Parses a body whose digest was right, and checks that its parts add up.
    package init(parsing bytes: [UInt8]) throws {
        let fault = ArchiveError(.damaged, "there is a record whose parts do not add up")
        let limit = UInt64(Int64.max) / 512
        guard let layer: UInt32 = bytes.littleEndian(at: 0), let first: UInt64 = bytes.littleEndian(at: 4),
            let last: UInt64 = bytes.littleEndian(at: 12), first <= last, last <= limit,
            let contentLength: UInt32 = bytes.littleEndian(at: 20), contentLength <= RunRecord.longestContent,
            let frameLength: UInt32 = bytes.littleEndian(at: 24), frameLength <= FrameFormat.longest,
            (contentLength == 0) == (frameLength == 0),
            let frameDigest = ContentDigest(bytes: bytes.dropFirst(28).prefix(16)),
            let contentDigest = ContentDigest(bytes: bytes.dropFirst(44).prefix(16)),
            let runCount: UInt32 = bytes.littleEndian(at: 60), runCount <= RunRecord.mostRuns
        else { throw fault }
        guard contentLength > 0 || frameDigest == .ofNothing && contentDigest == .ofNothing else {
            throw fault
        }
        var runs: [Run] = []
        var offset = 64
        var position = first
        var content: UInt64 = 0
        for _ in 0..<runCount {
            guard let gap = bytes.variable(at: &offset), let length = bytes.variable(at: &offset),
                length >= 2, gap <= last - position,
                length / 2 <= last - position - gap
            else { throw fault }
            let start = position + gap
            position = start + length / 2
            runs.append(Run(start: start * 512, end: position * 512, isZero: length % 2 == 1))
            if length % 2 == 0 { content += length / 2 * 512 }
        }
        guard offset == bytes.count, content == UInt64(contentLength) else { throw fault }
        self.layer = Int(layer)
        range = first * 512..<last * 512
        self.runs = runs
        self.contentLength = Int(contentLength)
        self.frameLength = Int(frameLength)
        self.frameDigest = frameDigest
        self.contentDigest = contentDigest
    }
}

extension ContentDigest {
    /// The digest of no bytes: what a record without a frame has for frame and content.
    package static let ofNothing = ContentDigest(of: [])
}

extension [UInt8] {
    fileprivate mutating func append(variable number: UInt64) {
        var rest = number
        while rest >= 0x80 {
            append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        append(UInt8(rest))
    }

    /// The number at `offset`, which moves behind it; nil where the bytes end or the number passes
    /// 63 bits.
    fileprivate func variable(at offset: inout Int) -> UInt64? {
        var number: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 63, by: 7) {
            guard offset < count else { return nil }
            let byte = self[offset]
            offset += 1
            number |= UInt64(byte & 0x7f) << shift
            if byte & 0x80 == 0 { return number }
        }
        return nil
    }
}
