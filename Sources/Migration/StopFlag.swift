/// Says that the work is to stop at the next chunk; set by a signal, looked at by the planner.
package final class StopFlag: Sendable {
    private let requested = Locked(false)

    package init() {}

    /// Asks to stop.
    package func request() { requested.withLock { $0 = true } }

    package var isRequested: Bool { requested.withLock { $0 } }
}
