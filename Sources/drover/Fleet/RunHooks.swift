internal import DiskImages
internal import Glibc
internal import Linux
internal import PipelineFiles
internal import SystemPackage

/// The programs that a pipeline names to hear how a run ended. They get its result on standard
/// input, as `--output json` prints it, and what they do changes nothing of the run.
struct RunHooks {
    /// How long one may take; seconds.
    private static let longest = 60
    private static let grace = 5

    let hooks: PipelineSpec.Hooks
    let verbosity: VerbosityOptions

    /// Runs those that are meant by `code`: `after` where the run came to its end, `error` where it
    /// did not do all that it should.
    func run(_ code: Int32, _ document: String) {
        let programs =
            ([0, 1].contains(code) ? hooks.after : []) + ([0, 75].contains(code) ? [] : hooks.error)
        for program in programs {
            do {
                try RunHooks.check(program)
                let status = try RunHooks.run(program, Array(document.utf8))
                if status != 0 { verbosity.warn("the hook \(program.printed) \(RunHooks.words(status))") }
            } catch {
                verbosity.warn("a hook was not run: \(ErrorLine.text(of: error))")
            }
        }
    }

    /// Throws where anybody could have it do anything.
    private static func check(_ program: FilePath) throws {
        var status = stat()
        guard program.withPlatformString({ stat($0, &status) }) == 0 else {
            throw DiskImageError.system(program, "cannot be run", .current, .unavailable)
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw DiskImageError(.badData, program, "is no regular file")
        }
        guard status.st_mode & 0o002 == 0 else {
            throw DiskImageError(.badData, program, "may be written to by everybody (chmod o-w)")
        }
    }

    /// The program's status, as waitpid has it.
    private static func run(_ program: FilePath, _ document: [UInt8]) throws -> CInt {
        var ends: [CInt] = [-1, -1]
        guard pipe(&ends) == 0 else {
            throw DiskImageError.system(program, "no pipe to it can be made")
        }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        let child: pid_t
        do {
            child = try ChildProcess.start(
                [program.pathBytes], input: ends[0], output: STDERR_FILENO,
                without: ["MAKEFLAGS", "MFLAGS", "MAKELEVEL"])
        } catch {
            close(ends[0])
            close(ends[1])
            throw error
        }
        close(ends[0])
        // Written bit by bit: who does not read it must not hold the run up.
        _ = fcntl(ends[1], F_SETFL, O_NONBLOCK)
        var (rest, isOpen) = (document[...], true)
        var (status, waited): (CInt, Int) = (0, 0)
        while true {
            let count =
                isOpen && !rest.isEmpty
                ? rest.withUnsafeBytes { write(ends[1], $0.baseAddress, $0.count) } : 0
            // A pipe that was closed is no error: nobody need read it.
            if count < 0, errno != EAGAIN, errno != EINTR { rest = [] }
            rest = rest.dropFirst(max(0, count))
            if isOpen, rest.isEmpty {
                close(ends[1])
                isOpen = false
            }
            let ended = waitpid(child, &status, WNOHANG)
            if ended == child || ended < 0 && errno != EINTR { break }
            waited += 1
            if waited == longest * 100 { kill(child, SIGTERM) }
            if waited == (longest + grace) * 100 { kill(child, SIGKILL) }
            usleep(10_000)
        }
        if isOpen { close(ends[1]) }
        return status
    }

    private static func words(_ status: CInt) -> String {
        let signal = status & 0x7f
        return signal == 0 ? "ended with \(status >> 8 & 0xff)" : "was ended by signal \(signal)"
    }
}
