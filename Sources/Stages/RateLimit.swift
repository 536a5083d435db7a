internal import Linux

/// Spreads reads over time: at most so many bytes a second, of all that share it. What was not read
/// in time is not made up for later.
package final class RateLimit: Sendable {
    /// The longest sleep, so that a request to stop is noticed.
    private static let longestPause = Duration.milliseconds(100)

    /// How far behind its time a read may come and still count as in time.
    private static let tolerance = Duration.milliseconds(200)

    private let bytesPerSecond: UInt64
    /// When the next read is due.
    private let next = Locked(ContinuousClock.Instant?.none)

    /// At least 1.
    package init(bytesPerSecond: UInt64) { self.bytesPerSecond = max(1, bytesPerSecond) }

    /// Blocks the calling thread until `count` more bytes may be read, or until `stop` is
    /// requested.
    package func wait(for count: Int, _ stop: StopFlag) throws {
        let due = next.withLock { next in
            let now = ContinuousClock.now
            let due = max(next ?? now, now - RateLimit.tolerance)
            next = due + .seconds(Double(count) / Double(bytesPerSecond))
            return due
        }
        while !stop.isRequested, due > .now {
            try IOThread.pause(max(.zero, min(ContinuousClock.now.duration(to: due), RateLimit.longestPause)))
        }
    }
}
