internal import ArgumentParser
internal import DiskImages
internal import Migration
internal import PipelineFiles
internal import SystemPackage

/// `drover rebase`: an overlay stands on another backing file.
struct Rebase: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rebase",
        abstract: "Point a COW overlay at another backing file, in place.",
        discussion: """
            The guest's disk stays what it is: what the new backing file has otherwise is copied up into IMAGE first, and then header and bitmap \
            are changed together. -u changes the header alone, for a backing file that was moved or copied. An interrupted rebase leaves IMAGE as \
            it was, or IMAGE.journal: then nothing else opens IMAGE until the same command has gone on. IMAGE must not be in use.

            For qcow2 images there is qemu-img rebase.

            For example: drover rebase -u -b base/debian.img guests/web-01.cow
            """)

    @Option(
        name: .customShort("b", allowingJoined: true),
        help: ArgumentHelp(
            "The new backing file; an empty name for none, in QEMU's layouts.", valueName: "backing"),
        completion: .file())
    var backing: String

    @Flag(
        name: .customShort("u"),
        help: "Write the header alone: BACKING has the bytes of the old backing file.")
    var headerOnly = false

    @Option(
        name: .customShort("F", allowingJoined: true),
        help: ArgumentHelp("What BACKING is (default: look at its content).", valueName: "format"))
    var backingFileFormat: ImageFormat?

    @Option(
        help: ArgumentHelp(
            "An image with the content of the old backing file, where that is changed or gone.",
            valueName: "image"),
        completion: .file(), transform: FilePath.init(argument:))
    var oldBacking: FilePath?

    @Flag(help: "Change an image that has several names.") var force = false
    @OptionGroup var progressOptions: ProgressOptions
    @OptionGroup var verbosity: VerbosityOptions
    @OptionGroup(title: "Image options") var imageOptions: ImageOptions
    @Argument(help: "The overlay.", completion: .file(), transform: FilePath.init(target:)) var image:
        FilePath

    func validate() throws {
        if headerOnly, oldBacking != nil {
            throw ValidationError("-u looks at no content (--old-backing goes without it)")
        }
        if backing.isEmpty, backingFileFormat != nil {
            throw ValidationError("-F says what BACKING is (give -b a name too)")
        }
    }

    func run() async throws {
        if MakeInvocation.isDryRun {
            return try await DryRun.say("rebase \(image) to \(backing)") { _ = try asked() }
        }
        let session = try await Session(progressOptions, verbosity, jobs: nil, rate: nil)
        let request = try asked()
        let copied = try await session.during { options in try Rebasing(request).run(options) }
        let name = backing.isEmpty ? "stands alone" : "stands on \(backing)"
        verbosity.tell("\(image): \(name), \(HumanText.size(copied)) were copied up")
    }

    private func asked() throws -> Rebasing.Request {
        let options = try imageOptions.chainOptions(changes: true)
        let path = backing.isEmpty ? nil : try FilePath(argument: backing)
        if let path { try options.location.check(named: path) }
        var request = Rebasing.Request(
            image: image, options: options,
            backing: path.map { BackingRequest($0, as: backingFileFormat, like: options) })
        (request.oldBacking, request.headerOnly, request.force) = (oldBacking, headerOnly, force)
        request.archived = try imageOptions.chainOptions().archived
        return request
    }
}
