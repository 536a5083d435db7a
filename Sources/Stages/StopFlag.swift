internal import Linux

/// Says that the work is to stop at the next chunk; looked at by the planner.
package final class StopFlag: Sendable {
    private let requested = Locked(false)
    private let isRequestedElsewhere: @Sendable () -> Bool

    /// Set by `request`, or where `isRequestedElsewhere`, as by a signal.
    package init(isRequestedElsewhere: @escaping @Sendable () -> Bool = { false }) {
        self.isRequestedElsewhere = isRequestedElsewhere
    }

    /// Asks to stop.
    package func request() { requested.withLock { $0 = true } }

    package var isRequested: Bool { requested.withLock { $0 } || isRequestedElsewhere() }
}
