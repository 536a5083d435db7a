import DiskImages
import Linux
import Migration
import SystemPackage

/// A format that nobody uses: it shows that one can be added from outside, as a source and as a
/// target, without a change to any other file.
///
/// `TOY1`, a byte for each chunk of 64 KiB of the disk, and the chunks that are stored, the last
/// one first. A byte is 0 where the chunk is the backing file's, 1 where it is stored, 2 where it
/// is stored and every bit is inverted, 3 where it is zeros and not stored. Only whole chunks; the
/// backing file is `backing` beside it, where there is one.
enum Toy {
    static let magic = Array("TOY1".utf8)
    static let chunk: UInt64 = 64 << 10
    static let format = ImageFormat(unlisted: "toy")

    /// What stands for a chunk.
    enum State: UInt8 {
        case absent, stored, inverted, zero

        var isStored: Bool { self == .stored || self == .inverted }
    }

    /// The parts of `range` that lie in one chunk each.
    static func forEachChunk(in range: Range<UInt64>, _ body: (Range<UInt64>) throws -> Void) rethrows {
        var position = range.lowerBound
        while position < range.upperBound {
            let end = min(range.upperBound, (position / Toy.chunk + 1) * Toy.chunk)
            try body(position..<end)
            position = end
        }
    }

    /// A file's bytes; `chunks` are the data of those that are stored, in the disk's order.
    static func bytes(_ states: [State], _ chunks: [[UInt8]]) -> [UInt8] {
        magic + [UInt8(states.count)] + states.map(\.rawValue) + Array(chunks.reversed().joined())
    }
}

/// A toy image as a source.
struct ToyContent: LayerContent {
    let states: [Toy.State]
    let hasBacking: Bool

    var formatName: String { Toy.format.name }
    var format: ImageFormat { Toy.format }
    var restored: FormatDescription { FormatDescription(format: formatName, layout: formatName) }
    var size: UInt64 { UInt64(states.count) * Toy.chunk }
    var isRaw: Bool { false }
    var metadataLength: UInt64 { UInt64(Toy.magic.count + 1 + states.count) }
    var backing: BackingClause? { hasBacking ? BackingClause(path: "backing") : nil }

    func cursor(over file: ImageFile) -> any LayerCursor { ToyCursor(content: self) }

    /// Where the chunk at `index` is stored: those behind it come before it.
    func offset(of index: Int) -> UInt64 {
        metadataLength + UInt64(states[(index + 1)...].count { $0.isStored }) * Toy.chunk
    }

    func decode(_ file: ImageFile, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws {
        try Toy.forEachChunk(in: offset..<offset + UInt64(buffer.count)) { part in
            let place = self.offset(of: Int(part.lowerBound / Toy.chunk)) + part.lowerBound % Toy.chunk
            let bytes = buffer[Int(part.lowerBound - offset)..<Int(part.upperBound - offset)]
            try file.read(into: UnsafeMutableRawBufferPointer(rebasing: bytes), at: place)
            for index in bytes.indices { buffer[index] = ~buffer[index] }
        }
    }

    func metadataDigest(in file: ImageFile) throws -> ContentDigest? {
        ContentDigest(of: try file.prefix(Int(metadataLength)))
    }
}

struct ToyCursor: LayerCursor {
    let content: ToyContent

    mutating func answer(at position: UInt64, upTo end: UInt64) throws -> (Extent.Content, end: UInt64) {
        let index = Int(position / Toy.chunk)
        let chunkEnd = min(end, UInt64(index + 1) * Toy.chunk)
        return switch content.states[index] {
        case .absent: (.absent, chunkEnd)
        case .stored: (.data(offset: content.offset(of: index) + position % Toy.chunk), chunkEnd)
        case .inverted: (.encoded(offset: position), chunkEnd)
        case .zero: (.zero(offset: nil), chunkEnd)
        }
    }
}

struct ToyFormat: LayerFormat {
    var hasBacking = false

    var names: [String] { [Toy.format.name] }

    func recognises(_ prefix: [UInt8]) -> Bool { prefix.starts(with: Toy.magic) }

    func content(_ opening: FormatOpening) throws -> any LayerContent {
        let bytes = opening.prefix
        guard recognises(bytes), bytes.count > 4, bytes.count >= 5 + Int(bytes[4]) else {
            throw DiskImageError(.badData, opening.file.path, "is no toy image")
        }
        let states = bytes[5..<5 + Int(bytes[4])].map { Toy.State(rawValue: $0) ?? .absent }
        return ToyContent(states: states, hasBacking: hasBacking)
    }
}

/// A toy image as a target: every chunk is stored, the last one first; what was not written is a
/// hole.
struct ToyTarget: TargetFormat {
    let count: Int

    private var content: ToyContent {
        ToyContent(states: Array(repeating: .stored, count: count), hasBacking: false)
    }

    var description: FormatDescription { content.restored }
    var fileLength: UInt64? { content.metadataLength + content.size }
    var metadataDigest: ContentDigest? { ContentDigest(of: Toy.bytes(content.states, [])) }

    func sink(in file: TargetFile) -> any ImageSink { ToySink(file: file, content: content) }
    func metadataDigest(in file: ImageFile) throws -> ContentDigest? { try content.metadataDigest(in: file) }
    func checkHolds(_ scope: CopyScope, of chain: ImageChain, target: FilePath) {}
}

struct ToyChoice: FormatChoice {
    var marks: Bool { false }
    var takesBacking: Bool { false }
    var backingNaming: BackingNaming { .asGiven }

    func format(for disk: TargetDisk) -> any TargetFormat {
        ToyTarget(count: Int((disk.length + Toy.chunk - 1) / Toy.chunk))
    }
}

struct ToySink: PlacedSink {
    let file: TargetFile
    let content: ToyContent

    func prepare() throws {
        try file.reset(length: content.metadataLength + content.size)
        try Toy.bytes(content.states, []).withUnsafeBytes { try file.write($0, at: 0) }
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws {
        try Toy.forEachChunk(in: offset..<offset + UInt64(bytes.count)) { part in
            let piece = bytes[Int(part.lowerBound - offset)..<Int(part.upperBound - offset)]
            try file.write(UnsafeRawBufferPointer(rebasing: piece), at: fileOffset(of: part.lowerBound))
        }
    }

    func mark(_ bitmap: UnsafeRawBufferPointer, at offset: UInt64) {}
    func markAll(_ range: Range<UInt64>) {}

    func clear(_ range: Range<UInt64>) throws {
        try Toy.forEachChunk(in: range) { part in
            let start = fileOffset(of: part.lowerBound)
            try file.clear(start..<start + (part.upperBound - part.lowerBound))
        }
    }

    func fileOffset(of offset: UInt64) -> UInt64 {
        content.offset(of: Int(offset / Toy.chunk)) + offset % Toy.chunk
    }
}
