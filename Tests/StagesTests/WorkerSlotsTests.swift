import Testing

@testable import Linux
@testable import Stages

/// Slots among tasks, and the crews that work in them. Gates, never sleeps.
struct WorkerSlotsTests {
    private struct Fault: Error, Equatable {}

    /// Counts who is inside, and the most that ever were.
    private final class Tally: Sendable {
        private let state = Locked((now: 0, most: 0, all: 0))
        var most: Int { state.withLock { $0.most } }
        var all: Int { state.withLock { $0.all } }
        func enter() { state.withLock { $0 = ($0.now + 1, max($0.most, $0.now + 1), $0.all + 1) } }
        func leave() { state.withLock { $0.now -= 1 } }
    }

    @Test func noMoreRunAtOnceThanThereAreSlots() async throws {
        let (slots, tally) = (WorkerSlots(limit: 3), Tally())
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<200 {
                group.addTask {
                    try await slots.holding {
                        tally.enter()
                        await Task.yield()
                        tally.leave()
                    }
                }
            }
            for try await _ in group {}
        }
        #expect(tally.all == 200 && tally.most <= 3)
    }

    @Test func waitingForASlotEndsWithCancellation() async throws {
        let slots = WorkerSlots(limit: 1)
        try await slots.take()
        let waiter = Task { try await slots.take() }
        waiter.cancel()
        await #expect(throws: CancellationError.self) { try await waiter.value }
        slots.give()
        try await slots.take()
    }

    @Test func aSlotIsGivenBackAfterAnError() async throws {
        let slots = WorkerSlots(limit: 1)
        for _ in 0..<3 { await #expect(throws: Fault()) { try await slots.holding { throw Fault() } } }
    }

    @Test(arguments: [1, 2, 5])
    func aCrewIsAsLargeAsThereAreSlots(limit: Int) async throws {
        let slots = WorkerSlots(limit: limit)
        let input = BoundedChannel<Int>(limit: 100)
        // Each holds on to its first element until all have one.
        let arrived = BoundedChannel<Void>(limit: 100)
        let gate = BoundedChannel<Void>(limit: 100)
        for number in 0..<limit { try await input.send(number) }
        let results = Locked([Int]())
        try await slots.holding {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await Workers.work(slots) {
                        while let next = try await input.receive() {
                            results.withLock { $0.append(next) }
                            try await arrived.send(())
                            _ = try await gate.receive()
                        }
                    }
                }
                group.addTask {
                    for _ in 0..<limit { _ = try await arrived.receive() }
                    input.finish()
                    gate.finish()
                }
                for try await _ in group {}
            }
        }
        #expect(results.withLock { $0.sorted() } == Array(0..<limit))
    }

    @Test func whoeverWaitsForASlotDoesNotHoldUpTheEnd() async throws {
        let slots = WorkerSlots(limit: 3)
        // Somebody else has all of them, and keeps them.
        for _ in 0..<3 { try await slots.take() }
        let calls = Locked(0)
        try await Workers.work(slots) { calls.withLock { $0 += 1 } }
        #expect(calls.withLock(\.self) == 1)
        for _ in 0..<3 { slots.give() }
        for _ in 0..<3 { try await slots.take() }
    }

    @Test func aHelperJoinsWhenASlotBecomesFree() async throws {
        let slots = WorkerSlots(limit: 2)
        for _ in 0..<2 { try await slots.take() }
        let arrived = BoundedChannel<Void>(limit: 9)
        let gate = BoundedChannel<Void>(limit: 9)
        let ended = Locked(0)
        let crew = Task {
            try await Workers.work(slots) {
                try await arrived.send(())
                _ = try await gate.receive()
                ended.withLock { $0 += 1 }
            }
        }
        _ = try await arrived.receive()
        slots.give()
        _ = try await arrived.receive()
        gate.finish()
        try await crew.value
        #expect(ended.withLock(\.self) == 2)
    }

    @Test func anErrorEndsTheCrewAndTheSlotsAreGivenBack() async throws {
        let slots = WorkerSlots(limit: 4)
        let never = BoundedChannel<Int>(limit: 1)
        let calls = Locked(0)
        for _ in 0..<20 {
            await #expect(throws: Fault()) {
                try await slots.holding {
                    try await Workers.work(slots) {
                        let isLast = calls.withLock { calls in
                            calls += 1
                            return calls % 2 == 0
                        }
                        if isLast { throw Fault() }
                        _ = try await never.receive()
                    }
                }
            }
        }
        for _ in 0..<4 { try await slots.take() }
    }

    @Test func cancellingTheCrewEndsThoseWhoWaitToo() async throws {
        let slots = WorkerSlots(limit: 3)
        try await slots.take()
        try await slots.take()
        let never = BoundedChannel<Int>(limit: 1)
        let crew = Task { try await Workers.work(slots) { _ = try await never.receive() } }
        crew.cancel()
        await #expect(throws: CancellationError.self) { try await crew.value }
        try await slots.take()
    }

    @Test(arguments: [1, 4]) func whatIsMadeOfEachComesInTheirOrder(_ limit: Int) async throws {
        let (slots, tally) = (WorkerSlots(limit: limit), Tally())
        try await slots.take()
        let doubled = try await Workers.map(Array(0..<500), slots) { number in
            tally.enter()
            defer { tally.leave() }
            return number % 7 == 0 ? Int?.none : 2 * number
        }
        #expect(doubled == (0..<500).map { $0 % 7 == 0 ? nil : 2 * $0 })
        #expect(tally.all == 500 && tally.most <= limit)
        #expect(try await Workers.map([Int](), slots) { $0 }.isEmpty)
    }

    private struct Failure: Error, Equatable { let number: Int }

    @Test func ofSeveralErrorsTheOneOfTheFirstElementIsThrown() async throws {
        let (slots, gate) = (WorkerSlots(limit: 2), BoundedChannel<Int>(limit: 1))
        try await slots.take()
        await #expect(throws: Failure(number: 3)) {
            // The second to fail is the first in their order.
            try await Workers.map(Array(0..<100), slots) { number in
                if number == 3 {
                    _ = try await gate.receive()
                    throw Failure(number: 3)
                }
                if number == 10 {
                    gate.finish()
                    throw Failure(number: 10)
                }
            }
        }
    }
}
