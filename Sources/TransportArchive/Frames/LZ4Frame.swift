internal import CLZ4
internal import CXXHash
internal import DiskImages
internal import ImageFormats
internal import Linux
internal import SystemPackage

/// LZ4 frames as Drover writes them: blocks of 1 MiB, independent, with content size and content
/// checksum, so that `lz4 -t` means something. The only file that knows liblz4. Source:
/// `lz4_Frame_format.md` of the LZ4 project, version 1.6.2.
enum LZ4Frame {
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
final class LZ4Compressor: FrameCodec {
    private let context: OpaquePointer
    /// nil stores what is to be framed.
    private let level: Int32?
    /// What liblz4 works with while it compresses a block; it says nothing about the block before.
    private let tables: UnsafeMutableRawPointer

    init(level: Int32?) throws {
        var context: OpaquePointer?
        _ = try LZ4Frame.checkOwn(LZ4F_createCompressionContext(&context, UInt32(LZ4F_VERSION)))
        guard let context else { throw LZ4Frame.failed("it has no memory") }
        self.context = context
        self.level = level
        let length = level ?? 0 >= LZ4HC_CLEVEL_MIN ? LZ4_sizeofStateHC() : LZ4_sizeofState()
        tables = UnsafeMutableRawPointer.allocate(byteCount: Int(length), alignment: 16)
    }

    deinit {
        LZ4F_freeCompressionContext(context)
        tables.deallocate()
    }

    func compress(_ content: UnsafeRawBufferPointer, into frame: UnsafeMutableRawBufferPointer) throws
        -> Int
    {
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
        guard let level else { return nil }
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

/// Reads frames of LZ4.
final class LZ4Decompressor: FrameDecoder {
    private let context: OpaquePointer

    init() throws {
        var context: OpaquePointer?
        _ = try LZ4Frame.checkOwn(LZ4F_createDecompressionContext(&context, UInt32(LZ4F_VERSION)))
        guard let context else { throw LZ4Frame.failed("it has no memory") }
        self.context = context
    }

    deinit { LZ4F_freeDecompressionContext(context) }

    /// liblz4 is told to skip the frame's own checksum: the caller knows a faster digest of the
    /// content.
    func decompress(_ frame: UnsafeRawBufferPointer, into content: UnsafeMutableRawBufferPointer)
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
