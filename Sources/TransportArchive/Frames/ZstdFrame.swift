internal import CZstd
internal import DiskImages
internal import Linux
internal import SystemPackage

/// Zstandard frames as Drover writes them (RFC 8878): content size, checksum, a window of at most 1
/// MiB. The only file of this target that knows libzstd.
enum ZstdFrame {
    /// The largest window: 1 MiB.
    static let windowLog: CInt = 20

    static func failed(_ reason: String) -> DiskImageError {
        DiskImageError(.io, "libzstd", "failed: \(reason)")
    }
}

/// Makes frames of Zstandard.
final class ZstdCompressor: FrameCodec {
    private let context: OpaquePointer

    init(level: Int32) throws {
        guard let context = ZSTD_createCCtx() else { throw ZstdFrame.failed("it has no memory") }
        self.context = context
        for (parameter, value) in [
            (ZSTD_c_compressionLevel, level), (ZSTD_c_windowLog, ZstdFrame.windowLog),
            (ZSTD_c_checksumFlag, 1), (ZSTD_c_contentSizeFlag, 1),
        ] {
            let result = ZSTD_CCtx_setParameter(context, parameter, value)
            guard ZSTD_isError(result) == 0 else {
                throw ZstdFrame.failed(String(cString: ZSTD_getErrorName(result)))
            }
        }
    }

    deinit { ZSTD_freeCCtx(context) }

    func compress(_ content: UnsafeRawBufferPointer, into frame: UnsafeMutableRawBufferPointer) throws -> Int
    {
        let length = ZSTD_compress2(
            context, frame.baseAddress, frame.count, content.baseAddress, content.count)
        guard ZSTD_isError(length) == 0 else {
            throw ZstdFrame.failed(String(cString: ZSTD_getErrorName(length)))
        }
        return length
    }
}

/// Reads frames of Zstandard.
final class ZstdDecompressor: FrameDecoder {
    private let context: OpaquePointer

    init() throws {
        guard let context = ZSTD_createDCtx() else { throw ZstdFrame.failed("it has no memory") }
        self.context = context
    }

    deinit { ZSTD_freeDCtx(context) }

    func decompress(_ frame: UnsafeRawBufferPointer, into content: UnsafeMutableRawBufferPointer) throws {
        guard ZSTD_findFrameCompressedSize(frame.baseAddress, frame.count) == frame.count,
            ZSTD_getFrameContentSize(frame.baseAddress, frame.count) == UInt64(content.count)
        else {
            throw ArchiveError(.damaged, "there is a frame of another length than its record says")
        }
        let length = ZSTD_decompressDCtx(
            context, content.baseAddress, content.count, frame.baseAddress, frame.count)
        guard length == content.count else {
            throw ArchiveError(.damaged, "there is a frame that is no Zstandard")
        }
    }
}
