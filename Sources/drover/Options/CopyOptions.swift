internal import ArgumentParser
internal import Migration
internal import PipelineFiles
internal import Stages

/// How data is copied, whatever is copied.
struct CopyOptions: ParsableArguments {
    @Option(
        name: .customShort("S", allowingJoined: true),
        help: ArgumentHelp(
            "The shortest run of zeros that is skipped; 0 writes everything.", valueName: "size"))
    var shortestSkipped = ByteSize(bytes: 4096)

    @Option(help: ArgumentHelp("Read at most so many bytes a second.", valueName: "bytes"))
    var rate: ByteSize?

    @Option(help: jobsHelp("copy")) var jobs: Int?

    func validate() throws {
        try CopyOptions.validate(rate: rate, jobs: jobs)
        _ = try zeroRun()
    }

    /// What `--jobs` means, where the workers do `work`.
    static func jobsHelp(_ work: String) -> ArgumentHelp {
        ArgumentHelp(
            "How many workers \(work), at most 16 (default: one a processor, up to 4; under make, as many as its jobserver allows).",
            valueName: "n")
    }

    static var noReflinkHelp: ArgumentHelp {
        "Copy everything, also where the file system could share extents with the sources."
    }

    /// The shortest run of zeros that is left out, in bytes; longer ones than a chunk do not come
    /// up.
    func zeroRun() throws -> Int {
        guard shortestSkipped.bytes % 512 == 0 else {
            throw ValidationError("-S \(shortestSkipped.bytes) is no multiple of 512")
        }
        return Int(min(shortestSkipped.bytes, UInt64(Limits.chunk)))
    }

    /// Throws where one of them would never end or do nothing.
    static func validate(rate: ByteSize?, jobs: Int?) throws {
        if let rate, rate.bytes == 0 {
            throw ValidationError("--rate 0 would never end (give a size such as 200M)")
        }
        if let jobs, jobs < 1 {
            throw ValidationError("--jobs \(jobs) would do nothing (give a number from 1 on)")
        }
    }
}

/// What a command leaves in the host's page cache.
struct CacheOptions: ParsableArguments {
    @Flag(
        help:
            "Leave in the host's page cache what is read and written: for whoever goes on working with it. Otherwise only what was there before stays."
    ) var keepCache = false
}

/// Whether and how a command shows how far it is.
struct ProgressOptions: ParsableArguments {
    @Option(
        name: .customLong("progress"),
        help: ArgumentHelp(
            "auto, a bar where standard error is a terminal; bar; json, a line a second; none.",
            valueName: "style"))
    var style = ProgressStyle.auto

    @Flag(name: .customShort("p"), help: "Show a bar, as --progress bar does.") var showsBar = false

    /// How progress is shown.
    var progress: ProgressStyle { showsBar && style == .auto ? .bar : style }
}

/// The value of `--progress`.
enum ProgressStyle: String, CaseIterable, ExpressibleByArgument {
    case auto, bar, json, none
}
