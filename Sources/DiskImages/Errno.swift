internal import Glibc

/// The calling thread's errno; read it before any other call.
func currentErrno() -> CInt { errno }
