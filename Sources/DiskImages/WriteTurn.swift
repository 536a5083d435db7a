internal import Glibc

/// Lets one thread at a time write to a file. The kernel does the same with a lock of its own, but whoever waits for that one spins, and takes the
/// processor from whoever could read meanwhile.
final class WriteTurn: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)

    init() { pthread_mutex_init(mutex, nil) }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    /// Runs `write` when it is this thread's turn.
    func take<Result>(_ write: () -> Result) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return write()
    }
}
