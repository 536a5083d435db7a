/// What a bounded channel knows, apart from locks and tasks: each method says what is to be done
/// with whom.
///
/// `Sender` and `Receiver` stand for whoever waits. Invariant: receivers wait only while the queue
/// is empty, senders only while it is not.
struct ChannelState<Element, Sender, Receiver> {
    private struct Waiting {
        let id: UInt64
        let sender: Sender
        let element: Element
        let weight: Int
    }

    private let limit: Int
    private var queue: [(element: Element, weight: Int)] = []
    private var weight = 0
    private var senders: [Waiting] = []
    private var receivers: [(id: UInt64, receiver: Receiver)] = []
    private var isFinished = false
    private var lastID: UInt64 = 0
    /// Waiters that were cancelled before they began to wait.
    private var cancelled: Set<UInt64> = []

    init(limit: Int) { self.limit = limit }

    /// A number for a waiter to come.
    mutating func makeID() -> UInt64 {
        lastID += 1
        return lastID
    }

    enum SendAction {
        case taken
        case handOver(Receiver)
        case wait
        case refuse
    }

    /// Takes the element, if there is room. An element heavier than the limit is let in when the
    /// queue is empty.
    mutating func send(_ element: Element, weight added: Int) -> SendAction {
        guard !isFinished else { return .refuse }
        if !receivers.isEmpty { return .handOver(receivers.removeFirst().receiver) }
        guard senders.isEmpty, queue.isEmpty || weight + added <= limit else { return .wait }
        queue.append((element, added))
        weight += added
        return .taken
    }

    enum WaitAction {
        case waiting
        case retry
        case cancelled
    }

    /// A sender waits for room; `retry` where there is some by now.
    mutating func wait(_ sender: Sender, _ id: UInt64, _ element: Element, weight added: Int) -> WaitAction {
        if cancelled.remove(id) != nil { return .cancelled }
        if isFinished || !receivers.isEmpty || senders.isEmpty && (queue.isEmpty || weight + added <= limit) {
            return .retry
        }
        senders.append(Waiting(id: id, sender: sender, element: element, weight: added))
        return .waiting
    }

    enum ReceiveAction {
        case element(Element, admitted: [Sender])
        case end
        case wait
    }

    /// The oldest element, and the senders whose elements there is room for now. They wait until
    /// half of the queue is gone: whoever sends one after the other is woken once for many.
    mutating func receive() -> ReceiveAction {
        guard !queue.isEmpty else { return isFinished ? .end : .wait }
        let first = queue.removeFirst()
        weight -= first.weight
        guard weight <= limit / 2 else { return .element(first.element, admitted: []) }
        var admitted: [Sender] = []
        while let next = senders.first, queue.isEmpty || weight + next.weight <= limit {
            queue.append((next.element, next.weight))
            weight += next.weight
            admitted.append(next.sender)
            senders.removeFirst()
        }
        return .element(first.element, admitted: admitted)
    }

    /// A receiver waits for an element; `retry` where there is one, or the end, by now.
    mutating func wait(_ receiver: Receiver, _ id: UInt64) -> WaitAction {
        if cancelled.remove(id) != nil { return .cancelled }
        if !queue.isEmpty || isFinished { return .retry }
        receivers.append((id, receiver))
        return .waiting
    }

    /// Nothing more will come. Returns all who wait: the receivers get the end, the senders a
    /// refusal.
    mutating func finish() -> (receivers: [Receiver], senders: [Sender]) {
        isFinished = true
        defer { (receivers, senders) = ([], []) }
        return (receivers.map(\.receiver), senders.map(\.sender))
    }

    enum CancelAction {
        case sender(Sender)
        case receiver(Receiver)
        case none
    }

    /// Takes a waiter out; one that does not wait yet is remembered.
    mutating func cancel(_ id: UInt64) -> CancelAction {
        if let index = senders.firstIndex(where: { $0.id == id }) {
            return .sender(senders.remove(at: index).sender)
        }
        if let index = receivers.firstIndex(where: { $0.id == id }) {
            return .receiver(receivers.remove(at: index).receiver)
        }
        cancelled.insert(id)
        return .none
    }

    /// Forgets a waiter that is done waiting.
    mutating func forget(_ id: UInt64) { cancelled.remove(id) }
}
