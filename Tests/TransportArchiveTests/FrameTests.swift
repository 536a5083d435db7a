import DiskImages
import TestSupport
import Testing

@testable import TransportArchive

@Suite struct LZ4FrameTests {
    private func frame(of content: [UInt8], _ compression: Compression) throws -> [UInt8] {
        let frame = try AlignedBuffer(capacity: LZ4Frame.longest)
        let count = try content.withUnsafeBytes {
            try FrameCompressor(compression).compress($0, into: frame.bytes)
        }
        return Array(frame.bytes[..<count])
    }

    private func content(of frame: [UInt8], length: Int) throws -> [UInt8] {
        var content = [UInt8](repeating: 0, count: length)
        try frame.withUnsafeBytes { stored in
            try content.withUnsafeMutableBytes { try FrameDecompressor().decompress(stored, into: $0) }
        }
        return content
    }

    @Test(arguments: ["none", "lz4", "lz4:1", "lz4:3", "lz4:12"])
    func whatIsCompressedComesBack(_ name: String) throws {
        let compression = try #require(Compression(name: name))
        var random = TestSeed().generator()
        for length in [1, 511, 512, 65_536, RunRecord.longestContent] {
            for isRandom in [false, true] {
                let bytes = (0..<length).map {
                    isRandom ? UInt8.random(in: 0...255, using: &random) : UInt8($0 / 97 % 7)
                }
                let frame = try frame(of: bytes, compression)
                #expect(frame.count <= LZ4Frame.longest)
                #expect(try content(of: frame, length: length) == bytes)
            }
        }
    }

    @Test func theEmptyFrameIsWhatLiblz4Makes() throws {
        #expect(try content(of: LZ4Frame.empty, length: 0).isEmpty)
    }

    @Test func aFrameOfAnotherLengthIsRefused() throws {
        let frame = try frame(of: [UInt8](repeating: 7, count: 4096), .lz4(level: 1))
        #expect(throws: ArchiveError.self) { try content(of: frame, length: 4095) }
        #expect(throws: ArchiveError.self) { try content(of: frame, length: 4097) }
        #expect(throws: ArchiveError.self) { try content(of: Array(frame.dropLast()), length: 4096) }
    }

    @Test(arguments: ["lz4:0", "lz4:13", "lz4:", "zstd", "", "LZ4"])
    func otherNamesAreNoCompression(_ name: String) { #expect(Compression(name: name) == nil) }
}
