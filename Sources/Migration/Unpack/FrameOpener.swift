internal import DiskImages
internal import TransportArchive

/// Turns a stored record into its content, or finds that it is damaged. One for each worker.
struct FrameOpener {
    private let decompressor: FrameDecompressor
    private let content: AlignedBuffer

    /// Of frames in `format`.
    init(_ format: FrameFormat) throws {
        decompressor = try FrameDecompressor(format)
        content = try AlignedBuffer(capacity: RunRecord.longestContent)
    }

    /// The content, valid until the next call; both digests were right.
    func open(_ run: RunRecord, _ frame: AlignedBuffer?) throws -> UnsafeRawBufferPointer {
        guard let frame else { return UnsafeRawBufferPointer(rebasing: content.bytes[..<0]) }
        let stored = UnsafeRawBufferPointer(rebasing: frame.bytes[..<run.frameLength])
        guard ContentDigest(of: stored) == run.frameDigest else {
            throw ArchiveError(.damaged, "its frame is damaged")
        }
        let bytes = UnsafeMutableRawBufferPointer(rebasing: content.bytes[..<run.contentLength])
        try decompressor.decompress(stored, into: bytes)
        let data = UnsafeRawBufferPointer(bytes)
        guard ContentDigest(of: data) == run.contentDigest else {
            throw ArchiveError(.damaged, "its frame does not hold its content")
        }
        return data
    }
}
