internal import CLinux

/// A stack with room for deep recursion, on the calling thread: `ulimit -s` may have made its own
/// small, and another thread may not be to be had.
package enum DeepStack {
    /// For one level, and for what is at the bottom.
    private static let (level, least) = (16 << 10, 1 << 20)

    /// What the other stack is handed.
    private final class Work {
        let body: () -> Void

        init(_ body: @escaping () -> Void) { self.body = body }
    }

    /// Runs `body`, which calls itself up to `levels` times, on such a stack; false where there is
    /// no memory for one.
    package static func run(levels: Int, _ body: () -> Void) -> Bool {
        withoutActuallyEscaping(body) { body in
            let work = Unmanaged.passRetained(Work(body))
            defer { work.release() }
            let call: @convention(c) (UnsafeMutableRawPointer?) -> Void = { pointer in
                if let pointer { Unmanaged<Work>.fromOpaque(pointer).takeUnretainedValue().body() }
            }
            return clinux_call_on_stack(least + levels * level, call, work.toOpaque()) == 0
        }
    }
}
