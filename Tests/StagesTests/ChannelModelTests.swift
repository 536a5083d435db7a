import TestSupport
import Testing

@testable import Stages

/// The channel's state machine against a list of everything that was sent, over random calls.
struct ChannelModelTests {
    private typealias State = ChannelState<Int, Int, Int>

    /// What is known of a channel from outside. Senders wait under their element's name, receivers
    /// under their own.
    private struct Model {
        let limit: Int
        /// Taken and not received, in order.
        var queue: [Int] = []
        var weights: [Int: Int] = [:]
        var senders: [(element: Int, id: UInt64)] = []
        var receivers: [(name: Int, id: UInt64)] = []
        var isFinished = false

        var weight: Int { queue.reduce(0) { $0 + (weights[$1] ?? 0) } }
    }

    @Test func randomCallsLoseNothingAndKeepOrderAndBound() {
        let seed = TestSeed()
        for round in 0..<300 {
            var generator = seed.generator(round: round)
            let limit = Int.random(in: 1...8, using: &generator)
            var state = State(limit: limit)
            var model = Model(limit: limit)
            for step in 0..<120 {
                let fault = self.step(&state, &model, step, &generator)
                guard fault == nil else {
                    Issue.record("\(fault ?? ""), step \(step); \(seed), round \(round)")
                    return
                }
            }
        }
    }

    /// One random call; what is wrong with its answer, or nil.
    private func step(_ state: inout State, _ model: inout Model, _ step: Int, _ generator: inout SplitMix64)
        -> String?
    {
        switch Int.random(in: 0..<20, using: &generator) {
        case 0..<8: send(&state, &model, step, weight: Int.random(in: 1...10, using: &generator))
        case 8..<16: receive(&state, &model, step)
        case 16..<19: cancel(&state, &model, &generator)
        default: generator.chance(1, in: 4) ? finish(&state, &model) : nil
        }
    }

    private func send(_ state: inout State, _ model: inout Model, _ element: Int, weight: Int) -> String? {
        model.weights[element] = weight
        let action = state.send(element, weight: weight)
        if model.isFinished {
            guard case .refuse = action else { return "sent after the end" }
            return nil
        }
        if !model.receivers.isEmpty {
            guard case .handOver(let name) = action, name == model.receivers.removeFirst().name else {
                return "a receiver was passed over"
            }
            return nil
        }
        if model.senders.isEmpty, model.queue.isEmpty || model.weight + weight <= model.limit {
            guard case .taken = action else { return "there was room" }
            model.queue.append(element)
            return nil
        }
        guard case .wait = action else { return "there was no room" }
        let id = state.makeID()
        guard case .waiting = state.wait(element, id, element, weight: weight) else {
            return "the sender must wait"
        }
        model.senders.append((element, id))
        return nil
    }

    private func receive(_ state: inout State, _ model: inout Model, _ name: Int) -> String? {
        let action = state.receive()
        guard let first = model.queue.first else {
            if model.isFinished {
                guard case .end = action else { return "it has ended" }
                return nil
            }
            guard case .wait = action else { return "it is empty" }
            let id = state.makeID()
            guard case .waiting = state.wait(name, id) else { return "the receiver must wait" }
            model.receivers.append((name, id))
            return nil
        }
        guard case .element(first, let admitted) = action else { return "the oldest is \(first)" }
        model.queue.removeFirst()
        let isHalfGone = model.weight <= model.limit / 2
        guard isHalfGone || admitted.isEmpty else { return "\(admitted) were woken too early" }
        for element in admitted {
            guard element == model.senders.first?.element else {
                return "\(element) was let in before its turn"
            }
            model.queue.append(model.senders.removeFirst().element)
            guard model.queue.count == 1 || model.weight <= model.limit else {
                return "more than \(model.limit) in the queue"
            }
        }
        if isHalfGone, let next = model.senders.first,
            model.queue.isEmpty || model.weight + (model.weights[next.element] ?? 0) <= model.limit
        {
            return "\(next.element) was left waiting although there is room"
        }
        return nil
    }

    private func cancel(_ state: inout State, _ model: inout Model, _ generator: inout SplitMix64) -> String?
    {
        if let index = model.senders.indices.randomElement(using: &generator) {
            let sender = model.senders.remove(at: index)
            guard case .sender(sender.element) = state.cancel(sender.id) else {
                return "the sender of \(sender.element) waits"
            }
        } else if let index = model.receivers.indices.randomElement(using: &generator) {
            let receiver = model.receivers.remove(at: index)
            guard case .receiver(receiver.name) = state.cancel(receiver.id) else {
                return "receiver \(receiver.name) waits"
            }
        } else {
            let id = state.makeID()
            guard case .none = state.cancel(id) else { return "nobody waits" }
            state.forget(id)
        }
        return nil
    }

    private func finish(_ state: inout State, _ model: inout Model) -> String? {
        let waiting = state.finish()
        defer { (model.isFinished, model.senders, model.receivers) = (true, [], []) }
        return waiting.receivers == model.receivers.map(\.name)
            && waiting.senders == model.senders.map(\.element)
            ? nil : "somebody who waits was not told"
    }
}
