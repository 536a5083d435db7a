internal import ArgumentParser
internal import DiskImages
internal import ImageFormats
internal import Manifests
internal import Migration
internal import PipelineFiles
internal import Stages
internal import SystemPackage

/// `drover convert`: one image to one target, resumable.
struct Convert: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "convert",
        abstract: "Convert an image with its whole chain to a raw or COW image.",
        discussion: """
            The chain is flattened, or, with -B, kept as an overlay of another backing file. The target gets its name only when it is whole; \
            until then it is TARGET.partial, and TARGET.manifest records what is done. Run the same command again to go on after an interruption.

            Environment: MAKEFLAGS, where make names the jobserver that limits the workers, and where -n has Drover say what it would do.

            For example: drover convert -O raw guests/web-01.cow web-01.img
            """)

    @OptionGroup var targetOptions: TargetOptions

    @Option(
        name: .customShort("B", allowingJoined: true),
        help: ArgumentHelp("Write an overlay of this backing file (with -O cow).", valueName: "backing"),
        completion: .file(), transform: FilePath.init(argument:))
    var backing: FilePath?

    @Option(
        name: .customShort("F", allowingJoined: true),
        help: ArgumentHelp("What BACKING is (default: look at its content).", valueName: "format"))
    var backingFileFormat: SourceFormat?

    @Flag(help: "Make a base that overlays will name: raw, with SOURCE's exact length and mtime.")
    var asBase = false
    @OptionGroup(title: "Copy options") var copyOptions: CopyOptions

    @Option(
        help: ArgumentHelp(
            "How much guest disk one checkpoint covers; a multiple of 1M, up to 16G.", valueName: "size"))
    var segment = ByteSize(bytes: Segment.usual)

    @Flag(help: "Forget a checkpoint and begin again.") var restart = false
    @Flag(
        help:
            "Trust no times: read again what is complete, and make it again where the source differs from the record."
    ) var reread =
        false
    @Flag(help: "Replace an existing target.") var force = false
    @OptionGroup var progressOptions: ProgressOptions
    @OptionGroup var verbosity: VerbosityOptions
    @OptionGroup(title: "Image options") var imageOptions: ImageOptions

    @Argument(help: "The image to convert.", completion: .file(), transform: FilePath.init(argument:))
    var source: FilePath
    @Argument(help: "The file to write.", completion: .file(), transform: FilePath.init(target:)) var target:
        FilePath

    func validate() throws {
        try SegmentSize.check(segment)
        if backing != nil, targetOptions.format == .raw {
            throw ValidationError("a raw image has no backing file (-B goes with -O cow)")
        }
        if asBase, targetOptions.format != .raw {
            throw ValidationError("a base that overlays will name is raw (--as-base goes with -O raw)")
        }
        if backingFileFormat != nil, backing == nil {
            throw ValidationError("-F says what BACKING is (give -B too)")
        }
    }

    func run() async throws {
        if MakeInvocation.isDryRun { return try dryRun() }
        let display = ProgressDisplay(progressOptions.progress, verbosity)
        let stop = try SignalWatch.start { display.showOnce() }
        let conversion = try Conversion(
            request(try await MakeInvocation.workers(copyOptions.jobs, verbosity)))
        for warning in conversion.warnings { verbosity.warn(warning) }
        let result = try await display.during {
            try await conversion.run(progress: display.progress, stop: stop) { verbosity.warn($0) }
        }
        switch result {
        case .upToDate: verbosity.tell("\(target): is up to date")
        case .named: verbosity.tell("\(target): was whole already and has its name now")
        case .held: verbosity.tell("\(target): is whole and takes its name with its family")
        case .converted(let resumed, let hasChanged):
            if hasChanged {
                verbosity.warn(
                    "\(source): changed while it was read (--force-share): the target is of no one moment")
            }
            if resumed > 0 {
                verbosity.tell("\(target): resumed, \(HumanText.size(resumed)) of the disk were there")
            }
        }
    }

    private func dryRun() throws {
        try DryRun.say("convert \(source) to \(target)") {
            try Conversion(request(WorkerSlots(limit: 1))).checkStart()
        }
    }

    private func request(_ workers: WorkerSlots) throws -> ConversionRequest {
        var options = try imageOptions.chainOptions(for: source)
        options.settles = !MakeInvocation.isDryRun
        if let backing { try options.location.check(named: backing) }
        var request = ConversionRequest(
            source: source, options: options, target: target,
            format: targetOptions.requested, backing: backing,
            backingFormat: try backing.flatMap { try backingFileFormat?.readable($0) }, asBase: asBase,
            shortestZeroRun: try copyOptions.zeroRun(),
            segmentLength: segment.bytes, workers: workers, rate: copyOptions.rateLimit, restart: restart,
            force: force)
        request.reread = reread
        return request
    }
}

extension TargetOptions {
    /// The format as a request has it.
    fileprivate var requested: ConversionRequest.Format {
        format == .cow ? .cow(formatOptions.chosenLayout, alignment: formatOptions.chosenAlignment) : .raw
    }
}

extension CowTargetOptions {
    /// The layout to write.
    var chosenLayout: CowLayout { layout ?? .umlV3 }

    /// Where bitmap and data begin, in bytes.
    var chosenAlignment: UInt32 { alignment ?? CowHeader.usualAlignment }
}
