internal import ArgumentParser
internal import DiskImages
internal import ImageFormats
internal import Migration

/// The exit codes, after sysexits.h. `ExitCode.success` is 0.
extension ExitCode {
    /// `compare`: they differ.
    static let differs = ExitCode(1)
    /// `check`, `verify`: damage found.
    static let damaged = ExitCode(2)
    /// The command line is wrong.
    static let usage = ExitCode(64)
    /// The input is not what it should be.
    static let badData = ExitCode(65)
    /// An input is missing or unreadable.
    static let unavailable = ExitCode(66)
    /// A bug in Drover.
    static let bug = ExitCode(70)
    /// A target exists or cannot be created.
    static let target = ExitCode(73)
    /// An I/O error.
    static let io = ExitCode(74)
    /// Stopped; the same command goes on.
    static let stopped = ExitCode(75)

    /// The code that a command ends with when `error` ends it.
    init(for error: any Error) {
        self =
            switch error {
            case let error as DiskImageError: ExitCode(for: error.kind)
            case let error as MigrationError: ExitCode(for: error.kind)
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
            case .target: .target
            case .io: .io
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
