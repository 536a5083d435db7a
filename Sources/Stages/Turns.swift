internal import Linux

/// Lets many workers do a part of their work one after the other, in the order of its numbers.
/// Numbers begin with 0 and are handed to workers in their order, so that whoever waits waits for
/// somebody who works.
package final class Turns: Sendable {
    private struct State {
        var next: UInt64 = 0
        var waiting: [UInt64: CheckedContinuation<Void, any Error>] = [:]
        var cancelled: Set<UInt64> = []
    }

    private let state = Locked(State())

    /// The turn is that of number 0.
    package init() {}

    /// Runs `body` when all smaller numbers have had their turn; the next one's comes after it.
    /// Throws `CancellationError` where the task is cancelled while it waits; a turn whose body
    /// throws is never passed on.
    package func take<Result>(_ number: UInt64, _ body: () throws -> Result) async throws -> Result {
        try await wait(for: number)
        let result = try body()
        let following = state.withLock { state in
            state.next += 1
            return state.waiting.removeValue(forKey: state.next)
        }
        following?.resume()
        return result
    }

    private func wait(for number: UInt64) async throws {
        try Task.checkCancellation()
        guard state.withLock({ $0.next }) != number else { return }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation {
                (continuation: CheckedContinuation<Void, any Error>) in
                let outcome: (any Error)?? = state.withLock { state in
                    if state.cancelled.remove(number) != nil { return .some(CancellationError()) }
                    if state.next == number { return .some(nil) }
                    state.waiting[number] = continuation
                    return nil
                }
                switch outcome {
                case .none: break
                case .some(nil): continuation.resume()
                case .some(let error?): continuation.resume(throwing: error)
                }
            }
        } onCancel: {
            let waiting = state.withLock { state in
                let waiting = state.waiting.removeValue(forKey: number)
                if waiting == nil { state.cancelled.insert(number) }
                return waiting
            }
            waiting?.resume(throwing: CancellationError())
        }
    }
}
