import Glibc
import Testing

@testable import Linux
@testable import Stages

struct StagesTests {
    private struct Fault: Error, Equatable {
        var number = 0
    }

    @Test func theyEndWhenAllHaveEnded() async throws {
        let ended = Locked([Int]())
        try await stages { group in
            for number in 0..<5 { try group.addStage { ended.withLock { $0.append(number) } } }
        }
        #expect(ended.withLock(\.self).sorted() == [0, 1, 2, 3, 4])
    }

    @Test func noStagesAtAllAreDoneAtOnce() async throws {
        try await stages { _ in }
    }

    @Test func everyStageHasAThreadOfItsOwn() async throws {
        // Each blocks its thread until all have come: on a shared thread that would be never.
        let barrier = Barrier(count: 8)
        let threads = Locked(Set<UInt>())
        try await stages { group in
            for _ in 0..<8 {
                try group.addStage {
                    barrier.wait()
                    threads.withLock { _ = $0.insert(UInt(pthread_self())) }
                }
            }
        }
        #expect(threads.withLock(\.count) == 8)
    }

    @Test func aStageIsOnItsThreadAgainAfterItWaited() async throws {
        let channel = BoundedChannel<Int>(limit: 1)
        let threads = Locked([Set<UInt>]())
        try await stages { group in
            for isSender in [true, false] {
                try group.addStage {
                    var seen: Set<UInt> = []
                    for number in 0..<200 {
                        if isSender {
                            try await channel.send(number)
                        } else {
                            _ = try await channel.receive()
                        }
                        seen.insert(UInt(pthread_self()))
                    }
                    threads.withLock { [seen] in $0.append(seen) }
                }
            }
        }
        let seen = threads.withLock(\.self)
        #expect(seen.allSatisfy { $0.count == 1 } && seen.count == 2 && seen[0] != seen[1])
    }

    @Test func aFailedStageWakesTheOthersAndItsErrorIsTheOneThrown() async throws {
        let empty = BoundedChannel<Int>(limit: 1)
        let full = BoundedChannel<Int>(limit: 1)
        try await full.send(0)
        for _ in 0..<50 {
            await #expect(throws: Fault(number: 3)) {
                try await stages { group in
                    for _ in 0..<3 { try group.addStage { _ = try await empty.receive() } }
                    for _ in 0..<3 {
                        try group.addStage {
                            try await full.send(1)
                        }
                    }
                    try group.addStage { throw Fault(number: 3) }
                }
            }
        }
    }

    @Test func anErrorOfAnInnerGroupEndsTheOuterOne() async throws {
        let empty = BoundedChannel<Int>(limit: 1)
        await #expect(throws: Fault(number: 1)) {
            try await stages { group in
                try group.addStage { _ = try await empty.receive() }
                try group.addStage {
                    try await stages { inner in
                        try inner.addStage { _ = try await empty.receive() }
                        try inner.addStage { throw Fault(number: 1) }
                    }
                }
            }
        }
    }

    @Test func aStageThatCannotBeAddedEndsThoseThatRun() async throws {
        let empty = BoundedChannel<Int>(limit: 1)
        await #expect(throws: Fault(number: 2)) {
            try await stages { group in
                try group.addStage { _ = try await empty.receive() }
                throw Fault(number: 2)
            }
        }
    }

    @Test func cancellingTheWholeEndsEveryStage() async throws {
        let empty = BoundedChannel<Int>(limit: 1)
        let whole = Task {
            try await stages { group in
                for _ in 0..<3 { try group.addStage { _ = try await empty.receive() } }
            }
        }
        whole.cancel()
        await #expect(throws: CancellationError.self) { try await whole.value }
    }

    @Test func bothRunSideBySideAndReturnWhatTheyMade() async throws {
        let barrier = Barrier(count: 2)
        let (number, text) = try await both(
            {
                barrier.wait()
                return Int?.none
            },
            {
                barrier.wait()
                return "two"
            })
        #expect(number == nil && text == "two")
    }

    @Test func theErrorOfOneEndsBoth() async {
        let empty = BoundedChannel<Int>(limit: 1)
        await #expect(throws: ChannelClosed.self) {
            try await both({ try await empty.receive() }, { () -> Int in throw ChannelClosed() })
        }
    }
}

/// Lets nobody through before `count` threads have come; blocks the thread.
private final class Barrier: @unchecked Sendable {
    private let barrier = UnsafeMutablePointer<pthread_barrier_t>.allocate(capacity: 1)

    init(count: UInt32) { pthread_barrier_init(barrier, nil, count) }

    deinit {
        pthread_barrier_destroy(barrier)
        barrier.deallocate()
    }

    func wait() { pthread_barrier_wait(barrier) }
}
