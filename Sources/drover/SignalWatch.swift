internal import ArgumentParser
internal import CLinux
internal import Glibc
internal import Migration

/// SIGINT, SIGTERM and SIGHUP ask a move to stop at the next chunk; a second one ends it at once. SIGUSR1 asks how far it is.
enum SignalWatch {
    /// A signal that comes so soon after the first is the same request: a batch system signals a process and the script that hands it on.
    private static let sameRequest = Duration.milliseconds(500)

    /// Watches until the process ends. `showState` prints one line.
    static func start(_ stop: StopFlag, showState: @escaping @Sendable () -> Void) throws {
        let descriptor = clinux_watch_signals()
        guard descriptor >= 0 else { throw MigrationError(.io, "signals cannot be watched") }
        let thread = try IOThread(named: "signals")
        Task(executorPreference: thread) {
            var number: UInt8 = 0
            var first = ContinuousClock.now
            while read(descriptor, &number, 1) == 1 {
                if number == UInt8(SIGUSR1) {
                    showState()
                } else if stop.isRequested {
                    if first.duration(to: .now) < sameRequest { continue }
                    // Asked again, while a sync or a slow read keeps the work waiting: what is checkpointed is safe.
                    Jobserver.giveAllBack()
                    _exit(ExitCode.stopped.rawValue)
                } else {
                    first = .now
                    stop.request()
                }
            }
        }
    }
}
