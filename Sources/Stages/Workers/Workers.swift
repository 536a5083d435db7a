internal import Linux

/// The workers of one pipeline. The first is there from the beginning to the end, in the slot of
/// whoever runs the pipeline; the others come when there is a slot for them and leave when the
/// input has ended.
package struct Workers: Sendable {
    private struct Waiting {
        var ids: Set<UInt64> = []
        var isOver = false
    }

    private let slots: WorkerSlots
    private let waiting = Locked(Waiting())

    /// Runs `worker` once and up to `slots.limit - 1` times more beside it, each on a thread of its
    /// own. It returns when its input has ended; nobody joins after that. The first error cancels
    /// the others and is thrown.
    package static func work(_ slots: WorkerSlots, _ worker: @escaping @Sendable () async throws -> Void)
        async throws
    {
        let crew = Workers(slots: slots)
        // A thread that has its last work behind it, and is about to end, is called a worker no
        // more.
        let worker = { @Sendable in
            defer { IOThread.rename("done") }
            try await worker()
        }
        try await stages { group in
            try group.addStage(named: "worker") {
                try await worker()
                crew.end()
            }
            for _ in 1..<slots.limit {
                group.addTask { try await crew.help(worker) }
            }
        }
    }

    /// What `transform` makes of each of `elements`, in their order; as `work`, but of several
    /// errors the one of the first element is thrown, whoever came to it first.
    package static func map<Element: Sendable, Result: Sendable>(
        _ elements: [Element], _ slots: WorkerSlots,
        _ transform: @escaping @Sendable (Element) async throws -> Result
    ) async throws -> [Result] {
        let left = Locked(elements.indices)
        let results = Locked([Result?](repeating: nil, count: elements.count))
        let failure = Locked((index: Int, error: any Error)?.none)
        try await work(slots) {
            // All before one that failed were taken before it.
            while let index = left.withLock({ $0.popFirst() }) {
                do {
                    let result = try await transform(elements[index])
                    results.withLock { $0[index] = result }
                } catch {
                    left.withLock { $0 = $0.suffix(0) }
                    failure.withLock { if index < $0?.index ?? .max { $0 = (index, error) } }
                }
            }
        }
        if let failure = failure.withLock(\.self) { throw failure.error }
        return results.withLock { $0.compactMap(\.self) }
    }

    private init(slots: WorkerSlots) { self.slots = slots }

    private func help(_ worker: @Sendable () async throws -> Void) async throws {
        guard try await join() else { return }
        defer { slots.give() }
        // Where no further thread can be had, those that are there do the work.
        guard let thread = try IOThread.ifAny(named: "worker") else { return }
        defer { thread.stop() }
        try await withTaskExecutorPreference(thread) { try await worker() }
    }

    /// Waits for a slot; false when the input ended first.
    private func join() async throws -> Bool {
        let id = slots.makeID()
        let isOver = waiting.withLock { waiting in
            waiting.ids.insert(id)
            return waiting.isOver
        }
        guard !isOver else { return false }
        defer { waiting.withLock { _ = $0.ids.remove(id) } }
        return try await slots.take(id, isUrgent: false)
    }

    private func end() {
        let ids = waiting.withLock { waiting in
            waiting.isOver = true
            // Taken out, so that nobody else has it: the thread sanitizer does not see that a set
            // is copied before it is changed.
            defer { waiting.ids = [] }
            return waiting.ids
        }
        for id in ids { slots.withdraw(id) }
    }
}
