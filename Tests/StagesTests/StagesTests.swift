import Glibc
import Testing

@testable import Stages

struct StagesTests {
    private struct Fault: Error, Equatable {
        var number = 0
    }

    @Test func theyReturnWhatAllStagesReturned() async throws {
        let results = try await stages { group in
            for number in 0..<5 { try group.addStage { [number, number] } }
        }
        #expect(results.sorted() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4])
    }

    @Test func noStagesAtAllAreDoneAtOnce() async throws {
        #expect(try await stages { (_: inout StageGroup<Int>) in }.isEmpty)
    }

    @Test func everyStageHasAThreadOfItsOwn() async throws {
        // Each blocks its thread until all have come: on a shared thread that would be never.
        let barrier = Barrier(count: 8)
        let threads = try await stages { group in
            for _ in 0..<8 {
                try group.addStage {
                    barrier.wait()
                    return [UInt(pthread_self())]
                }
            }
        }
        #expect(Set(threads).count == 8)
    }

    @Test func aStageIsOnItsThreadAgainAfterItWaited() async throws {
        let channel = BoundedChannel<Int>(limit: 1)
        let threads = try await stages { group in
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
                    return [seen]
                }
            }
        }
        #expect(threads.allSatisfy { $0.count == 1 } && threads.count == 2 && threads[0] != threads[1])
    }

    @Test func aFailedStageWakesTheOthersAndItsErrorIsTheOneThrown() async throws {
        let empty = BoundedChannel<Int>(limit: 1)
        let full = BoundedChannel<Int>(limit: 1)
        try await full.send(0)
        for _ in 0..<50 {
            await #expect(throws: Fault(number: 3)) {
                _ = try await stages { (group: inout StageGroup<Int>) in
                    for _ in 0..<3 { try group.addStage { [try await empty.receive() ?? 0] } }
                    for _ in 0..<3 {
                        try group.addStage {
                            try await full.send(1)
                            return []
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
            _ = try await stages { (group: inout StageGroup<Int>) in
                try group.addStage { [try await empty.receive() ?? 0] }
                try group.addStage {
                    try await stages { inner in
                        try inner.addStage { [try await empty.receive() ?? 0] }
                        try inner.addStage { throw Fault(number: 1) }
                    }
                }
            }
        }
    }

    @Test func aStageThatCannotBeAddedEndsThoseThatRun() async throws {
        let empty = BoundedChannel<Int>(limit: 1)
        await #expect(throws: Fault(number: 2)) {
            _ = try await stages { (group: inout StageGroup<Int>) in
                try group.addStage { [try await empty.receive() ?? 0] }
                throw Fault(number: 2)
            }
        }
    }

    @Test func cancellingTheWholeEndsEveryStage() async throws {
        let empty = BoundedChannel<Int>(limit: 1)
        let whole = Task {
            try await stages { (group: inout StageGroup<Int>) in
                for _ in 0..<3 { try group.addStage { [try await empty.receive() ?? 0] } }
            }
        }
        whole.cancel()
        await #expect(throws: CancellationError.self) { try await whole.value }
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
