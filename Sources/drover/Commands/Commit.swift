internal import ArgumentParser
internal import DiskImages
internal import Migration
internal import PipelineFiles
internal import SystemPackage

/// `drover commit`: an overlay is merged into its backing file.
struct Commit: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "commit",
        abstract: "Merge a COW overlay into its backing file, in place.",
        discussion: """
            The backing file gets what IMAGE holds; IMAGE is empty afterwards and matches it. The guest's disk through IMAGE stays what it is, at \
            every moment; an interrupted commit goes on with the same command, and until then nothing else opens either file. There is no way back: \
            the old backing file is not kept.

            Other overlays of that backing file would show other bytes. Those in the folders of both files and in --siblings are named, and the \
            commit is refused. For qcow2 images there is qemu-img commit.

            For example: drover commit guests/web-01.cow
            """)

    @Option(
        help: ArgumentHelp(
            "Look in this directory too for other overlays of the backing file. May be repeated.",
            valueName: "directory"),
        completion: .directory, transform: FilePath.init(argument:))
    var siblings: [FilePath] = []

    @Flag(help: "Do it although other overlays stand on the backing file, or the image has several names.")
    var force = false
    @OptionGroup var progressOptions: ProgressOptions
    @OptionGroup var verbosity: VerbosityOptions
    @OptionGroup(title: "Image options") var imageOptions: ImageOptions
    @Argument(help: "The overlay.", completion: .file(), transform: FilePath.init(target:)) var image:
        FilePath

    func run() async throws {
        if MakeInvocation.isDryRun {
            return try await DryRun.say("commit \(image)") { _ = try asked() }
        }
        let session = try await Session(progressOptions, verbosity, jobs: nil, rate: nil)
        let request = try asked()
        let result = try await session.during { options in try Committing(request).run(options) }
        verbosity.tell(
            "\(image): \(HumanText.size(result.merged)) are in \(result.base) now, and it is empty")
    }

    private func asked() throws -> Committing.Request {
        var request = Committing.Request(
            image: image, options: try imageOptions.chainOptions(changes: true))
        (request.folders, request.force) = (siblings, force)
        return request
    }
}
