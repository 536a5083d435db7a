package import DiskImages
internal import Linux

/// How content is compressed.
package enum Compression: Equatable, Sendable, CustomStringConvertible {
    case none
    /// 0 and 1 are the fast method, from 3 on LZ4 HC.
    case lz4(level: Int32)
    case zstd(level: Int32)

    /// The highest level that liblz4 knows, and the highest of libzstd's that takes no more memory
    /// than the others.
    package static let highestLevel = 12
    package static let highestZstdLevel = 19
    /// The level of libzstd where none is named.
    private static let usualZstdLevel: Int32 = 3

    /// `none`, `lz4`, `lz4:LEVEL`, `zstd`, `zstd:LEVEL`.
    package init?(name: String) {
        let parts = name.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        func level(_ usual: Int32, upTo highest: Int) -> Int32? {
            guard parts.count == 2 else { return usual }
            return Int32(parts[1]).flatMap { (1...Int32(highest)).contains($0) ? $0 : nil }
        }
        switch parts[0] {
        case "none" where parts.count == 1: self = .none
        case "lz4":
            guard let level = level(1, upTo: Compression.highestLevel) else { return nil }
            self = .lz4(level: level)
        case "zstd":
            guard let level = level(Compression.usualZstdLevel, upTo: Compression.highestZstdLevel) else {
                return nil
            }
            self = .zstd(level: level)
        default: return nil
        }
    }

    package var description: String {
        switch self {
        case .none: "none"
        case .lz4(level: 1): "lz4"
        case .lz4(let level): "lz4:\(level)"
        case .zstd(level: Compression.usualZstdLevel): "zstd"
        case .zstd(let level): "zstd:\(level)"
        }
    }

    /// What archives so compressed are a stream of.
    package var format: FrameFormat {
        if case .zstd = self { .zstd } else { .lz4 }
    }
}

/// What an archive is a stream of: all of its frames are of this format.
package enum FrameFormat: CaseIterable, Sendable {
    case lz4, zstd

    /// The longest frame of `RunRecord.longestContent` bytes of content, in any format.
    package static let longest = RunRecord.longestContent + 4096

    /// The frame of no content that an archive begins with: starting with a skippable frame
    /// confuses some readers. Sources: `lz4_Frame_format.md`, and RFC 8878 (a single segment of 0
    /// bytes, one raw block that is the last).
    package var empty: [UInt8] {
        switch self {
        case .lz4: [0x04, 0x22, 0x4d, 0x18, 0x64, 0x40, 0xa7, 0, 0, 0, 0, 0x05, 0x5d, 0xcc, 0x02]
        case .zstd: [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x00, 0x01, 0x00, 0x00]
        }
    }

    /// The format of an archive whose header says that it is compressed with `name`.
    init(compression name: String) { self = Compression(name: name)?.format ?? .lz4 }

    /// Reads an archive's beginning; nil where it is none.
    package static func reading(_ stream: ByteStream) throws -> FrameFormat? {
        let shortest = FrameFormat.zstd.empty.count
        let start = try stream.read(shortest)
        return try allCases.first { format in
            try format.empty.prefix(shortest).elementsEqual(start)
                && stream.read(format.empty.count - shortest).elementsEqual(format.empty.dropFirst(shortest))
        }
    }
}

/// What one format's frames are made with.
protocol FrameCodec: AnyObject {
    /// Writes the frame of `content` to `frame`, which is long enough; returns its length.
    func compress(_ content: UnsafeRawBufferPointer, into frame: UnsafeMutableRawBufferPointer) throws -> Int
}

/// What one format's frames are read with.
protocol FrameDecoder: AnyObject {
    /// Fills `content` from `frame`; throws where the frame holds anything but exactly so many
    /// bytes.
    func decompress(_ frame: UnsafeRawBufferPointer, into content: UnsafeMutableRawBufferPointer) throws
}

/// Makes frames; one for each worker, because it keeps a library's tables.
package final class FrameCompressor {
    private let codec: any FrameCodec

    package init(_ compression: Compression) throws {
        codec =
            switch compression {
            case .none: try LZ4Compressor(level: nil)
            case .lz4(let level): try LZ4Compressor(level: level)
            case .zstd(let level): try ZstdCompressor(level: level)
            }
    }

    /// Writes the frame of `content`, at most `RunRecord.longestContent` bytes, to `frame`, which
    /// holds `FrameFormat.longest`; returns its length.
    package func compress(_ content: UnsafeRawBufferPointer, into frame: UnsafeMutableRawBufferPointer) throws
        -> Int
    {
        precondition(
            content.count <= RunRecord.longestContent && frame.count >= FrameFormat.longest,
            "a chunk or a buffer of a wrong size")
        return try codec.compress(content, into: frame)
    }
}

/// Reads frames; one for each worker.
package final class FrameDecompressor {
    private let decoder: any FrameDecoder

    package init(_ format: FrameFormat) throws {
        decoder =
            switch format {
            case .lz4: try LZ4Decompressor()
            case .zstd: try ZstdDecompressor()
            }
    }

    /// Fills `content` from `frame`; throws where the frame holds anything but exactly so many
    /// bytes.
    package func decompress(_ frame: UnsafeRawBufferPointer, into content: UnsafeMutableRawBufferPointer)
        throws
    {
        try decoder.decompress(frame, into: content)
    }
}
