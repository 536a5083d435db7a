internal import ArgumentParser
internal import DiskImages
internal import SystemPackage

/// `drover check`: are images sound?
struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Look for damage.",
        discussion: """
            Looks at header, bitmap and length of every image and of all images below it, and whether each backing file is there, unchanged \
            and not part of a loop. Everything that is wrong is listed. Ends with 0 where all images are sound, with 2 where one is damaged, \
            with 65 or 66 where one is no image, needs a file outside of --confine, or cannot be read. JSON is one object for one image and an \
            array for several.

            For example: drover check guests/*.cow
            """)

    @OptionGroup var outputOptions: OutputOptions
    @OptionGroup var verbosity: VerbosityOptions
    @OptionGroup(title: "Image options") var imageOptions: ImageOptions
    @Argument(help: "The images.", completion: .file(), transform: FilePath.init(argument:)) var images:
        [FilePath]

    func run() throws {
        var output = Output()
        var worst = ExitCode.success
        var reports: [CheckReport] = []
        for image in images {
            let result = try CheckResult(of: image, imageOptions.chainOptions(for: image))
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
}
