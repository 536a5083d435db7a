internal import ArgumentParser
internal import DiskImages
internal import Fleets
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
    var backingFileFormat: ImageFormat?

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
        if MakeInvocation.isDryRun { return try await dryRun() }
        let session = try await Session(
            progressOptions, verbosity, jobs: copyOptions.jobs, rate: copyOptions.rate)
        try await session.make(
            target, by: Conversion(request()), whole: "the disk",
            changed: "\(source): changed while it was read (--force-share): the target is of no one moment")
    }

    private func dryRun() async throws {
        try await DryRun.say("convert \(source) to \(target)") {
            try Conversion(request()).checkStart()
        }
    }

    private func request() throws -> ConversionRequest {
        var options = try imageOptions.chainOptions(for: source)
        options.settles = !MakeInvocation.isDryRun
        if let backing { try options.location.check(named: backing) }
        var request = ConversionRequest(
            source: source, options: options, target: target,
            format: targetOptions.formatOptions.choice(for: targetOptions.format),
            backing: backing.map {
                BackingRequest($0, as: backingFileFormat, like: options)
            })
        request.asBase = asBase
        (request.shortestZeroRun, request.segmentLength) = (try copyOptions.zeroRun(), segment.bytes)
        request.policy = StartPolicy(restart: restart, force: force)
        request.policy.reread = reread
        return request
    }
}
