internal import CZlib
internal import CZstd
internal import ImageFormats
internal import Linux
internal import SystemPackage

/// Decompresses the clusters of a qcow2 file, one after the other. Holds a cluster and what its
/// compressed bytes take at most, three clusters in all.
struct ClusterDecoder: ~Copyable {
    /// QEMU deflates clusters with a window of 4 KiB, without a header.
    static let windowBits: CInt = -12
    /// The largest window of a Zstandard frame that is decoded: 16 MiB.
    private static let longestWindow: CInt = 24

    private let header: Qcow2Header
    private let path: FilePath
    private let zstd: OpaquePointer?
    private var packed: [UInt8] = []
    private var cluster: [UInt8] = []

    init(_ header: Qcow2Header, _ path: FilePath) throws {
        (self.header, self.path) = (header, path)
        guard header.compression == .zstd else {
            zstd = nil
            return
        }
        guard let context = ZSTD_createDCtx() else {
            throw DiskImageError(.shortage, path, "there is no memory to decompress its clusters")
        }
        _ = ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, ClusterDecoder.longestWindow)
        zstd = context
    }

    deinit { if let zstd { ZSTD_freeDCtx(zstd) } }

    /// Fills `buffer` with the bytes of a cluster from `skipping` on; it lies at `offset` of `file`
    /// and takes at most `length` bytes. `guest` is where the first byte lies in the disk.
    mutating func decode(
        _ file: ImageFile, at offset: UInt64, _ length: Int, skipping: Int,
        into buffer: UnsafeMutableRawBufferPointer, guest: UInt64
    ) throws {
        if packed.count < length { packed = [UInt8](repeating: 0, count: length) }
        let held = try packed.withUnsafeMutableBytes {
            try file.readAvailable(into: UnsafeMutableRawBufferPointer(rebasing: $0[..<length]), at: offset)
        }
        let whole = Int(header.clusterLength)
        let isSound: Bool
        if skipping == 0, buffer.count == whole {
            isSound = decode(held, into: buffer)
        } else {
            if cluster.isEmpty { cluster = [UInt8](repeating: 0, count: whole) }
            var bytes: [UInt8] = []
            swap(&bytes, &cluster)
            isSound = bytes.withUnsafeMutableBytes { decode(held, into: $0) }
            bytes.withUnsafeBytes {
                buffer.copyMemory(
                    from: UnsafeRawBufferPointer(rebasing: $0[skipping..<skipping + buffer.count]))
            }
            swap(&bytes, &cluster)
        }
        guard isSound else {
            throw DiskImageError(
                .badData, path,
                "sector \(guest / sectorSize): the compressed cluster at offset \(offset), \(length) bytes at most, is damaged; expected \(whole) bytes of \(header.compression.rawValue) data"
            )
        }
    }

    /// Whether the first `count` of `packed` are exactly a cluster, or more.
    private mutating func decode(_ count: Int, into cluster: UnsafeMutableRawBufferPointer) -> Bool {
        packed.withUnsafeMutableBytes { packed in
            let input = UnsafeMutableRawBufferPointer(rebasing: packed[..<count])
            return zstd.map { ClusterDecoder.decompress(input, into: cluster, $0) }
                ?? ClusterDecoder.inflate(input, into: cluster)
        }
    }

    private static func inflate(
        _ input: UnsafeMutableRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) -> Bool {
        var stream = z_stream()
        guard
            inflateInit2_(&stream, windowBits, ZLIB_VERSION, CInt(MemoryLayout<z_stream>.size)) == Z_OK
        else { return false }
        defer { inflateEnd(&stream) }
        stream.next_in = input.baseAddress?.assumingMemoryBound(to: UInt8.self)
        stream.avail_in = UInt32(input.count)
        stream.next_out = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
        stream.avail_out = UInt32(output.count)
        let result = CZlib.inflate(&stream, Z_FINISH)
        // What stands behind the cluster's bytes in its last sector is another one's.
        return stream.avail_out == 0 && (result == Z_STREAM_END || result == Z_BUF_ERROR || result == Z_OK)
    }

    private static func decompress(
        _ input: UnsafeMutableRawBufferPointer, into output: UnsafeMutableRawBufferPointer,
        _ context: OpaquePointer
    ) -> Bool {
        _ = ZSTD_DCtx_reset(context, ZSTD_reset_session_only)
        var from = ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
        var to = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
        while to.pos < to.size {
            let (before, written) = (from.pos, to.pos)
            let result = ZSTD_decompressStream(context, &to, &from)
            if ZSTD_isError(result) != 0 { return false }
            if result == 0 { return to.pos == to.size }
            if from.pos == before, to.pos == written { return false }
        }
        return true
    }
}
