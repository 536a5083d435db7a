internal import ArgumentParser
internal import Manifests
internal import Migration
internal import PipelineFiles

/// The size of a checkpointed segment.
enum SegmentSize {
    static func check(_ size: ByteSize) throws {
        if size.bytes == 0 || size.bytes % UInt64(Limits.chunk) != 0 || size.bytes > Segment.longest {
            throw ValidationError("--segment \(size.bytes) is no multiple of 1M up to 16G")
        }
    }
}
