import DiskImages
import Stages
import Testing

@testable import Linux
@testable import Migration

struct BufferPoolTests {
    @Test func itsBuffersHaveTheSizeAskedForAndAreAligned() async throws {
        let pool = try await BufferPool(count: 2, capacity: 8192)
        let buffers = [try await pool.take(), try await pool.take()]
        for buffer in buffers {
            #expect(buffer.bytes.count == 8192)
            #expect(buffer.bytes.baseAddress.map { UInt(bitPattern: $0) % 4096 } == 0)
        }
        #expect(buffers[0] !== buffers[1])
    }

    @Test func aBufferThatWasGivenBackIsTakenAgain() async throws {
        let pool = try await BufferPool(count: 1, capacity: 4096)
        let first = try await pool.take()
        try await pool.give(first)
        #expect(try await pool.take() === first)
    }

    @Test func whoeverFindsNoneWaitsForOne() async throws {
        let pool = try await BufferPool(count: 1, capacity: 4096)
        let first = try await pool.take()
        async let second = pool.take()
        try await pool.give(first)
        #expect(try await second === first)
    }

    @Test func noBufferIsInTwoHands() async throws {
        let pool = try await BufferPool(count: 3, capacity: 4096)
        let held = Locked<[ObjectIdentifier]>([])
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<12 {
                group.addTask {
                    for _ in 0..<50 {
                        let buffer = try await pool.take()
                        let isAlone = held.withLock { held in
                            defer { held.append(ObjectIdentifier(buffer)) }
                            return !held.contains(ObjectIdentifier(buffer)) && held.count < 3
                        }
                        #expect(isAlone)
                        held.withLock { $0.removeAll { $0 == ObjectIdentifier(buffer) } }
                        try await pool.give(buffer)
                    }
                }
            }
            for try await _ in group {}
        }
    }

    @Test func waitingForABufferEndsWithCancellation() async throws {
        let pool = try await BufferPool(count: 1, capacity: 4096)
        let first = try await pool.take()
        let waiter = Task { _ = try await pool.take() }
        waiter.cancel()
        await #expect(throws: CancellationError.self) { try await waiter.value }
        try await pool.give(first)
    }
}
