/// Spreads reads over time: at most so many bytes a second, counted from the first.
struct RateLimit {
    /// The longest sleep, so that a request to stop is noticed.
    private static let longestPause = Duration.milliseconds(100)

    private let bytesPerSecond: UInt64?
    private var granted: UInt64 = 0
    private let start = ContinuousClock.now

    /// nil limits nothing.
    init(bytesPerSecond: UInt64?) { self.bytesPerSecond = bytesPerSecond }

    /// Waits until `count` more bytes may be read, or until `stop` is requested.
    mutating func wait(for count: Int, _ stop: StopFlag) async throws {
        guard let bytesPerSecond, bytesPerSecond > 0 else { return }
        let due = start + .seconds(Double(granted) / Double(bytesPerSecond))
        while !stop.isRequested, due > .now {
            try await Task.sleep(for: min(ContinuousClock.now.duration(to: due), RateLimit.longestPause))
        }
        granted += UInt64(count)
    }
}
