internal import Linux

/// A queue between stages that holds a bounded weight of elements: many senders, many receivers.
///
/// A sender waits while the queue is full, a receiver while it is empty. Unlike an `AsyncChannel`,
/// cancellation is an error at both ends and never looks like the end of the stream: a writer that
/// mistook one for the other would finish a truncated image.
package final class BoundedChannel<Element: Sendable>: Sendable {
    private typealias Sender = CheckedContinuation<Void, any Error>
    private typealias Receiver = CheckedContinuation<Element?, any Error>
    private let state: Locked<ChannelState<Element, Sender, Receiver>>

    /// A channel that holds elements of at most `limit` weight in all, or one heavier element.
    package init(limit: Int) { state = Locked(ChannelState(limit: limit)) }

    /// Puts `element` at the end of the queue, when there is room for it.
    /// Throws `CancellationError` when the task is cancelled, `ChannelClosed` after `finish`.
    package func send(_ element: Element, weight: Int = 1) async throws {
        while true {
            try Task.checkCancellation()
            switch state.withLock({ $0.send(element, weight: weight) }) {
            case .taken: return
            case .handOver(let receiver): return receiver.resume(returning: element)
            case .refuse: throw ChannelClosed()
            case .wait: if try await waitForRoom(element, weight) { return }
            }
        }
    }

    /// The oldest element, or nil when the channel was finished and is empty. Throws
    /// `CancellationError` when the task is cancelled.
    package func receive() async throws -> Element? {
        while true {
            try Task.checkCancellation()
            switch state.withLock({ $0.receive() }) {
            case .element(let element, let admitted):
                for sender in admitted { sender.resume() }
                return element
            case .end: return nil
            case .wait: if let element = try await waitForElement() { return element }
            }
        }
    }

    /// Ends the stream: what is queued is still received. Only a producer that has sent everything
    /// may call it.
    package func finish() {
        let waiting = state.withLock { $0.finish() }
        for receiver in waiting.receivers { receiver.resume(returning: nil) }
        for sender in waiting.senders { sender.resume(throwing: ChannelClosed()) }
    }

    /// True when the element was taken, false when it is to be tried again.
    private func waitForRoom(_ element: Element, _ weight: Int) async throws -> Bool {
        let id = state.withLock { $0.makeID() }
        defer { state.withLock { $0.forget(id) } }
        do {
            try await withTaskCancellationHandler {
                try await withCheckedThrowingContinuation { (continuation: Sender) in
                    switch state.withLock({ $0.wait(continuation, id, element, weight: weight) }) {
                    case .waiting: break
                    case .retry: continuation.resume(throwing: TryAgain())
                    case .cancelled: continuation.resume(throwing: CancellationError())
                    }
                }
            } onCancel: {
                cancel(id)
            }
        } catch is TryAgain {
            return false
        }
        return true
    }

    /// The element that was handed over, or nil when the queue is to be looked at again.
    private func waitForElement() async throws -> Element? {
        let id = state.withLock { $0.makeID() }
        defer { state.withLock { $0.forget(id) } }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: Receiver) in
                switch state.withLock({ $0.wait(continuation, id) }) {
                case .waiting: break
                case .retry: continuation.resume(returning: nil)
                case .cancelled: continuation.resume(throwing: CancellationError())
                }
            }
        } onCancel: {
            cancel(id)
        }
    }

    private func cancel(_ id: UInt64) {
        switch state.withLock({ $0.cancel(id) }) {
        case .sender(let sender): sender.resume(throwing: CancellationError())
        case .receiver(let receiver): receiver.resume(throwing: CancellationError())
        case .none: break
        }
    }

    private struct TryAgain: Error {}
}

/// Something was sent to a channel after its end.
package struct ChannelClosed: Error {}
