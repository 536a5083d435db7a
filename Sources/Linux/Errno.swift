internal import Glibc
package import SystemPackage

/// The calling thread's errno; read it before any other call.
private func currentErrno() -> CInt { errno }

/// The result of a system call that is made again as long as a signal interrupts it, as may happen
/// on network file systems.
package func retried(_ call: () -> CInt) -> CInt {
    while true {
        let result = call()
        if result == 0 || errno != EINTR { return result }
    }
}

extension Errno {
    /// The calling thread's `errno`.
    package static var current: Errno { Errno(rawValue: currentErrno()) }
}
