internal import Glibc

/// A thread with room for deep recursion. Not every thread's stack has it: `ulimit -s` may have made them small.
enum DeepStack {
    private static let length = 32 << 20

    /// What the thread is handed.
    private final class Work {
        let body: () -> Void

        init(_ body: @escaping () -> Void) { self.body = body }
    }

    /// Runs `body` on such a thread and waits for it; false where none can be started.
    static func run(_ body: () -> Void) -> Bool {
        withoutActuallyEscaping(body) { body in
            let work = Unmanaged.passRetained(Work(body))
            defer { work.release() }
            return withUnsafeTemporaryAllocation(of: pthread_attr_t.self, capacity: 1) { memory in
                guard let attributes = memory.baseAddress, pthread_attr_init(attributes) == 0 else { return false }
                defer { pthread_attr_destroy(attributes) }
                var thread = pthread_t()
                guard pthread_attr_setstacksize(attributes, length) == 0 else { return false }
                let started = pthread_create(
                    &thread, attributes,
                    { pointer in
                        if let pointer { Unmanaged<Work>.fromOpaque(pointer).takeUnretainedValue().body() }
                        return nil
                    }, work.toOpaque())
                return started == 0 && pthread_join(thread, nil) == 0
            }
        }
    }
}
