internal import Glibc

/// The calling thread's errno; read it before any other call.
func currentErrno() -> CInt { errno }

/// The result of a system call that is made again as long as a signal interrupts it, as may happen on network file systems.
func retried(_ call: () -> CInt) -> CInt {
    while true {
        let result = call()
        if result == 0 || errno != EINTR { return result }
    }
}
