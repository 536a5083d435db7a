internal import Linux

/// How many workers run at once in this process, whatever they work on: up to `limit`, and under
/// `make -j` no more than the jobserver has tokens for.
package final class WorkerSlots: Sendable {
    private typealias State = SlotState<CheckedContinuation<Bool, Never>>
    private struct Shared {
        var slots: State
        var isWatched = false
        var isOver = false
    }

    private let shared: Locked<Shared>
    private let jobserver: Jobserver?
    /// The most workers of one pipeline, and of all together.
    package let limit: Int

    /// At least one slot. Without a jobserver all of them are there at once.
    package init(limit: Int, jobserver: Jobserver? = nil) {
        self.limit = max(1, limit)
        self.jobserver = jobserver
        shared = Locked(Shared(slots: State(limit: limit)))
    }

    deinit {
        shared.withLock { $0.isOver = true }
        jobserver?.wake()
    }

    /// Waits for a slot, before all workers that only help others. Throws `CancellationError` when
    /// the task is cancelled.
    package func take() async throws {
        guard try await take(makeID(), isUrgent: true) else { throw CancellationError() }
    }

    /// Gives a slot back. Its token goes back to make, unless somebody here waits for it.
    package func give() {
        shared.withLock { $0.slots.give { jobserver?.giveToken() } }?.resume(returning: true)
    }

    /// Runs `body` in a slot.
    package func holding<Result>(_ body: () async throws -> Result) async throws -> Result {
        try await take()
        defer { give() }
        return try await body()
    }

    func makeID() -> UInt64 { shared.withLock { $0.slots.makeID() } }

    /// Waits for a slot; false when `withdraw` was called for `id`.
    func take(_ id: UInt64, isUrgent: Bool) async throws -> Bool {
        let token = token
        if shared.withLock({ $0.slots.take(token) }) { return true }
        try watchJobserver()
        defer { shared.withLock { $0.slots.forget(id) } }
        let isTaken = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                switch shared.withLock({ $0.slots.wait(continuation, id, isUrgent: isUrgent, token) }) {
                case .waiting: jobserver?.wake()
                case .taken: continuation.resume(returning: true)
                case .cancelled: continuation.resume(returning: false)
                }
            }
        } onCancel: {
            withdraw(id)
        }
        if !isTaken { try Task.checkCancellation() }
        return isTaken
    }

    /// Ends waiting.
    func withdraw(_ id: UInt64) {
        shared.withLock { $0.slots.cancel(id) }?.resume(returning: false)
    }

    private var token: @Sendable () -> Bool {
        { [jobserver] in jobserver?.takeToken() ?? true }
    }

    /// From the first wait on, a thread waits for tokens as long as somebody here needs one.
    private func watchJobserver() throws {
        guard let jobserver, shared.withLock({ !$0.isWatched }) else { return }
        let thread = try IOThread(named: "jobserver")
        let isFirst = shared.withLock { shared in
            defer { shared.isWatched = true }
            return !shared.isWatched
        }
        guard isFirst else { return thread.stop() }
        Task(executorPreference: thread) { [shared, token] in
            while !shared.withLock({ $0.isOver }) {
                jobserver.wait(wantsToken: shared.withLock { $0.slots.wantsToken })
                for waiter in shared.withLock({ $0.slots.admit(token) }) { waiter.resume(returning: true) }
            }
            thread.stop()
        }
    }
}
