internal import ArgumentParser
internal import DiskImages
internal import Linux
internal import Migration
internal import PipelineFiles
internal import SystemPackage

/// `drover check`: are images sound?
struct Check: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Look for damage.",
        discussion: """
            Looks at header, bitmap and length of every image and of all images below it, and whether each backing file is there, unchanged \
            and not part of a loop. Everything that is wrong is listed. Ends with 0 where all images are sound, with 2 where one is damaged, \
            with 65 or 66 where one is no image, needs a file outside of --confine, or cannot be read. Nothing is changed without -r. JSON is one object for one image and an \
            array for several.

            For example: drover check guests/*.cow
            """)

    /// What is repaired.
    enum Repair: String, CaseIterable, ExpressibleByArgument {
        case mtime
    }

    @Option(
        name: .customShort("r", allowingJoined: true),
        help: ArgumentHelp(
            "Give a base whose mtime drifted the time that its overlays expect, if a manifest or archive of it from then proves that its bytes are the same.",
            valueName: "mtime"))
    var repair: Repair?

    @Option(
        help: ArgumentHelp(
            "A manifest or an archive that may prove it, beside those in the base's folder. May be repeated.",
            valueName: "file"),
        completion: .file(), transform: FilePath.init(argument:))
    var known: [FilePath] = []

    @OptionGroup var progressOptions: ProgressOptions
    @OptionGroup var outputOptions: OutputOptions
    @OptionGroup var verbosity: VerbosityOptions
    @OptionGroup(title: "Image options") var imageOptions: ImageOptions
    @Argument(help: "The images.", completion: .file(), transform: FilePath.init(argument:)) var images:
        [FilePath]

    func validate() throws {
        if repair == nil, !known.isEmpty { throw ValidationError("--known is for a repair (add -r mtime)") }
    }

    func run() async throws {
        if repair != nil { try await repairTimes() }
        var output = Output()
        var worst = ExitCode.success
        var reports: [CheckReport] = []
        for image in images {
            let result = try CheckResult(of: image, imageOptions.chainOptions())
            if let refusal = result.refusal { StandardError.line(ErrorLine.text(of: refusal)) }
            if result.code.rawValue > worst.rawValue { worst = result.code }
            switch outputOptions.output {
            case .human:
                for line in result.report.lines where !verbosity.isQuiet || result.report.checkErrors > 0 {
                    try output.line(line)
                }
            case .json: reports.append(result.report)
            }
        }
        if outputOptions.output == .json {
            try images.count == 1 ? output.json(reports[0]) : output.json(reports)
        }
        try output.finish()
        if !worst.isSuccess { throw worst }
    }

    private func repairTimes() async throws {
        let session = try await Session(progressOptions, verbosity, jobs: nil, rate: nil)
        for image in images {
            let repair = MtimeRepair(
                image, try imageOptions.chainOptions(changes: true), known: known)
            for outcome in try await session.during({ options in try await repair.run(options) }) {
                switch outcome {
                case .repaired(let base, let time, let proof):
                    verbosity.tell("\(base): has its mtime \(time) again, as \(proof) proves its bytes")
                case .left(let base, let why):
                    verbosity.warn("\(base): \(why.text(ChoiceWords.commandLine))")
                }
            }
        }
    }
}
