import Testing

@testable import Linux
@testable import Stages

/// The channel among tasks. Nothing here sleeps: who must be waiting is made to wait by what was
/// sent before.
struct BoundedChannelTests {
    /// Runs `body` in a task that is cancelled already.
    private func cancelled<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) async throws
        -> Value
    {
        let task = Task {
            while !Task.isCancelled { await Task.yield() }
            return try await body()
        }
        task.cancel()
        return try await task.value
    }

    @Test func elementsArriveInOrderThroughANarrowChannel() async throws {
        let channel = BoundedChannel<Int>(limit: 1)
        async let sent: Void = {
            for element in 0..<1000 { try await channel.send(element) }
            channel.finish()
        }()
        var received: [Int] = []
        while let element = try await channel.receive() { received.append(element) }
        try await sent
        #expect(received == Array(0..<1000))
    }

    @Test(arguments: [1, 3, 64])
    func manySendersAndReceiversLoseNothingAndDoubleNothing(limit: Int) async throws {
        let channel = BoundedChannel<Int>(limit: limit)
        let received = try await withThrowingTaskGroup(of: [Int].self) { group in
            for _ in 0..<8 {
                group.addTask {
                    var taken: [Int] = []
                    while let element = try await channel.receive() { taken.append(element) }
                    return taken
                }
            }
            try await withThrowingTaskGroup(of: Void.self) { senders in
                for sender in 0..<8 {
                    senders.addTask {
                        for element in 0..<250 {
                            try await channel.send(sender * 250 + element, weight: element % 5 + 1)
                        }
                    }
                }
                for try await _ in senders {}
            }
            channel.finish()
            return try await group.reduce(into: []) { $0 += $1 }
        }
        #expect(received.sorted() == Array(0..<2000))
    }

    @Test func aSenderWaitsUntilThereIsRoom() async throws {
        let channel = BoundedChannel<Int>(limit: 2)
        let sent = Locked(0)
        let sender = Task {
            for element in 0..<6 {
                try await channel.send(element)
                sent.withLock { $0 += 1 }
            }
            channel.finish()
        }
        var received = 0
        while let element = try await channel.receive() {
            #expect(element == received)
            received += 1
            // Two in the queue and one that is on its way.
            #expect(sent.withLock { $0 } <= received + 2)
        }
        try await sender.value
        #expect(received == 6)
    }

    @Test func aHeavyElementGoesThroughAlone() async throws {
        let channel = BoundedChannel<String>(limit: 1)
        try await channel.send("heavy", weight: 1 << 40)
        #expect(try await channel.receive() == "heavy")
    }

    @Test func cancellationIsAnErrorAndNeverTheEnd() async throws {
        let channel = BoundedChannel<Int>(limit: 1)
        await #expect(throws: CancellationError.self) { try await cancelled { try await channel.receive() } }
        await #expect(throws: CancellationError.self) { try await cancelled { try await channel.send(1) } }
        channel.finish()
        await #expect(throws: CancellationError.self) { try await cancelled { try await channel.receive() } }
    }

    @Test func aReceiverThatWaitsIsWokenByItsCancellation() async throws {
        let channel = BoundedChannel<Int>(limit: 1)
        for _ in 0..<200 {
            let receiver = Task { try await channel.receive() }
            await Task.yield()
            receiver.cancel()
            await #expect(throws: CancellationError.self) { try await receiver.value }
        }
        // None of them took this one along.
        try await channel.send(7)
        #expect(try await channel.receive() == 7)
    }

    @Test func aSenderThatWaitsIsWokenByItsCancellationAndItsElementIsNotSent() async throws {
        let channel = BoundedChannel<Int>(limit: 1)
        try await channel.send(0)
        for _ in 0..<200 {
            let sender = Task { try await channel.send(1) }
            await Task.yield()
            sender.cancel()
            await #expect(throws: CancellationError.self) { try await sender.value }
        }
        channel.finish()
        #expect(try await channel.receive() == 0)
        #expect(try await channel.receive() == nil)
    }

    @Test func nothingIsSentAfterTheEnd() async throws {
        let channel = BoundedChannel<Int>(limit: 1)
        channel.finish()
        await #expect(throws: ChannelClosed.self) { try await channel.send(1) }
        #expect(try await channel.receive() == nil)
    }

    @Test func theEndReachesEveryReceiver() async throws {
        let channel = BoundedChannel<Int>(limit: 1)
        let receivers = (0..<8).map { _ in Task { try await channel.receive() } }
        await Task.yield()
        channel.finish()
        for receiver in receivers { #expect(try await receiver.value == nil) }
    }
}
