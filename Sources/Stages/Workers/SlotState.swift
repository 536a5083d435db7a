/// Who may run and who waits, apart from locks and tasks. `Waiter` stands for whoever waits.
///
/// The first slot in use belongs to the process; each further one needs a token, which `token`
/// fetches: false where there is none now. Invariants: tokens held are one less than slots in use,
/// and none where none is used; nobody waits while no slot is in use.
struct SlotState<Waiter> {
    let limit: Int
    private(set) var inUse = 0
    /// The urgent ones first, otherwise in the order they came in.
    private var waiting: [(id: UInt64, isUrgent: Bool, waiter: Waiter)] = []
    /// Those that gave up before they began to wait.
    private var cancelled: Set<UInt64> = []
    private var lastID: UInt64 = 0

    /// At least one slot.
    init(limit: Int) { self.limit = max(1, limit) }

    /// Whether a token would let somebody run who waits.
    var wantsToken: Bool { !waiting.isEmpty && inUse < limit }

    /// A number for a waiter to come.
    mutating func makeID() -> UInt64 {
        lastID += 1
        return lastID
    }

    /// A slot at once, if there is one and nobody waits for it.
    mutating func take(_ token: () -> Bool) -> Bool { waiting.isEmpty && grow(token) }

    enum WaitAction {
        case waiting
        case taken
        case cancelled
    }

    /// Waits for a slot; an urgent waiter comes before those that are not. There may be a slot, or
    /// no more use for one, by now.
    mutating func wait(_ waiter: Waiter, _ id: UInt64, isUrgent: Bool, _ token: () -> Bool) -> WaitAction {
        if cancelled.remove(id) != nil { return .cancelled }
        if take(token) { return .taken }
        let place = isUrgent ? waiting.firstIndex { !$0.isUrgent } : nil
        waiting.insert((id, isUrgent, waiter), at: place ?? waiting.endIndex)
        return .waiting
    }

    /// Those who may run now, as far as there are tokens.
    mutating func admit(_ token: () -> Bool) -> [Waiter] {
        var admitted: [Waiter] = []
        while !waiting.isEmpty, grow(token) { admitted.append(waiting.removeFirst().waiter) }
        return admitted
    }

    /// A slot is free: whoever waits first gets it; where nobody does, its token is given to
    /// `giveBack`.
    mutating func give(_ giveBack: () -> Void) -> Waiter? {
        if !waiting.isEmpty { return waiting.removeFirst().waiter }
        inUse -= 1
        if inUse > 0 { giveBack() }
        return nil
    }

    /// Takes a waiter out; one that does not wait yet is remembered.
    mutating func cancel(_ id: UInt64) -> Waiter? {
        guard let index = waiting.firstIndex(where: { $0.id == id }) else {
            cancelled.insert(id)
            return nil
        }
        return waiting.remove(at: index).waiter
    }

    /// Forgets a waiter that is done waiting.
    mutating func forget(_ id: UInt64) { cancelled.remove(id) }

    private mutating func grow(_ token: () -> Bool) -> Bool {
        guard inUse == 0 || inUse < limit && token() else { return false }
        inUse += 1
        return true
    }
}
