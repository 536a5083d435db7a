/// Spreads reads over time: at most so many bytes a second, counted from the first, of all that share it.
package final class RateLimit: Sendable {
    /// The longest sleep, so that a request to stop is noticed.
    private static let longestPause = Duration.milliseconds(100)

    private let bytesPerSecond: UInt64
    private let state = Locked((start: ContinuousClock.Instant?.none, granted: UInt64(0)))

    /// At least 1.
    package init(bytesPerSecond: UInt64) { self.bytesPerSecond = max(1, bytesPerSecond) }

    /// Waits until `count` more bytes may be read, or until `stop` is requested.
    func wait(for count: Int, _ stop: StopFlag) async throws {
        let due = state.withLock { state in
            let start = state.start ?? .now
            state.start = start
            defer { state.granted &+= UInt64(count) }
            return start + .seconds(Double(state.granted) / Double(bytesPerSecond))
        }
        while !stop.isRequested, due > .now {
            try await Task.sleep(for: min(ContinuousClock.now.duration(to: due), RateLimit.longestPause))
        }
    }
}
