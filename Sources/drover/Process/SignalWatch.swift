internal import ArgumentParser
internal import CLinux
internal import Linux
internal import Migration
internal import Stages

/// What asks a move to stop at the next chunk: SIGINT, SIGTERM, SIGHUP, SIGUSR2, and SIGXCPU, the
/// limit of processor time. A second one ends it at once. SIGUSR1 asks how far it is.
enum SignalWatch {
    /// Says whether a signal has asked to stop, also where it came before.
    static func stopFlag() -> StopFlag {
        clinux_catch_signals()
        return StopFlag { clinux_stop_requested() != 0 }
    }

    /// As `stopFlag`; until the process ends, `showState` prints one line when somebody asks for
    /// it, unless no thread can be had for that.
    static func start(showState: @escaping @Sendable () -> Void) throws -> StopFlag {
        let stop = stopFlag()
        guard let thread = try IOThread.ifAny(named: "signals") else { return stop }
        Task(executorPreference: thread) {
            while true {
                clinux_wait_for_state_request()
                showState()
            }
        }
        return stop
    }
}
