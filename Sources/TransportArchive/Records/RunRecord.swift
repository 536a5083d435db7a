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
/// | 44     | 16   | XXH3-128 of the bytes of data and references, in the disk's order |
/// | 60     | 4    | number of runs |
/// | 64     |      | the runs, two variable-length numbers each: sectors since the end of the run before (or since the first sector); sectors × 4 + the kind. A reference has two more: the layer it leads to, and the first sector there |
///
/// A variable-length number has 7 bits a byte, the lowest first; the highest bit says that another
/// byte follows. The content is the data runs' bytes one after the other. In a COW layer, what no
/// run covers is not allocated; in a raw layer it is zeros.
package struct RunRecord: Equatable, Sendable {
    /// Bytes of content that one record has at most.
    package static let longestContent = 1 << 20
    /// Runs that one record has at most.
    package static let mostRuns = 8192

    /// Where bytes lie that a record holds without storing them: in a layer, from a byte of its
    /// disk on, a whole sector.
    package struct Place: Hashable, Sendable {
        package let layer: Int
        package let start: UInt64

        package init(layer: Int, start: UInt64) { (self.layer, self.start) = (layer, start) }

        /// The place so many bytes further on.
        package func moved(by distance: UInt64) -> Place { Place(layer: layer, start: start + distance) }
    }

    /// What a run's sectors hold.
    package enum Kind: Hashable, Sendable {
        /// Bytes of the frame.
        case data
        case zero
        /// What an earlier layer of the same archive stores there as data.
        case reference(Place)
        /// What a layer of the parent shows a guest there.
        case inherited(Place)

        /// The same from so many bytes further on.
        package func moved(by distance: UInt64) -> Kind {
            switch self {
            case .data, .zero: self
            case .reference(let place): .reference(place.moved(by: distance))
            case .inherited(let place): .inherited(place.moved(by: distance))
            }
        }
    }

    /// A run of allocated sectors. Bytes of guest disk.
    package struct Run: Equatable, Sendable {
        package let start: UInt64
        package let end: UInt64
        package let kind: Kind

        package init(start: UInt64, end: UInt64, kind: Kind) {
            self.start = start
            self.end = end
            self.kind = kind
        }

        package init(start: UInt64, end: UInt64, isZero: Bool) {
            self.init(start: start, end: end, kind: isZero ? .zero : .data)
        }

        package var length: UInt64 { end - start }
        package var isZero: Bool { kind == .zero }
        package var isData: Bool { kind == .data }
        /// Whether `other` begins where this one ends, and what it holds goes on there too.
        package func goesOn(in other: Run) -> Bool {
            end == other.start && kind.moved(by: length) == other.kind
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
    var zeroLength: UInt64 { runs.reduce(0) { $0 + ($1.isZero ? $1.length : 0) } }

    /// Bytes of guest disk in runs that lead to earlier layers of the archive, and to the parent.
    var sharedLength: UInt64 {
        runs.reduce(0) { if case .reference = $1.kind { $0 + $1.length } else { $0 } }
    }
    var inheritedLength: UInt64 {
        runs.reduce(0) { if case .inherited = $1.kind { $0 + $1.length } else { $0 } }
    }

    /// Whether some of its bytes are not in its frame.
    package var hasReferences: Bool { runs.contains { !$0.isData && !$0.isZero } }

    /// Bytes of data and references: what is behind its digest.
    package var byteLength: Int { runs.reduce(0) { $0 + ($1.isZero ? 0 : Int($1.length)) } }

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
            let (kind, place): (UInt64, Place?) =
                switch run.kind {
                case .data: (0, nil)
                case .zero: (1, nil)
                case .reference(let place): (2, place)
                case .inherited(let place): (3, place)
                }
            bytes.append(variable: run.length / 512 * 4 + kind)
            if let place {
                bytes.append(variable: UInt64(place.layer))
                bytes.append(variable: place.start / 512)
            }
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
        guard contentLength > 0 || frameDigest == .ofNothing else { throw fault }
        var runs: [Run] = []
        var offset = 64
        var position = first
        var (content, referred): (UInt64, UInt64) = (0, 0)
        for _ in 0..<runCount {
            guard let gap = bytes.variable(at: &offset), let number = bytes.variable(at: &offset),
                case let length = number / 4, length > 0, gap <= last - position,
                length <= last - position - gap
            else { throw fault }
            let start = position + gap
            position = start + length
            let kind: Kind
            switch number % 4 {
            case 0:
                kind = .data
                content += length * 512
            case 1: kind = .zero
            default:
                guard let layer = bytes.variable(at: &offset), let first = bytes.variable(at: &offset),
                    layer < ArchiveHeader.mostLayers, length <= limit, first <= limit - length
                else { throw fault }
                let place = Place(layer: Int(layer), start: first * 512)
                kind = number % 4 == 2 ? .reference(place) : .inherited(place)
                referred += length * 512
            }
            runs.append(Run(start: start * 512, end: position * 512, kind: kind))
        }
        guard offset == bytes.count, content == UInt64(contentLength),
            content + referred <= RunRecord.longestContent,
            content + referred > 0 || contentDigest == .ofNothing
        else { throw fault }
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
