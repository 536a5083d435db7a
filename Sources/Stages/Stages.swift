internal import Linux

/// Stages that run side by side, each on a thread of its own.
package struct StageGroup {
    fileprivate var group: ThrowingTaskGroup<Void, any Error>
    fileprivate let threads: ThreadList

    /// Adds a stage that begins at once; `name` is its thread's.
    package mutating func addStage(
        named name: String = "stage", _ stage: @escaping @Sendable () async throws -> Void
    ) throws {
        group.addTask(executorPreference: try threads.start(name), operation: stage)
    }

    /// Adds what has no thread of its own, because it never blocks one.
    mutating func addTask(_ task: @escaping @Sendable () async throws -> Void) {
        group.addTask(operation: task)
    }
}

/// The threads of a group of stages.
private final class ThreadList {
    private var threads: [IOThread] = []

    func start(_ name: String) throws -> IOThread {
        let thread = try IOThread(named: name)
        threads.append(thread)
        return thread
    }

    func stop() {
        for thread in threads { thread.stop() }
    }
}

/// Runs the stages that `add` adds, until all have ended; the first error cancels the others and is
/// thrown.
package func stages(_ add: (inout StageGroup) throws -> Void) async throws {
    // The threads outlive the group: a cancelled stage still has to run to its end on its own.
    let threads = ThreadList()
    defer { threads.stop() }
    try await withThrowingTaskGroup(of: Void.self) { group in
        var stages = StageGroup(group: group, threads: threads)
        try add(&stages)
        // Not `waitForAll`, which lets the siblings of a failed stage wait for it forever.
        for try await _ in group {}
    }
}

/// Runs two stages side by side and returns what they return; the first error is thrown, as by
/// `stages`.
package func both<First: Sendable, Second: Sendable>(
    _ first: @escaping @Sendable () async throws -> First,
    _ second: @escaping @Sendable () async throws -> Second
) async throws -> (First, Second) {
    let (one, other) = (Locked(First?.none), Locked(Second?.none))
    try await stages { group in
        try group.addStage {
            let result = try await first()
            one.withLock { $0 = result }
        }
        try group.addStage {
            let result = try await second()
            other.withLock { $0 = result }
        }
    }
    guard let one = one.withLock(\.self), let other = other.withLock(\.self) else {
        throw CancellationError()
    }
    return (one, other)
}
