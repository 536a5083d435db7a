internal import ArgumentParser
internal import DiskImages
internal import ImageFormats
internal import Migration
internal import PipelineFiles
internal import Stages
internal import SystemPackage

/// `drover compare`: do two images show a guest the same bytes?
struct Compare: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare",
        abstract: "Find the first sector in which two images differ.",
        discussion: """
            Compares what a guest reads, whatever the formats and chains. Ends with 0 where the images are the same and with 1 where they \
            differ. Images of different sizes differ, unless --ignore-size is given. The options for backing files hold for both images.

            Environment: MAKEFLAGS, where make names the jobserver that limits the workers.

            For example: drover compare guests/web-01.cow migrated/web-01.raw
            """)

    @Flag(help: "Take for zeros what the shorter image lacks.")
    var ignoreSize = false

    @Option(
        name: .customShort("F", allowingJoined: true),
        help: ArgumentHelp("What B is (default: look at its content); -f is for A.", valueName: "format"))
    var formatOfB: ImageFormat?

    @Option(help: CopyOptions.jobsHelp("read and compare")) var jobs: Int?
    @OptionGroup var outputOptions: OutputOptions
    @OptionGroup var cacheOptions: CacheOptions
    @OptionGroup var progressOptions: ProgressOptions
    @OptionGroup var verbosity: VerbosityOptions
    @OptionGroup(title: "Image options") var imageOptions: ImageOptions
    @Argument(help: "An image.", completion: .file(), transform: FilePath.init(argument:)) var a: FilePath
    @Argument(help: "Another image.", completion: .file(), transform: FilePath.init(argument:)) var b:
        FilePath

    func validate() throws { try CopyOptions.validate(rate: nil, jobs: jobs) }

    func run() async throws {
        var optionsOfB = imageOptions
        optionsOfB.format = formatOfB
        let (chainA, chainB) = (
            try imageOptions.open(a, verbosity), try optionsOfB.open(b, verbosity, isSecond: true)
        )
        let verdict = try await compare(chainA, chainB)
        var output = Output()
        switch outputOptions.output {
        case .human: if !verbosity.isQuiet { try output.line(verdict.text) }
        case .json: try output.json(verdict)
        }
        try output.finish()
        if !verdict.identical { throw ExitCode.differs }
    }

    private func compare(_ chainA: ImageChain, _ chainB: ImageChain) async throws -> Verdict {
        let sizes = [chainA.guestLength, chainB.guestLength]
        guard ignoreSize || sizes[0] == sizes[1] else {
            return Verdict(sizes: sizes, offset: nil, isSizeCompared: true)
        }
        let session = try await Session(
            progressOptions, verbosity, jobs: jobs, rate: nil, keepsCache: cacheOptions.keepCache)
        let comparison = DiskComparison(chainA, chainB, length: max(sizes[0], sizes[1]))
        let offset = try await session.during { [a] in
            try await comparison.firstDifference(named: a.description, $0)
        }
        for chain in [chainA, chainB] {
            do {
                try chain.checkUnchanged()
            } catch let error as DiskImageError where imageOptions.forceShare {
                verbosity.warn(ErrorLine.text(of: error))
            }
        }
        return Verdict(sizes: sizes, offset: offset, isSizeCompared: false)
    }
}

/// What came out of a comparison.
private struct Verdict: Encodable {
    let identical: Bool
    /// `size` or `content`, where they differ.
    let difference: String?
    /// Where the first sector that differs begins, in bytes.
    let offset: UInt64?
    /// The first sector that differs.
    let sector: UInt64?
    /// The sizes of both disks in bytes.
    let sizes: [UInt64]

    init(sizes: [UInt64], offset: UInt64?, isSizeCompared: Bool) {
        identical = !isSizeCompared && offset == nil
        difference = isSizeCompared ? "size" : offset.map { _ in "content" }
        self.offset = offset
        sector = offset.map { $0 / sectorSize }
        self.sizes = sizes
    }

    /// As `qemu-img compare` says it, and a little more.
    var text: String {
        if let offset, let sector {
            return "Content mismatch at offset \(offset)! The first sector that differs is \(sector)."
        }
        if identical { return "Images are identical." }
        return
            "Image size mismatch! The disks have \(sizes[0]) and \(sizes[1]) bytes (--ignore-size takes what is missing for zeros)."
    }
}
