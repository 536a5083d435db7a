import Glibc

/// What `body` returns, waited for on this thread; nil where it throws.
func wait(_ body: @escaping @Sendable () async throws -> Bool) -> Bool? {
    nonisolated(unsafe) var result: Bool?
    nonisolated(unsafe) var gate = sem_t()
    sem_init(&gate, 0, 0)
    defer { sem_destroy(&gate) }
    Task.detached {
        result = try? await body()
        sem_post(&gate)
    }
    while sem_wait(&gate) != 0 {}
    return result
}
