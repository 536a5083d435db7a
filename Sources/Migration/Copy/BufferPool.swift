package import DiskImages
package import Stages

/// Aligned buffers that go round, with whatever bytes are in them.
package typealias BufferPool = Pool<AlignedBuffer>

extension Pool<AlignedBuffer> {
    /// `count` buffers of `capacity` bytes each.
    package init(count: Int, capacity: Int) async throws {
        try await self.init(count: count) { try AlignedBuffer(capacity: capacity) }
    }
}
