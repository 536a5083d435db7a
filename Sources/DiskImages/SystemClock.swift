internal import Glibc

/// The host's clock, which file systems take their stamps from.
enum SystemClock {
    static var now: Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(seconds: time.tv_sec, nanoseconds: time.tv_nsec)
    }

    /// Blocks the thread; a signal does not end it early.
    static func sleep(_ duration: Duration) {
        let end = ContinuousClock.now + duration
        while case let rest = ContinuousClock.now.duration(to: end), rest > .zero {
            usleep(useconds_t(min(rest.components.seconds, 1) * 500_000 + rest.components.attoseconds / 2_000_000_000_000 + 1))
        }
    }
}
