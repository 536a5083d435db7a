internal import CLZ4
internal import CXXHash
internal import DiskImages
internal import ImageFormats
internal import Linux
internal import SystemPackage

/// How content is compressed.
package enum Compression: Equatable, Sendable, CustomStringConvertible {
    case none
    /// 0 and 1 are the fast method, from 3 on LZ4 HC.
    case lz4(level: Int32)

    /// The highest level that liblz4 knows.
    package static let highestLevel = 12

    /// `none`, `lz4`, `lz4:LEVEL`.
    package init?(name: String) {
        switch name {
        case "none": self = .none
        case "lz4": self = .lz4(level: 1)
        default:
            guard name.hasPrefix("lz4:"), let level = Int32(name.dropFirst(4)),
                (1...Int32(Compression.highestLevel)).contains(level)
            else {
                return nil
            }
            self = .lz4(level: level)
        }
    }

    package var description: String {
        switch self {
        case .none: "none"
        case .lz4(level: 1): "lz4"
        case .lz4(let level): "lz4:\(level)"
        }
    }
}

/// LZ4 frames as Drover writes them: blocks of 1 MiB, independent, with content size and content
/// checksum, so that `lz4 -t` means something. The only file that knows liblz4. Source:
/// `lz4_Frame_format.md` of the LZ4 project, version 1.6.2.
package enum LZ4Frame {
    /// The longest frame of `RunRecord.longestContent` bytes of content.
    package static let longest = RunRecord.longestContent + 4096
    /// The frame of no content that an archive begins with: starting with a skippable frame
    /// confuses some readers.
    package static let empty: [UInt8] = [
        0x04, 0x22, 0x4d, 0x18, 0x64, 0x40, 0xa7, 0, 0, 0, 0, 0x05, 0x5d, 0xcc, 0x02,
    ]

    /// In the length of a block: its bytes are the content itself.
    static let storedBlock: UInt32 = 1 << 31
    /// Stands in place of a further block's length.
    static let endMark: UInt32 = 0

    static func preferences(contentLength: Int) -> LZ4F_preferences_t {
        var preferences = LZ4F_preferences_t()
        preferences.frameInfo.blockSizeID = LZ4F_max1MB
        preferences.frameInfo.blockMode = LZ4F_blockIndependent
        preferences.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled
        preferences.frameInfo.contentSize = UInt64(contentLength)
        return preferences
    }

    /// `result` of reading a frame.
    static func check(_ result: Int) throws -> Int {
        guard LZ4F_isError(result) == 0 else {
            let reason = String(cString: LZ4F_getErrorName(result))
            // Not the bytes' fault.
            if reason == "ERROR_allocation_failed" { throw failed(reason) }
            throw ArchiveError(.damaged, "there is a frame that is no LZ4 (\(reason))")
        }
        return result
    }

    /// `result` of anything else, which no input can make fail.
    static func checkOwn(_ result: Int) throws -> Int {
        guard LZ4F_isError(result) == 0 else { throw failed(String(cString: LZ4F_getErrorName(result))) }
        return result
    }

    static func failed(_ reason: String) -> DiskImageError {
        DiskImageError(.io, "liblz4", "failed: \(reason)")
    }
}

