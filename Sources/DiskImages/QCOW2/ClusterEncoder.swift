internal import CZlib
internal import CZstd
internal import ImageFormats
internal import Linux
internal import SystemPackage

/// Compresses the clusters of a stretch, one behind the other. Holds what a stretch may take.
final class ClusterEncoder {
    private let clusterLength: Int
    private let compression: Qcow2Compression
    private let zstd: OpaquePointer?
    private var deflater = z_stream()
    private var output: AlignedBuffer

    /// A smaller table than zlib's usual one finds as much in a window of 4 KiB, and fits the
    /// processor's cache.
    private static let memoryLevel: CInt = 7
    /// Levels of both libraries where nobody asks for one.
    private static let zstdLevel: CInt = 3

    /// Compresses at most `capacity` bytes at a time. Throws where there is no memory.
    init(_ compression: Qcow2Compression, clusterLength: Int, capacity: Int, _ path: FilePath) throws {
        (self.compression, self.clusterLength) = (compression, clusterLength)
        output = try AlignedBuffer(capacity: capacity)
        zstd = compression == .zstd ? ZSTD_createCCtx() : nil
        let isReady: Bool
        switch compression {
        case .zstd:
            isReady = zstd != nil
            if let zstd {
                _ = ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, ClusterEncoder.zstdLevel)
            }
        case .zlib:
            isReady =
                deflateInit2_(
                    &deflater, Z_DEFAULT_COMPRESSION, Z_DEFLATED, ClusterDecoder.windowBits,
                    ClusterEncoder.memoryLevel, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
                    CInt(MemoryLayout<z_stream>.size)) == Z_OK
        }
        guard isReady else {
            throw DiskImageError(.shortage, path, "there is no memory to compress its clusters")
        }
    }

    deinit {
        if let zstd { ZSTD_freeCCtx(zstd) }
        if compression == .zlib { deflateEnd(&deflater) }
    }

    /// What was compressed, `count` bytes of it.
    func bytes(_ count: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: output.bytes[..<count])
    }

    /// Compresses `cluster`, whole, behind the first `start` bytes that are compressed already;
    /// returns its length, or nil where it would be no shorter.
    func compress(_ cluster: UnsafeRawBufferPointer, behind start: Int) -> Int? {
        let most = min(clusterLength - 1, output.bytes.count - start)
        guard most > 0 else { return nil }
        let room = UnsafeMutableRawBufferPointer(rebasing: output.bytes[start..<start + most])
        guard let zstd else { return deflate(cluster, into: room) }
        let length = ZSTD_compress2(zstd, room.baseAddress, room.count, cluster.baseAddress, cluster.count)
        return ZSTD_isError(length) == 0 ? length : nil
    }

    private func deflate(_ cluster: UnsafeRawBufferPointer, into room: UnsafeMutableRawBufferPointer) -> Int?
    {
        guard deflateReset(&deflater) == Z_OK else { return nil }
        deflater.next_in = UnsafeMutablePointer(
            mutating: cluster.baseAddress!.assumingMemoryBound(to: UInt8.self))
        deflater.avail_in = UInt32(cluster.count)
        deflater.next_out = room.baseAddress!.assumingMemoryBound(to: UInt8.self)
        deflater.avail_out = UInt32(room.count)
        guard CZlib.deflate(&deflater, Z_FINISH) == Z_STREAM_END else { return nil }
        return room.count - Int(deflater.avail_out)
    }
}
