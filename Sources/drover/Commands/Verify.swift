internal import ArgumentParser
internal import DiskImages
internal import Linux
internal import Migration
internal import PipelineFiles
internal import Stages
internal import SystemPackage
internal import TransportArchive

/// `drover verify`: a target read again and held against its manifest.
struct Verify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Read an archive or a target again and check every byte.",
        discussion: """
            An archive is checked against its own digests, the target of an earlier move against its manifest. Everything is read, and the first \
            sectors that are not what was written are named. Exit code 0: sound; 2: damaged.

            Environment: MAKEFLAGS, where make names the jobserver that limits the workers, and where -n has Drover say what it would do.

            For example: drover verify fleet.drover
            """)

    @Option(
        help: ArgumentHelp(
            "The manifest of FILE, where it does not lie beside it (a block device's).", valueName: "file"),
        completion: .file(), transform: FilePath.init(argument:)) var manifest: FilePath?
    @Flag(help: "Check the archives, too, that an incremental one stands on, and what it has from them.")
    var deep = false
    @OptionGroup(title: "Archive options") var archiveOptions: ArchiveOptions
    @Option(help: ArgumentHelp("Read at most so many bytes a second.", valueName: "bytes")) var rate:
        ByteSize?
    @Option(help: CopyOptions.jobsHelp("read")) var jobs: Int?
    @OptionGroup var cacheOptions: CacheOptions
    @OptionGroup var progressOptions: ProgressOptions
    @OptionGroup var verbosity: VerbosityOptions
    @Argument(
        help:
            "Archives (- for standard input), targets of earlier moves, or directories: all of both in them.",
        completion: .file(), transform: FilePath.init(argument:)) var files: [FilePath]

    func validate() throws {
        try CopyOptions.validate(rate: rate, jobs: jobs)
        if manifest != nil, files.count > 1 {
            throw ValidationError("--manifest is of one FILE (give one)")
        }
        if files.contains("-"), files.count > 1 {
            throw ValidationError("- is standard input, which is checked alone (give files)")
        }
        if deep, files == ["-"] {
            throw ValidationError("--deep looks for archives beside the one that is checked (give a file)")
        }
    }

    func run() async throws {
        if MakeInvocation.isDryRun {
            for file in files { try await DryRun.say("verify \(file)") {} }
            return
        }
        let session = try await Session(
            progressOptions, verbosity, jobs: jobs, rate: rate, keepsCache: cacheOptions.keepCache)
        let isMany =
            try files.count > 1 || files.contains { try ImageFile.identity(at: $0)?.isDirectory == true }
        guard isMany else { return try await verify(files[0], session) }
        // The worst is what it ends with: damage, then what could not be checked.
        var failure: ExitCode?
        var count = 0
        for file in try files.flatMap({ try VerifiableFiles.below($0) ?? [$0] }) {
            guard !session.options.stop.isRequested else {
                throw MigrationError(.stopped, "\(file): stopped by a signal")
            }
            do {
                try await verify(file, session)
                count += 1
            } catch let code as ExitCode {
                failure = code
            } catch {
                StandardError.line(ErrorLine.text(of: error))
                failure = failure ?? ExitCode(for: error)
            }
        }
        verbosity.tell("\(HumanText.count(count, "file")) sound")
        if let failure { throw failure }
    }

    private func verify(_ file: FilePath, _ session: Session) async throws {
        let isNamed = file.lastComponent?.extension == "drover"
        if manifest == nil,
            try file == "-" || isNamed || ArchiveAddress.isRemote(file) || ArchiveAddress.isArchive(file)
        {
            return try await verifyArchive(file, session)
        }
        let verification =
            try manifest.map { try Verification(of: file, recordedIn: $0) } ?? Verification(of: file)
        let finding = try await session.during { try await verification.run($0) }
        for line in finding.notRestored.prefix(100) { StandardError.line(line) }
        if let damage = finding.damage {
            StandardError.line(
                "\(damage); \(HumanText.size(finding.intact)) of \(HumanText.size(finding.length)) lie in sound segments"
            )
            throw ExitCode.damaged
        }
        guard finding.notRestored.isEmpty else { throw ExitCode.damaged }
        verbosity.tell("\(file): is what was written (\(HumanText.size(finding.length)))")
    }

    private func verifyArchive(_ file: FilePath, _ session: Session) async throws {
        let finding: ArchiveVerification.Finding
        do {
            finding = try await session.during {
                try await ArchiveVerification(
                    file == "-" ? nil : file, with: deep ? archiveOptions.ancestors() : nil
                ).run($0)
            }
        } catch {
            throw ArchiveFailure(file, error)
        }
        guard finding.damage.isEmpty else {
            for line in finding.damage.prefix(100) { StandardError.line(line) }
            let name = file == "-" ? "standard input" : "\(file)"
            StandardError.line(
                "\(name): \(HumanText.size(finding.intact)) of \(HumanText.size(finding.length)) of its disks are intact"
            )
            throw ExitCode.damaged
        }
        verbosity.tell("\(file): is sound (\(HumanText.size(finding.length)) of disks)")
    }
}
