internal import ArgumentParser
internal import DiskImages
internal import Glibc
internal import Linux
internal import Manifests
internal import Migration
internal import PipelineFiles
internal import Stages
internal import SystemPackage
internal import TransportArchive

/// `drover pack`: images with their chains into one archive.
struct Pack: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pack",
        abstract: "Pack images with their whole chains into one archive.",
        discussion: """
            Every file is stored once, a base that many overlays share too, and so is what several of them hold in blocks of 4 KiB; only allocated data is read. The archive is a valid LZ4 stream, or, with zstd, a valid Zstandard stream. Run the \
            same command again to go on after an interruption. ARCHIVE - is standard output.

            Environment: MAKEFLAGS, where make names the jobserver that limits the workers, and where -n has Drover say what it would do.

            For example: drover pack fleet.drover guests/*.cow
            """)

    @Option(
        help: ArgumentHelp(
            "none, lz4 (the default), lz4:LEVEL (1 to \(Compression.highestLevel); 3 and more are LZ4 HC), zstd, or zstd:LEVEL (1 to \(Compression.highestZstdLevel)).",
            valueName: "method"),
        completion: .list(["none", "lz4", "zstd"]),
        transform: { text in
            guard let compression = Compression(name: text) else {
                throw ValidationError(
                    "'\(text)' is no compression (none, lz4, lz4:1 to lz4:\(Compression.highestLevel), zstd, zstd:1 to zstd:\(Compression.highestZstdLevel))"
                )
            }
            return compression
        })
    var compression = Compression.lz4(level: 1)

    @Flag(help: "Pack what each guest sees, as one raw image, instead of the layers.") var flatten = false
    @Option(
        help: ArgumentHelp(
            "Store only what changed since that archive was made; the new one stands on it.",
            valueName: "archive"),
        completion: .file(), transform: FilePath.init(argument:))
    var since: FilePath?

    @Option(
        help: ArgumentHelp(
            "Small files and symbolic links that travel with the images; the pattern counts from the deepest folder that all of those lie in. May be repeated.",
            valueName: "pattern"))
    var with: [String] = []

    @Flag(help: "Store what several images hold once for each of them, without references.") var noDedup =
        false
    @OptionGroup(title: "Copy options") var copyOptions: CopyOptions

    @Option(
        help: ArgumentHelp(
            "How much archive one checkpoint covers; a multiple of 1M, up to 16G.", valueName: "size"))
    var segment = ByteSize(bytes: Segment.usual)

    @Flag(help: "Forget a checkpoint and begin again.") var restart = false
    @Flag(help: "Trust no times: read again what is packed, and pack it again where a source differs.")
    var reread = false
    @Flag(help: "Replace an existing archive.") var force = false
    @OptionGroup var cacheOptions: CacheOptions
    @OptionGroup var progressOptions: ProgressOptions
    @OptionGroup var verbosity: VerbosityOptions
    @OptionGroup(title: "Image options") var imageOptions: ImageOptions

    @Argument(
        help: "The archive to write, or - for standard output.", completion: .file(),
        transform: FilePath.init(toMake:))
    var archive: FilePath
    @Argument(
        help: "The images to pack; an archive stands for all of its images.", completion: .file(),
        transform: FilePath.init(argument:))
    var sources: [FilePath]

    func validate() throws {
        try SegmentSize.check(segment)
        if archive == "-", isatty(STDOUT_FILENO) == 1 {
            throw ValidationError("an archive is not written to a terminal (send it to a file or a pipe)")
        }
    }

    func run() async throws {
        if MakeInvocation.isDryRun { return try await dryRun() }
        let session = try await Session(
            progressOptions, verbosity, jobs: copyOptions.jobs, rate: copyOptions.rate,
            keepsCache: cacheOptions.keepCache)
        OpenFiles.allowMany()
        do {
            try await session.make(
                archive, by: Packing(request(), session.options), whole: "it",
                changed:
                    "\(archive): a source changed while it was read (--force-share): the archive is of no one moment"
            )
        } catch {
            // A pipe that is closed because its reader was stopped too is no failure.
            if archive == "-", session.options.stop.isRequested {
                throw MigrationError(
                    .stopped, "standard output: stopped by a signal (run the same command again)")
            }
            throw ArchiveFailure(archive, error)
        }
    }

    private func request() throws -> PackRequest {
        var options = try imageOptions.chainOptions()
        options.settles = !MakeInvocation.isDryRun
        var request = PackRequest(
            archive: archive == "-" ? nil : archive, images: try allSources(), options: options,
            compression: compression, flatten: flatten)
        (request.shortestZeroRun, request.segmentLength) = (try copyOptions.zeroRun(), segment.bytes)
        request.policy = StartPolicy(restart: restart, force: force)
        request.policy.reread = reread
        request.sharesContent = !noDedup
        request.companions = with
        (request.since, request.ancestors) = (since, try imageOptions.ancestors())
        return request
    }

    private func dryRun() async throws {
        OpenFiles.allowMany()
        let count = try allSources().count
        let images = "\(count) \(count == 1 ? "image" : "images")"
        try await DryRun.say("pack \(images) into \(archive)") {
            try await Packing(request(), MoveOptions(workers: WorkerSlots(limit: 1))).checkStart()
        }
    }
}

extension Pack {
    /// Of more images than these only the first go through the parser of arguments, whose time
    /// grows with the square of their number.
    private static let mostParsed = 256
    private static let further = Locked([String]())

    /// `arguments` without the images of a long list at their end, which are kept for `allSources`.
    static func shortened(_ arguments: [String]) -> [String] {
        guard arguments.first == configuration.commandName else { return arguments }
        let images = arguments.reversed().prefix { !$0.hasPrefix("-") }.count
        guard images > mostParsed else { return arguments }
        let kept = arguments.count - images + mostParsed / 2
        further.withLock { $0 = Array(arguments[kept...]) }
        return Array(arguments[..<kept])
    }

    /// The images to pack, all of them.
    private func allSources() throws -> [FilePath] {
        try sources + Pack.further.withLock(\.self).map(FilePath.init(argument:))
    }
}
