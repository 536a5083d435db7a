internal import ArgumentParser
internal import DiskImages
internal import Fleets
internal import ImageFormats
internal import Migration
internal import PipelineFiles
internal import SystemPackage

/// `drover create`: a new overlay that holds nothing yet.
struct Create: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Make a new, empty overlay of a backing file.",
        discussion: """
            As uml_mkcow does: the file has its full length, all of it a hole, and its header names the backing file's path, time and size. The \
            image options are about the backing file.

            Environment: MAKEFLAGS, where make's -n has Drover say what it would do.

            For example: drover create -b base/debian.img guests/web-02.cow
            """)

    @Option(
        name: .customShort("b", allowingJoined: true),
        help: ArgumentHelp("The backing file.", valueName: "backing"), completion: .file(),
        transform: FilePath.init(argument:))
    var backing: FilePath

    @Option(
        name: .customShort("F", allowingJoined: true),
        help: ArgumentHelp("What BACKING is (default: look at its content).", valueName: "format"))
    var backingFileFormat: ImageFormat?

    @Option(
        name: .customShort("O", allowingJoined: true),
        help: ArgumentHelp("cow or qcow2: the format of the overlay.", valueName: "format"))
    var format = TargetFormatName.cow

    @Option(
        name: .customShort("o", allowingJoined: true),
        help: ArgumentHelp(
            "Of cow: layout=uml-v3 (the default), uml-v2 or qemu-v2; alignment=BYTES for uml-v3. Of qcow2: cluster_size=BYTES.",
            valueName: "key=value,..."),
        completion: FormatOptions.completion, transform: FormatOptions.init(argument:))
    var layoutOptions = FormatOptions()

    @Flag(help: "Replace an existing file.") var force = false
    @OptionGroup var verbosity: VerbosityOptions
    @OptionGroup(title: "Image options") var imageOptions: ImageOptions

    @Argument(help: "The file to make.", completion: .file(), transform: FilePath.init(target:)) var file:
        FilePath
    @Argument(help: "The disk's size, where it is not the backing file's.") var size: ByteSize?

    func run() async throws {
        var options = try imageOptions.chainOptions(changes: true)
        try options.location.check(named: backing)
        options.confinesImage = true
        options.format = backingFileFormat ?? options.format
        if backingFileFormat == nil { options.isSecond = true }
        if MakeInvocation.isDryRun {
            return try await DryRun.say("create \(file) over \(backing)") { _ = try creation(options) }
        }
        if try creation(options).run() {
            verbosity.tell(
                "\(file): is a new \(kind) overlay of \(backing)")
        } else {
            verbosity.tell("\(file): is there already, as it would be made")
        }
    }

    func validate() throws {
        try layoutOptions.validate(for: format)
        guard format != .raw else {
            throw ValidationError("a raw image is no overlay (-O cow and -O qcow2 are)")
        }
    }

    /// What messages call it.
    private var kind: String {
        format == .cow ? (layoutOptions.layout ?? .umlV3).rawValue : format.name
    }

    private func creation(_ options: ChainOptions) throws -> OverlayCreation {
        try OverlayCreation(
            file: file, backing: backing, chain: try ImageChain.open(backing, options),
            as: layoutOptions.choice(for: format), size: size?.bytes, force: force)
    }
}
