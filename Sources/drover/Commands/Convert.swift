internal import ArgumentParser
internal import DiskImages
internal import Fleets
internal import Glibc
internal import ImageFormats
internal import Linux
internal import Manifests
internal import Migration
internal import PipelineFiles
internal import Stages
internal import SystemPackage

/// `drover convert`: one image to one target, resumable.
struct Convert: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "convert",
        abstract: "Convert an image with its whole chain to a raw, COW or qcow2 image.",
        discussion: """
            The chain is flattened, or, with -B, kept as an overlay of another backing file. The target gets its name only when it is whole; \
            until then it is TARGET.partial, and TARGET.manifest records what is done. Run the same command again to go on after an interruption. \
            With - as TARGET the raw disk goes to standard output, front to back; nothing is recorded.

            Environment: MAKEFLAGS, where make names the jobserver that limits the workers, and where -n has Drover say what it would do.

            For example: drover convert -O raw guests/web-01.cow web-01.img
            """)

    @OptionGroup var targetOptions: TargetOptions

    @Option(
        name: .customShort("B", allowingJoined: true),
        help: ArgumentHelp(
            "Write an overlay of this backing file (with -O cow or qcow2).", valueName: "backing"),
        completion: .file(), transform: FilePath.init(argument:))
    var backing: FilePath?

    @Flag(
        help:
            "Hold just what differs from BACKING, whatever SOURCE's own chain is: a flat image becomes an overlay (again)."
    ) var diff = false

    @Option(
        name: .customShort("F", allowingJoined: true),
        help: ArgumentHelp("What BACKING is (default: look at its content).", valueName: "format"))
    var backingFileFormat: ImageFormat?

    @Flag(help: "Make a base that overlays will name: raw, with SOURCE's exact length and mtime.")
    var asBase = false
    @Flag(
        help:
            "TARGET is a block device that is there, and is written in place (with --manifest). What lies behind the disk's end stays."
    ) var ontoDevice = false
    @Option(
        help: ArgumentHelp(
            "With --onto-device: where what is done is recorded, a file whose name ends in .manifest.",
            valueName: "file"),
        completion: .file(), transform: FilePath.init(toMake:)) var manifest: FilePath?
    @OptionGroup(title: "Copy options") var copyOptions: CopyOptions

    @Flag(help: CopyOptions.noReflinkHelp) var noReflink = false

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
    @Flag(
        help:
            "Go on past sectors that cannot be read: they become zeros, are named in the manifest and by verify, and the exit code is 2."
    ) var salvage = false
    @OptionGroup var cacheOptions: CacheOptions
    @OptionGroup var progressOptions: ProgressOptions
    @OptionGroup var verbosity: VerbosityOptions
    @OptionGroup(title: "Image options") var imageOptions: ImageOptions

    @Argument(help: "The image to convert.", completion: .file(), transform: FilePath.init(argument:))
    var source: FilePath
    @Argument(
        help: "The file to write, or - for standard output.", completion: .file(),
        transform: FilePath.init(toMake:)) var target: FilePath

    func validate() throws {
        try SegmentSize.check(segment)
        if backing != nil, targetOptions.format == .raw {
            throw ValidationError("a raw image has no backing file (-B goes with -O cow or -O qcow2)")
        }
        if asBase, targetOptions.format != .raw {
            throw ValidationError("a base that overlays will name is raw (--as-base goes with -O raw)")
        }
        if target == "-" { try validateStream() }
        if ontoDevice { try validateDevice() }
        if manifest != nil, !ontoDevice {
            throw ValidationError("a file's manifest lies beside it (--manifest goes with --onto-device)")
        }
        if diff, backing == nil { throw ValidationError("--diff says what of BACKING differs (give -B too)") }
        if backingFileFormat != nil, backing == nil {
            throw ValidationError("-F says what BACKING is (give -B too)")
        }
    }

    private func validateDevice() throws {
        let refused: [(isGiven: Bool, option: String)] = [
            (targetOptions.format != .raw, "-O \(targetOptions.format.name)"), (backing != nil, "-B"),
            (asBase, "--as-base"), (reread, "--reread"), (target == "-", "-"), (salvage, "--salvage"),
        ]
        if let refused = refused.first(where: \.isGiven) {
            throw ValidationError(
                "what is written onto a device is a raw disk (\(refused.option) is for a file)")
        }
        guard manifest != nil else {
            throw ValidationError("a device has no folder for a manifest (give --manifest FILE too)")
        }
    }

    private func validateStream() throws {
        let refused: [(isGiven: Bool, option: String)] = [
            (targetOptions.format != .raw, "-O \(targetOptions.format.name)"), (backing != nil, "-B"),
            (diff, "--diff"), (asBase, "--as-base"), (restart, "--restart"), (reread, "--reread"),
            (force, "--force"), (salvage, "--salvage"),
        ]
        if let refused = refused.first(where: \.isGiven) {
            throw ValidationError(
                "what goes to standard output is raw and recorded nowhere (\(refused.option) is for a file)")
        }
        if isatty(STDOUT_FILENO) == 1 {
            throw ValidationError("a disk is not written to a terminal (send it to a file or a pipe)")
        }
    }

    func run() async throws {
        if target == "-" { return try await stream() }
        if MakeInvocation.isDryRun { return try await dryRun() }
        let session = try await Session(
            progressOptions, verbosity, jobs: copyOptions.jobs, rate: copyOptions.rate,
            keepsCache: cacheOptions.keepCache)
        let changed = "\(source): changed while it was read (--force-share): the target is of no one moment"
        if ontoDevice, let manifest {
            return try await session.make(
                target, by: DeviceConversion(request(), recordedIn: manifest), whole: "the disk",
                changed: changed)
        }
        let conversion = try Conversion(request())
        try await session.make(target, by: conversion, whole: "the disk", changed: changed)
        let lost = salvage ? try conversion.lost() : []
        for sectors in lost.prefix(100) {
            StandardError.line("\(source): \(sectors) cannot be read: zeros in \(target)")
        }
        if !lost.isEmpty { throw ExitCode.damaged }
    }

    private func stream() async throws {
        if MakeInvocation.isDryRun {
            return try await DryRun.say("convert \(source) to standard output") {
                _ = try ImageChain.open(source, imageOptions.chainOptions())
            }
        }
        let session = try await Session(
            progressOptions, verbosity, jobs: copyOptions.jobs, rate: copyOptions.rate,
            keepsCache: cacheOptions.keepCache)
        var options = try imageOptions.chainOptions()
        options.settles = true
        let chain = try ImageChain.open(source, options)
        for warning in chain.warnings { verbosity.warn(warning.plain) }
        try await session.during { options in
            try await DiskStream(of: chain).write(named: source.description, options)
        }
    }

    private func dryRun() async throws {
        try await DryRun.say("convert \(source) to \(target)") {
            if ontoDevice, let manifest {
                try DeviceConversion(request(), recordedIn: manifest).checkStart()
            } else {
                try Conversion(request()).checkStart()
            }
        }
    }

    private func request() throws -> ConversionRequest {
        var options = try imageOptions.chainOptions()
        options.settles = !MakeInvocation.isDryRun
        if let backing { try options.location.check(named: backing) }
        var request = ConversionRequest(
            source: source, options: options, target: target,
            format: targetOptions.formatOptions.choice(for: targetOptions.format),
            backing: backing.map {
                var request = BackingRequest($0, as: backingFileFormat, like: options)
                request.isCompared = diff
                return request
            })
        request.asBase = asBase
        request.sharesExtents = !noReflink
        request.salvages = salvage
        (request.shortestZeroRun, request.segmentLength) = (try copyOptions.zeroRun(), segment.bytes)
        request.policy = StartPolicy(restart: restart, force: force)
        request.policy.reread = reread
        return request
    }
}
