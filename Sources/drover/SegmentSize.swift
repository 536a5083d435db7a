internal import ArgumentParser
internal import Migration

/// The size of a checkpointed segment.
enum SegmentSize {
    static func check(_ size: ByteSize) throws {
        if size.bytes == 0 || size.bytes % UInt64(Bounds.chunk) != 0 || size.bytes > Bounds.longestSegment {
            throw ValidationError("--segment \(size.bytes) is no multiple of 1M up to 16G")
        }
    }
}
