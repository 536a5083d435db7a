import TestSupport
import Testing

@testable import Stages

/// The state machine alone: senders and receivers are names.
struct ChannelStateTests {
    private typealias State = ChannelState<Int, String, String>

    /// What an action says, for comparison.
    private func name(_ action: State.SendAction) -> String {
        switch action {
        case .taken: "taken"
        case .handOver(let receiver): "to \(receiver)"
        case .wait: "wait"
        case .refuse: "refuse"
        }
    }

    private func name(_ action: State.ReceiveAction) -> String {
        switch action {
        case .element(let element, let admitted): "\(element) \(admitted.joined(separator: ","))"
        case .end: "end"
        case .wait: "wait"
        }
    }

    private func wait(_ state: inout State, sender: String, _ element: Int, weight: Int) -> UInt64 {
        let id = state.makeID()
        guard case .waiting = state.wait(sender, id, element, weight: weight) else {
            Issue.record("\(sender) need not wait")
            return id
        }
        return id
    }

    private func wait(_ state: inout State, receiver: String) -> UInt64 {
        let id = state.makeID()
        guard case .waiting = state.wait(receiver, id) else {
            Issue.record("\(receiver) need not wait")
            return id
        }
        return id
    }

    @Test func elementsComeOutInTheOrderTheyWentIn() {
        var state = State(limit: 10)
        for element in 1...3 { #expect(name(state.send(element, weight: 1)) == "taken") }
        #expect((1...4).map { _ in name(state.receive()) } == ["1 ", "2 ", "3 ", "wait"])
    }

    @Test func theQueueIsFullWhenItsWeightIsReached() {
        var state = State(limit: 10)
        #expect(name(state.send(1, weight: 6)) == "taken")
        #expect(name(state.send(2, weight: 4)) == "taken")
        #expect(name(state.send(3, weight: 1)) == "wait")
    }

    @Test func anElementHeavierThanTheLimitIsLetInWhenTheQueueIsEmpty() {
        var state = State(limit: 10)
        #expect(name(state.send(1, weight: 99)) == "taken")
        #expect(name(state.send(2, weight: 1)) == "wait")
        _ = wait(&state, sender: "light", 2, weight: 1)
        _ = wait(&state, sender: "heavy", 3, weight: 99)
        #expect(name(state.receive()) == "1 light")
        #expect(name(state.receive()) == "2 heavy")
        #expect(name(state.receive()) == "3 ")
    }

    @Test func aLightElementDoesNotOvertakeAHeavyOneThatWaits() {
        var state = State(limit: 10)
        _ = state.send(1, weight: 8)
        _ = wait(&state, sender: "heavy", 2, weight: 5)
        #expect(name(state.send(3, weight: 1)) == "wait")
    }

    @Test func oneReceiveMayLetManySendersIn() {
        var state = State(limit: 10)
        _ = state.send(1, weight: 10)
        for element in 2...4 { _ = wait(&state, sender: "s\(element)", element, weight: 4) }
        #expect(name(state.receive()) == "1 s2,s3")
        #expect(name(state.receive()) == "2 s4")
    }

    @Test func whoeverSendsIsWokenWhenHalfOfTheQueueIsGone() {
        var state = State(limit: 4)
        for element in 1...4 { _ = state.send(element, weight: 1) }
        _ = wait(&state, sender: "next", 5, weight: 1)
        #expect((1...3).map { _ in name(state.receive()) } == ["1 ", "2 next", "3 "])
    }

    @Test func theReceiverThatWaitedLongestGetsTheElement() {
        var state = State(limit: 10)
        _ = wait(&state, receiver: "a")
        _ = wait(&state, receiver: "b")
        #expect((1...3).map { name(state.send($0, weight: 1)) } == ["to a", "to b", "taken"])
    }

    @Test func whatIsQueuedIsReceivedAfterTheEnd() {
        var state = State(limit: 10)
        _ = state.send(1, weight: 1)
        #expect(state.finish() == ([], []))
        #expect(name(state.receive()) == "1 ")
        #expect(name(state.receive()) == "end")
        #expect(name(state.receive()) == "end")
    }

    @Test func nothingIsTakenAfterTheEnd() {
        var state = State(limit: 10)
        _ = state.finish()
        #expect(name(state.send(1, weight: 1)) == "refuse")
    }

    @Test func theEndIsToldToAllWhoWait() {
        var empty = State(limit: 1)
        _ = wait(&empty, receiver: "a")
        _ = wait(&empty, receiver: "b")
        #expect(empty.finish() == (["a", "b"], []))
        var full = State(limit: 1)
        _ = full.send(1, weight: 1)
        _ = wait(&full, sender: "s", 2, weight: 1)
        #expect(full.finish() == ([], ["s"]))
    }

    @Test func whoeverIsCancelledNoLongerWaits() {
        var state = State(limit: 1)
        let receiver = wait(&state, receiver: "r")
        guard case .receiver("r") = state.cancel(receiver) else { return #expect(Bool(false), "r waits") }
        #expect(name(state.send(1, weight: 1)) == "taken")
        let sender = wait(&state, sender: "s", 2, weight: 1)
        guard case .sender("s") = state.cancel(sender) else { return #expect(Bool(false), "s waits") }
        #expect(name(state.receive()) == "1 ")
        #expect(name(state.receive()) == "wait")
    }

    @Test func whoeverIsCancelledBeforeTheWaitDoesNotBeginIt() {
        var state = State(limit: 1)
        let receiver = state.makeID()
        guard case .none = state.cancel(receiver), case .cancelled = state.wait("r", receiver) else {
            return #expect(Bool(false), "r must not wait")
        }
        _ = state.send(1, weight: 1)
        let sender = state.makeID()
        guard case .none = state.cancel(sender), case .cancelled = state.wait("s", sender, 2, weight: 1)
        else {
            return #expect(Bool(false), "s must not wait")
        }
    }

    @Test func whoeverFindsThingsChangedTriesAgain() {
        var state = State(limit: 1)
        _ = state.send(1, weight: 1)
        guard case .retry = state.wait("r", state.makeID()) else {
            return #expect(Bool(false), "there is an element")
        }
        _ = state.receive()
        guard case .retry = state.wait("s", state.makeID(), 2, weight: 1) else {
            return #expect(Bool(false), "there is room")
        }
        _ = state.finish()
        guard case .retry = state.wait("r", state.makeID()) else {
            return #expect(Bool(false), "it has ended")
        }
    }
}
