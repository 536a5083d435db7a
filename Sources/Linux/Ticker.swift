/// Does something again and again, on a thread of its own.
package final class Ticker: Sendable {
    /// How long it may take until the thread has noticed that it is over.
    private static let longestPause = Duration.milliseconds(100)

    private let isOver = Locked(false)

    /// Calls `tick` each `interval` until `stop`, the first time after one.
    package init(every interval: Duration, _ tick: @escaping @Sendable () -> Void) throws {
        let thread = try IOThread(named: "display")
        Task(executorPreference: thread) { [isOver] in
            defer { thread.stop() }
            var due = ContinuousClock.now + interval
            while !isOver.withLock({ $0 }) {
                try IOThread.pause(
                    max(.zero, min(ContinuousClock.now.duration(to: due), Ticker.longestPause)))
                guard due <= .now else { continue }
                isOver.withLock { if !$0 { tick() } }
                due = .now + interval
            }
        }
    }

    /// When it returns, `tick` is called no more.
    package func stop() { isOver.withLock { $0 = true } }
}
