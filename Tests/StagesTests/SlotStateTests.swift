import TestSupport
import Testing

@testable import Stages

/// Who runs and who waits, with a jobserver that is a number.
struct SlotStateTests {
    /// The state beside the tokens that are there.
    private struct Model {
        var state: SlotState<String>
        var tokens: Int

        init(limit: Int, tokens: Int) {
            state = SlotState(limit: limit)
            self.tokens = tokens
        }

        private mutating func withToken<Result>(_ body: (inout SlotState<String>, () -> Bool) -> Result)
            -> Result
        {
            var left = tokens
            defer { tokens = left }
            return body(&state) {
                guard left > 0 else { return false }
                left -= 1
                return true
            }
        }

        mutating func take() -> Bool { withToken { $0.take($1) } }
        mutating func wait(_ name: String, _ id: UInt64, isUrgent: Bool = false)
            -> SlotState<String>.WaitAction
        {
            withToken { $0.wait(name, id, isUrgent: isUrgent, $1) }
        }
        mutating func admit() -> [String] { withToken { $0.admit($1) } }
        mutating func give() -> String? {
            var left = tokens
            defer { tokens = left }
            return state.give { left += 1 }
        }
    }

    @Test func theFirstSlotNeedsNoToken() {
        var model = Model(limit: 4, tokens: 0)
        let taken = [model.take(), model.take()]
        #expect(taken == [true, false])
        #expect(model.state.inUse == 1)
    }

    @Test func everyFurtherSlotTakesATokenUpToTheLimit() {
        var model = Model(limit: 3, tokens: 5)
        let taken = (0..<4).map { _ in model.take() }
        #expect(taken == [true, true, true, false])
        #expect(model.tokens == 3)
    }

    @Test func slotsThatAreGivenGiveTheirTokensAndTheProcessKeepsItsOwn() {
        var model = Model(limit: 3, tokens: 2)
        for _ in 0..<3 { _ = model.take() }
        let handed = [model.give(), model.give()]
        #expect(handed == [nil, nil])
        #expect(model.tokens == 2 && model.state.inUse == 1)
        _ = model.give()
        #expect(model.tokens == 2 && model.state.inUse == 0)
    }

    @Test func aSlotThatIsGivenGoesToWhoeverWaits() {
        var model = Model(limit: 1, tokens: 9)
        _ = model.take()
        let waits = [model.wait("a", 1), model.wait("b", 2)]
        #expect(waits == [.waiting, .waiting])
        let given = [model.give(), model.give(), model.give()]
        #expect(given == ["a", "b", nil])
        #expect(model.tokens == 9 && model.state.inUse == 0)
    }

    @Test func theUrgentComeFirst() {
        var model = Model(limit: 1, tokens: 0)
        _ = model.take()
        _ = model.wait("helper", 1)
        _ = model.wait("image", 2, isUrgent: true)
        _ = model.wait("next image", 3, isUrgent: true)
        let given = (0..<3).map { _ in model.give() }
        #expect(given == ["image", "next image", "helper"])
    }

    @Test func aTokenIsWantedOnlyWhereItLetsSomebodyRun() {
        var model = Model(limit: 2, tokens: 0)
        _ = model.take()
        #expect(!model.state.wantsToken)
        _ = model.wait("a", 1)
        _ = model.wait("b", 2)
        #expect(model.state.wantsToken)
        model.tokens = 2
        #expect(model.admit() == ["a"])
        #expect(!model.state.wantsToken && model.tokens == 1)
    }

    @Test func whoeverIsAboutToWaitTakesWhatCameMeanwhile() {
        var model = Model(limit: 2, tokens: 0)
        _ = model.take()
        model.tokens = 1
        #expect(model.wait("a", 1) == .taken)
    }

    @Test func cancelledBeforeOrWhileItWaits() {
        var model = Model(limit: 1, tokens: 0)
        _ = model.take()
        let early = model.state.cancel(1)
        #expect(early == nil)
        #expect(model.wait("a", 1) == .cancelled)
        _ = model.wait("b", 2)
        let late = model.state.cancel(2)
        #expect(late == "b")
        #expect(model.give() == nil)
    }

    @Test func noTokenIsLostInAnyOrderOfEvents() {
        let seed = TestSeed(for: #function)
        for round in 0..<200 {
            var generator = seed.generator(round: round)
            let all = Int.random(in: 0...4, using: &generator)
            var model = Model(limit: Int.random(in: 1...5, using: &generator), tokens: all)
            var waiting: Set<UInt64> = []
            var running = 0
            for _ in 0..<100 {
                switch Int.random(in: 0..<5, using: &generator) {
                case 0: if model.take() { running += 1 }
                case 1:
                    let id = model.state.makeID()
                    switch model.wait("\(id)", id, isUrgent: Bool.random(using: &generator)) {
                    case .taken: running += 1
                    case .waiting: waiting.insert(id)
                    case .cancelled: Issue.record("\(seed), round \(round): never cancelled")
                    }
                case 2 where running > 0:
                    if let next = model.give() { waiting.remove(UInt64(next) ?? 0) } else { running -= 1 }
                case 3:
                    for next in model.admit() {
                        waiting.remove(UInt64(next) ?? 0)
                        running += 1
                    }
                default: if let id = waiting.first, model.state.cancel(id) != nil { waiting.remove(id) }
                }
                #expect(
                    model.state.inUse == running && running <= model.state.limit, "\(seed), round \(round)")
                #expect(model.tokens == all - max(0, running - 1), "\(seed), round \(round)")
                #expect(waiting.isEmpty || running > 0, "\(seed), round \(round)")
            }
        }
    }
}
