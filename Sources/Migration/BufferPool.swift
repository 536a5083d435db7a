package import DiskImages

/// A fixed number of aligned buffers that go round: whoever needs one waits until one is given back. It bounds what is read ahead; a worker may
/// have buffers of its own beside it.
package struct BufferPool: Sendable {
    private let free: BoundedChannel<AlignedBuffer>

    /// `count` buffers of `capacity` bytes each.
    package init(count: Int, capacity: Int) async throws {
        free = BoundedChannel(limit: count)
        for _ in 0..<count { try await free.send(try AlignedBuffer(capacity: capacity)) }
    }

    /// A buffer that nobody else uses, with whatever bytes are in it.
    package func take() async throws -> AlignedBuffer {
        guard let buffer = try await free.receive() else { throw ChannelClosed() }
        return buffer
    }

    /// Gives a buffer back; never waits, because the pool has room for all of its buffers.
    package func give(_ buffer: AlignedBuffer) async throws { try await free.send(buffer) }
}
