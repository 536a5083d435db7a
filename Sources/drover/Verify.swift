internal import ArgumentParser
internal import DiskImages
internal import Migration
internal import SystemPackage

/// `drover verify`: a target read again and held against its manifest.
struct Verify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Read a target again and compare it with its manifest.",
        discussion: """
            Reads everything and names the first sectors that are not what was written. Exit code 0: sound; 2: damaged.

            For example: drover verify web-01.img
            """)

    @Option(help: ArgumentHelp("Read at most so many bytes a second.", valueName: "bytes")) var rate: ByteSize?
    @Option(help: ArgumentHelp("How many workers read.", valueName: "n")) var jobs: Int?
    @OptionGroup var progressOptions: ProgressOptions
    @OptionGroup var verbosity: VerbosityOptions
    @Argument(help: "The target of an earlier move.", completion: .file(), transform: FilePath.init(argument:)) var file: FilePath

    func validate() throws { try CopyOptions.validate(rate: rate, jobs: jobs) }

    func run() async throws {
        let stop = StopFlag()
        let display = ProgressDisplay(progressOptions.progress, verbosity)
        try SignalWatch.start(stop) { display.showOnce() }
        let verification = try Verification(of: file)
        let finding = try await display.during {
            try await verification.run(workers: CopyOptions.workers(jobs), rate: rate?.bytes, progress: display.progress, stop: stop)
        }
        if let damage = finding.damage {
            StandardError.line("\(damage); \(HumanText.size(finding.intact)) of \(HumanText.size(finding.length)) are intact")
            throw ExitCode.damaged
        }
        verbosity.tell("\(file): is what was written (\(HumanText.size(finding.length)))")
    }
}
