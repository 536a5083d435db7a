internal import DiskImages

/// Turns a stored record into its content, or finds that it is damaged. One for each worker.
package struct FrameOpener {
    private let decompressor: FrameDecompressor

    /// Of frames in `format`.
    package init(_ format: FrameFormat) throws { decompressor = try FrameDecompressor(format) }

    /// Fills `content`, which is as long as the record says, from the record's `frame`; both digests
    /// were right.
    package func open(
        _ run: RunRecord, _ frame: UnsafeRawBufferPointer, into content: UnsafeMutableRawBufferPointer
    ) throws {
        guard ContentDigest(of: frame) == run.frameDigest else {
            throw ArchiveError(.damaged, "its frame is damaged")
        }
        try decompressor.decompress(frame, into: content)
        guard ContentDigest(of: UnsafeRawBufferPointer(content)) == run.contentDigest else {
            throw ArchiveError(.damaged, "its frame does not hold its content")
        }
    }
}