/// Makes frames of one block each; one for each worker, because it keeps liblz4's tables.
///
/// liblz4 makes the frame's header and the block. The checksum is libxxhash's, which takes 0.4 of
/// the time of the same function inside liblz4.
package final class FrameCompressor {
    private let context: OpaquePointer
    private let compression: Compression
    /// What liblz4 works with while it compresses a block; it says nothing about the block before.
    private let tables: UnsafeMutableRawPointer

    package init(_ compression: Compression) throws {
        var context: OpaquePointer?
        _ = try LZ4Frame.checkOwn(LZ4F_createCompressionContext(&context, UInt32(LZ4F_VERSION)))
        guard let context else { throw LZ4Frame.failed("it has no memory") }
        self.context = context
        self.compression = compression
        let length =
            if case .lz4(let level) = compression, level >= LZ4HC_CLEVEL_MIN { LZ4_sizeofStateHC() } else {
                LZ4_sizeofState()
            }
        tables = UnsafeMutableRawPointer.allocate(byteCount: Int(length), alignment: 16)
    }

    deinit {
        LZ4F_freeCompressionContext(context)
        tables.deallocate()
    }

    /// Writes the frame of `content`, at most `RunRecord.longestContent` bytes, to `frame`, which
    /// holds `LZ4Frame.longest`; returns its length.
    package func compress(_ content: UnsafeRawBufferPointer, into frame: UnsafeMutableRawBufferPointer) throws
        -> Int
    {
        precondition(
            content.count <= RunRecord.longestContent && frame.count >= LZ4Frame.longest,
            "a chunk or a buffer of a wrong size")
        var preferences = LZ4Frame.preferences(contentLength: content.count)
        var length = try LZ4Frame.checkOwn(
            LZ4F_compressBegin(context, frame.baseAddress, frame.count, &preferences))
        func append(_ number: UInt32) {
            frame.storeBytes(of: number.littleEndian, toByteOffset: length, as: UInt32.self)
            length += 4
        }
        if !content.isEmpty {
            let block = UnsafeMutableRawBufferPointer(rebasing: frame[(length + 4)...])
            if let compressed = compressed(content, into: block) {
                append(UInt32(compressed))
                length += compressed
            } else {
                append(UInt32(content.count) | LZ4Frame.storedBlock)
                block.copyMemory(from: content)
                length += content.count
            }
        }
        append(LZ4Frame.endMark)
        append(XXH32(content.baseAddress, content.count, 0))
        return length
    }

    /// The length of `content` compressed into `block`; nil where it is to be stored, because it
    /// should be or because it gets no shorter.
    private func compressed(_ content: UnsafeRawBufferPointer, into block: UnsafeMutableRawBufferPointer)
        -> Int?
    {
        guard case .lz4(let level) = compression else { return nil }
        let (source, target) = (
            content.assumingMemoryBound(to: CChar.self).baseAddress,
            block.assumingMemoryBound(to: CChar.self).baseAddress
        )
        let (length, room) = (Int32(content.count), Int32(content.count - 1))
        let compressed =
            level >= LZ4HC_CLEVEL_MIN
            ? LZ4_compress_HC_extStateHC(tables, source, target, length, room, level)
            : LZ4_compress_fast_extState(tables, source, target, length, room, 1)
        return compressed > 0 ? Int(compressed) : nil
    }
}

/// Reads frames; one for each worker.
package final class FrameDecompressor {
    private let context: OpaquePointer

    package init() throws {
        var context: OpaquePointer?
        _ = try LZ4Frame.checkOwn(LZ4F_createDecompressionContext(&context, UInt32(LZ4F_VERSION)))
        guard let context else { throw LZ4Frame.failed("it has no memory") }
        self.context = context
    }

    deinit { LZ4F_freeDecompressionContext(context) }

    /// Fills `content` from `frame`; throws where the frame holds anything but exactly so many
    /// bytes.
    ///
    /// liblz4 is told to skip the frame's own checksum: the caller knows a faster digest of the
    /// content.
    package func decompress(_ frame: UnsafeRawBufferPointer, into content: UnsafeMutableRawBufferPointer)
        throws
    {
        LZ4F_resetDecompressionContext(context)
        var options = LZ4F_decompressOptions_t()
        options.stableDst = 1
        options.skipChecksums = 1
        var (read, written) = (0, 0)
        while true {
            var (sourceLength, targetLength) = (frame.count - read, content.count - written)
            let hint = try LZ4Frame.check(
                LZ4F_decompress(
                    context, content.baseAddress! + written, &targetLength, frame.baseAddress! + read,
                    &sourceLength, &options))
            read += sourceLength
            written += targetLength
            if hint == 0 { break }
            guard sourceLength > 0 || targetLength > 0 else {
                throw ArchiveError(.damaged, "there is a frame that is cut short")
            }
        }
        guard read == frame.count, written == content.count else {
            throw ArchiveError(.damaged, "there is a frame of another length than its record says")
        }
    }
}
