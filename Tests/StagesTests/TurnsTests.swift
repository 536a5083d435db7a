import Testing

@testable import Linux
@testable import Stages

struct TurnsTests {
    @Test(arguments: [1, 2, 7]) func theyAreInOrderWhateverTheWorkersDo(workers: Int) async throws {
        let turns = Turns()
        let numbers = BoundedChannel<UInt64>(limit: 3)
        let taken = Locked([UInt64]())
        try await stages { group in
            try group.addStage {
                for number in 0..<500 as Range<UInt64> { try await numbers.send(number) }
                numbers.finish()
            }
            for _ in 0..<workers {
                try group.addStage {
                    while let number = try await numbers.receive() {
                        if number % 3 == 0 { await Task.yield() }
                        try await turns.take(number) { taken.withLock { $0.append(number) } }
                    }
                }
            }
        }
        #expect(taken.withLock(\.self) == Array(0..<500))
    }

    @Test func nobodyWaitsForATurnThatFailed() async throws {
        struct Fault: Error {}
        let turns = Turns()
        await #expect(throws: Fault.self) {
            try await stages { group in
                for number in 1...3 as ClosedRange<UInt64> {
                    try group.addStage { try await turns.take(number) {} }
                }
                try group.addStage { try await turns.take(0) { throw Fault() } }
            }
        }
    }
}
