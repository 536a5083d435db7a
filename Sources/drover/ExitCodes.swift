internal import ArgumentParser
internal import DiskImages
internal import ImageFormats
internal import Linux
internal import Manifests
internal import Migration
internal import PipelineFiles

/// The exit codes, after sysexits.h. `ExitCode.success` is 0.
///
/// What is written here is what the manual says (`.ci/manual`): clauses with semicolons between;
/// one that begins with commands' names is about these commands alone.
extension ExitCode {
    /// `compare`: the images differ; `run`: some images failed; `plan`: something is wrong.
    static let differs = ExitCode(1)
    /// `check`, `verify`, `unpack`, `convert`: damage was found.
    static let damaged = ExitCode(2)
    /// The command line is wrong.
    static let usage = ExitCode(64)
    /// An input is not what it should be: no image, corrupt, ambiguous, confined, or changed since
    /// the checkpoint.
    static let badData = ExitCode(65)
    /// An input is missing, unreadable, or in use by somebody who may write to it.
    static let unavailable = ExitCode(66)
    /// A bug in Drover.
    static let bug = ExitCode(70)
    /// A target exists, is in use, or cannot be created.
    static let target = ExitCode(73)
    /// An I/O error, or the system is short of something (threads, files, memory); everything up to
    /// the last checkpoint is kept.
    static let io = ExitCode(74)
    /// Stopped by a signal or a limit; the same command goes on where it stopped.
    static let stopped = ExitCode(75)

    /// The code that a command ends with when `error` ends it.
    init(for error: any Error) {
        self =
            switch error {
            case let error as DiskImageError: ExitCode(for: error.kind)
            case let error as MigrationError: ExitCode(for: error.kind)
            case is ManifestError: .badData
            case is Shortage: .io
            case let error as PipelineProblems: ExitCode(for: error.kind)
            case let error as ArchiveFailure: error.code
            case is FormatError: .badData
            case is ValidationError: .usage
            case is OutputClosed: .io
            default: .bug
            }
    }

    init(for kind: DiskImageError.Kind) {
        self =
            switch kind {
            case .badData, .confined: .badData
            case .unavailable: .unavailable
            case .target, .locked: .target
            case .io, .shortage: .io
            case .stopped: .stopped
            }
    }

    init(for kind: MigrationError.Kind) {
        self =
            switch kind {
            case .usage: .usage
            case .badData: .badData
            case .target: .target
            case .io: .io
            case .stopped: .stopped
            case .bug: .bug
            }
    }
}
