internal import Linux
internal import Migration
internal import PipelineFiles
internal import Stages
internal import SystemPackage

/// A command that moves data, from its first signal to its last line: what it shows, what stops it,
/// its workers.
struct Session {
    let options: MoveOptions
    let verbosity: VerbosityOptions
    private let display: ProgressDisplay

    /// Begins to listen to signals. `jobs` and `rate` are what the options of that name say.
    /// `isOneJob`: the slot that the process has anyhow is taken, until its end. `keepsCache`: what
    /// is read and written may stay in the host's page cache.
    init(
        _ progress: ProgressOptions, _ verbosity: VerbosityOptions, jobs: Int?, rate: ByteSize?,
        isOneJob: Bool = true, keepsCache: Bool = false
    ) async throws {
        self.verbosity = verbosity
        let display = ProgressDisplay(progress.progress, verbosity)
        self.display = display
        let stop = try SignalWatch.start { display.showOnce() }
        let workers =
            isOneJob
            ? try await MakeInvocation.workers(jobs, verbosity) : MakeInvocation.slots(jobs, verbosity)
        var options = MoveOptions(
            workers: workers, rate: rate.map { RateLimit(bytesPerSecond: $0.bytes) },
            progress: display.progress, stop: stop)
        options.keepsCache = keepsCache
        self.options = options
    }

    /// Runs `body` with the display beside it.
    func during<Result: Sendable>(_ body: @Sendable (MoveOptions) async throws -> Result) async throws
        -> Result
    {
        try await display.during { try await body(options) }
    }

    /// Makes `target`, says what a user wants to know, and how it ended. `whole` is what a part of
    /// is resumed; `changed` is said where a source changed while it was read by force.
    func make(_ target: FilePath, by move: some TargetMove, whole: String, changed: String) async throws {
        for warning in move.warnings { verbosity.warn(warning.text(ChoiceWords.commandLine)) }
        let result = try await during { [verbosity] options in
            try await move.run(options) { verbosity.warn($0) }
        }
        let shared = options.progress.snapshot.shared
        if shared > 0 { verbosity.tell("\(target): shares \(HumanText.size(shared)) with its sources") }
        switch result {
        case .upToDate: verbosity.tell("\(target): is up to date")
        case .named: verbosity.tell("\(target): was whole already and has its name now")
        case .held: verbosity.tell("\(target): is whole and takes its name with its family")
        case .moved(let resumed, let hasChanged):
            if hasChanged { verbosity.warn(changed) }
            if resumed > 0 {
                verbosity.tell("\(target): resumed, \(HumanText.size(resumed)) of \(whole) were there")
            }
        }
    }
}
