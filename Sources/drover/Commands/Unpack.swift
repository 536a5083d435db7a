internal import ArgumentParser
internal import DiskImages
internal import Fleets
internal import Linux
internal import Manifests
internal import Migration
internal import PipelineFiles
internal import Stages
internal import SystemPackage

/// `drover unpack`: images restored from an archive.
struct Unpack: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unpack",
        abstract: "Restore images from an archive.",
        discussion: """
            All images or those named, as the chains they were, their headers naming the new places; with -O raw, flattened. Run the same command \
            again to go on after an interruption. ARCHIVE - is standard input.

            Environment: MAKEFLAGS, where make names the jobserver that limits the workers, and where -n has Drover say what it would do.

            For example: drover unpack -C restored fleet.drover guests/web-01.cow
            """)

    @Option(
        name: .customShort("C", allowingJoined: true),
        help: ArgumentHelp("The folder to restore into (default: the current one).", valueName: "directory"),
        completion: .directory, transform: FilePath.init(argument:))
    var directory: FilePath = "."

    @Option(
        name: .customShort("O", allowingJoined: true),
        help: ArgumentHelp(
            "cow: the chains as they were (the default), -o may choose another layout; raw, qcow2: flattened.",
            valueName: "format")
    )
    var format: TargetFormatName?

    @Option(
        name: .customShort("o", allowingJoined: true),
        help: ArgumentHelp(
            "Of cow: layout=uml-v3, uml-v2 or qemu-v2; alignment=BYTES for uml-v3. Of qcow2: cluster_size=BYTES; compression=zlib or zstd.",
            valueName: "key=value,..."),
        completion: FormatOptions.completion, transform: FormatOptions.init(argument:))
    var formatOptions = FormatOptions()

    @Flag(help: "Restore what is intact of a damaged archive, and list what is not.") var salvage = false
    @Option(help: ArgumentHelp("Read at most so many bytes a second.", valueName: "bytes")) var rate:
        ByteSize?
    @Option(help: CopyOptions.jobsHelp("decompress")) var jobs: Int?

    @Option(
        help: ArgumentHelp(
            "How much guest disk one checkpoint covers; a multiple of 1M, up to 16G.", valueName: "size"))
    var segment = ByteSize(bytes: Segment.usual)

    @Flag(help: "Forget a checkpoint and begin again.") var restart = false
    @Flag(help: "Replace existing files, whatever is in them.") var force = false
    @Flag(
        help:
            "Hold existing files of which nothing is recorded against the archive, and leave those that are the same. What an earlier unpack made needs no option."
    ) var update = false
    @OptionGroup(title: "Archive options") var archiveOptions: ArchiveOptions
    @OptionGroup var cacheOptions: CacheOptions
    @OptionGroup var progressOptions: ProgressOptions
    @OptionGroup var verbosity: VerbosityOptions

    @Argument(
        help: "The archive, or - for standard input.", completion: .file(),
        transform: FilePath.init(argument:)) var archive: FilePath
    @Argument(
        help:
            "The images to restore: names as list prints them, their last components, or patterns such as 'guests/*'."
    ) var names: [String] = []

    func validate() throws {
        try SegmentSize.check(segment)
        try CopyOptions.validate(rate: rate, jobs: jobs)
        try formatOptions.validate(for: format ?? .cow)
        if update, archive == "-" {
            throw ValidationError("--update reads the archive twice, which a pipe cannot (give a file)")
        }
        if update, salvage {
            throw ValidationError(
                "--update leaves what is there; --salvage makes what can be made (give one)")
        }
    }

    func run() async throws {
        if MakeInvocation.isDryRun { return try await dryRun() }
        let session = try await Session(
            progressOptions, verbosity, jobs: jobs, rate: rate, keepsCache: cacheOptions.keepCache)
        let request = request()
        let result: UnpackResult
        do {
            result = try await session.during { options in
                salvage
                    ? try await Salvaging(request).run(options)
                    : try await Unpacking(request, stop: options.stop).run(options)
            }
        } catch {
            // A pipe that ends because its writer was stopped too is no damage.
            if session.options.stop.isRequested {
                throw MigrationError(
                    .stopped,
                    "\(request.archiveName): stopped by a signal (run the same command again to go on)")
            }
            throw ArchiveFailure(archive, error)
        }
        for line in result.damage { StandardError.line(line) }
        verbosity.tell("\(directory): \(result.restored) files restored, \(result.upToDate) were up to date")
        if !result.damage.isEmpty { throw ExitCode.damaged }
    }

    private func request() -> UnpackRequest {
        var request = UnpackRequest(
            archive: archive == "-" ? nil : archive, directory: directory, names: names,
            form: (format ?? .cow) == .cow
                ? .chains(layout: formatOptions.layout, alignment: formatOptions.alignment)
                : .flattened(formatOptions.choice(for: format ?? .raw)))
        request.segmentLength = segment.bytes
        request.ancestors = archiveOptions.ancestors()
        request.policy = StartPolicy(restart: restart, force: force)
        request.updates = update
        return request
    }

    private func dryRun() async throws {
        let request = request()
        try await DryRun.say("unpack \(request.archiveName) into \(directory)") {
            // What comes through a pipe can be read only once.
            guard request.archive != nil else { return }
            do {
                if salvage {
                    _ = try Salvaging(request)
                } else {
                    try Unpacking(request, stop: StopFlag()).checkStart()
                }
            } catch let error as DiskImageError where error.kind == .unavailable {
                throw error
            } catch {
                throw ArchiveFailure(archive, error)
            }
        }
    }
}
