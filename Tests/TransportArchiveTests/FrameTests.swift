import DiskImages
import TestSupport
import Testing

@testable import TransportArchive

@Suite struct FrameTests {
    private func frame(of content: [UInt8], _ compression: Compression) throws -> [UInt8] {
        let frame = try AlignedBuffer(capacity: FrameFormat.longest)
        let count = try content.withUnsafeBytes {
            try FrameCompressor(compression).compress($0, into: frame.bytes)
        }
        return Array(frame.bytes[..<count])
    }

    private func content(of frame: [UInt8], _ format: FrameFormat, length: Int) throws -> [UInt8] {
        var content = [UInt8](repeating: 0, count: length)
        try frame.withUnsafeBytes { stored in
            try content.withUnsafeMutableBytes { try FrameDecompressor(format).decompress(stored, into: $0) }
        }
        return content
    }

    /// Of several lengths, each once that compresses well and once that does not.
    private static let contents: [[UInt8]] = {
        var random = TestSeed().generator()
        return [1, 511, 512, 65_536, RunRecord.longestContent].flatMap { (length: Int) -> [[UInt8]] in
            let words = (0...length / 8).map { _ in random.next() }
            return [
                words.withUnsafeBytes { Array($0.prefix(length)) },
                Array(
                    [UInt8](0..<7).flatMap { [UInt8](repeating: $0, count: length / 7 + 1) }.prefix(length)),
            ]
        }
    }()

    @Test(arguments: ["none", "lz4", "lz4:1", "lz4:3", "lz4:12", "zstd", "zstd:1", "zstd:19"])
    func whatIsCompressedComesBack(_ name: String) throws {
        let compression = try #require(Compression(name: name))
        for bytes in FrameTests.contents {
            let frame = try frame(of: bytes, compression)
            #expect(frame.count <= FrameFormat.longest)
            #expect(try content(of: frame, compression.format, length: bytes.count) == bytes)
        }
    }

    @Test(arguments: FrameFormat.allCases)
    func theEmptyFrameIsOne(_ format: FrameFormat) throws {
        #expect(try content(of: format.empty, format, length: 0).isEmpty)
    }

    @Test(arguments: [Compression.lz4(level: 1), .zstd(level: 3)])
    func aFrameOfAnotherLengthIsRefused(_ compression: Compression) throws {
        let format = compression.format
        let frame = try frame(of: [UInt8](repeating: 7, count: 4096), compression)
        #expect(throws: ArchiveError.self) { try content(of: frame, format, length: 4095) }
        #expect(throws: ArchiveError.self) { try content(of: frame, format, length: 4097) }
        #expect(throws: ArchiveError.self) { try content(of: Array(frame.dropLast()), format, length: 4096) }
    }

    @Test(arguments: ["lz4:0", "lz4:13", "lz4:", "zstd:0", "zstd:20", "zstd:", "none:1", "", "LZ4"])
    func otherNamesAreNoCompression(_ name: String) { #expect(Compression(name: name) == nil) }
}
