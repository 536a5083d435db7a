internal import ArgumentParser
internal import CLinux
internal import Glibc
internal import Linux
internal import Migration
internal import PipelineFiles
internal import SystemPackage

/// The root command: names the others and turns every outcome into an exit code and at most one
/// line on standard error, or one for each problem of a pipeline file.
@main
struct Drover: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drover",
        abstract: "Moves herds of copy-on-write disk images.",
        discussion: """
            Reads raw images and the COW files of User-Mode Linux and QEMU with their whole chains of backing files.

            For example: drover info --backing-chain guests/web-01.cow
            """,
        version: Release.version,
        subcommands: [
            Info.self, Map.self, Check.self, Measure.self, Compare.self, Create.self, Rebase.self,
            Commit.self, Convert.self, Pack.self,
            Unpack.self, List.self,
            Verify.self, Serve.self, Plan.self, Run.self, Status.self, Report.self,
        ])

    static func main() {
        clinux_prepare_memory()
        clinux_catch_signals()
        clinux_ignore_write_signals()
        openStandardDescriptors()
        MakeInvocation.begin()
        // Only moves start threads of their own.
        IOThread.onThisThread { Glibc.exit(await outcome(of: ArgumentBytes.ofThisProcess()).rawValue) }
    }

    private static var commandNames: [String] {
        configuration.subcommands.compactMap { $0.configuration.commandName }
    }

    /// What people call commands who come from other tools.
    private static let synonyms = [
        "extract": "unpack", "restore": "unpack", "copy": "convert", "backup": "pack", "merge": "commit",
    ]

    /// `arguments` with the command's own name, also behind `help`.
    private static func named(_ arguments: [String]) -> [String] {
        var arguments = arguments
        let index = arguments.first == "help" ? 1 : 0
        if arguments.indices.contains(index), let name = synonyms[arguments[index]] {
            arguments[index] = name
        }
        return arguments
    }

    /// Does what `arguments` ask for and says what became of it.
    private static func outcome(of given: [String]) async -> ExitCode {
        let arguments = named(given)
        let command: any ParsableCommand
        do {
            command = try await asyncParseAsRoot(Pack.shortened(Run.spelled(arguments)))
        } catch {
            clinux_release_signals()
            return exitCode(for: error).isSuccess ? answer(error, arguments) : refuse(error, arguments)
        }
        let isMove = command is any AsyncParsableCommand && !MakeInvocation.isDryRun
        if !isMove { clinux_release_signals() }
        do {
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                var synchronous = command
                try synchronous.run()
            }
            return .success
        } catch let code as ExitCode {
            return code
        } catch  where exitCode(for: error).isSuccess {
            return answer(error, arguments)
        } catch let error as Shortage {
            // It has nothing to do with any file, but says where the move stands.
            return fail(Shortage((subject(of: command).map { "\($0): " } ?? "") + error.description))
        } catch {
            return fail(error)
        }
    }

    /// The file that a move is about.
    private static func subject(of command: any ParsableCommand) -> FilePath? {
        switch command {
        case let command as Convert: command.source
        case let command as Pack: command.archive
        case let command as Unpack: command.archive
        case let command as Verify: command.files.first
        case let command as Run: command.fleet.pipeline
        default: nil
        }
    }

    /// Prints the help, the version or the completion script that was asked for.
    private static func answer(_ request: any Error, _ arguments: [String]) -> ExitCode {
        do {
            var output = Output()
            let text = message(for: request)
            let isScript = arguments.first?.hasPrefix("--generate-completion-script") == true
            try output.line(isScript ? CompletionScript(generated: text).text(commands: commandNames) : text)
            try output.finish()
            return .success
        } catch {
            return fail(error)
        }
    }

    /// A command line that is wrong.
    private static func refuse(_ error: any Error, _ arguments: [String]) -> ExitCode {
        if let first = arguments.first, !first.hasPrefix("-"), first != "help", !commandNames.contains(first)
        {
            let near = NearestKey.of(first, in: commandNames + synonyms.keys.sorted()).map {
                "did you mean \($0)?"
            }
            StandardError.line("'\(first)' is no command (\(near ?? "see drover --help"))")
            return .usage
        }
        let command = arguments.first.flatMap { commandNames.contains($0) ? "drover \($0)" : nil } ?? "drover"
        let fact = ErrorLine.usage(message(for: error))
        StandardError.line(fact.hasSuffix(")") ? fact : "\(fact) (see \(command) --help)")
        return .usage
    }

    private static func fail(_ error: any Error) -> ExitCode {
        // Whoever read our output wants no more of it: nothing to complain about.
        if let problems = error as? PipelineProblems {
            for line in problems.lines { StandardError.line(line) }
        } else if !(error is OutputClosed) {
            StandardError.line(ErrorLine.text(of: error))
        }
        return ExitCode(for: error)
    }

    /// Makes sure that descriptors 0 to 2 are taken, so that no image is opened as one of them and
    /// written to by mistake. Opened the wrong way round: using one that was closed fails, as it
    /// should.
    private static func openStandardDescriptors() {
        for (descriptor, flags) in [
            (STDIN_FILENO, O_WRONLY), (STDOUT_FILENO, O_RDONLY), (STDERR_FILENO, O_RDONLY),
        ] {
            if fcntl(descriptor, F_GETFD) == -1 { _ = open("/dev/null", flags) }
        }
    }
}
