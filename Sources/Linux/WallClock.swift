/// The time of day, for records that people read; nothing is decided by it.
package enum WallClock {
    /// Seconds since 1970, to the millisecond.
    package static var now: Double {
        let time = SystemClock.now
        return Double(time.seconds) + Double(time.nanoseconds / 1_000_000) / 1000
    }
}
