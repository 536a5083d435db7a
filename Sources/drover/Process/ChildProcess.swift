internal import CLinux
internal import DiskImages
internal import Glibc
internal import Linux
internal import SystemPackage

/// Other programs, run without a shell. The first argument is the program's path.
enum ChildProcess {
    /// Turns this process into the program; returns why it could not.
    static func become(_ arguments: [[UInt8]]) -> Errno {
        withTexts(arguments) { arguments in
            _ = execv(arguments[0]!, arguments)
            return Errno.current
        }
    }

    /// Starts the program. It ignores and blocks no signal but what `mask` says, and has of the
    /// open files those that are given for its standard input and output, and standard error.
    /// `without`: variables of the environment that it does not get.
    static func start(
        _ arguments: [[UInt8]], unblocking mask: sigset_t = sigset_t(), input: CInt? = nil,
        output: CInt? = nil, without: [String] = []
    ) throws -> pid_t {
        var (attributes, actions) = (posix_spawnattr_t(), posix_spawn_file_actions_t())
        posix_spawnattr_init(&attributes)
        posix_spawn_file_actions_init(&actions)
        defer {
            posix_spawnattr_destroy(&attributes)
            posix_spawn_file_actions_destroy(&actions)
        }
        var (mask, defaults) = (mask, sigset_t())
        sigfillset(&defaults)
        posix_spawnattr_setsigmask(&attributes, &mask)
        posix_spawnattr_setsigdefault(&attributes, &defaults)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        if let input { posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO) }
        if let output { posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO) }
        clinux_spawn_closes(&actions, STDERR_FILENO + 1)
        var child: pid_t = 0
        let failed = withTexts(arguments) { arguments in
            withTexts(environment(without)) {
                posix_spawn(&child, arguments[0]!, &actions, &attributes, arguments, $0)
            }
        }
        guard failed == 0 else {
            throw DiskImageError.system(
                FilePath(bytes: arguments[0]), "cannot be run", Errno(rawValue: failed), .unavailable)
        }
        return child
    }

    private static func environment(_ without: [String]) -> [[UInt8]] {
        var variables: [[UInt8]] = []
        var next = environ
        while let text = next.pointee {
            let variable = Array(UnsafeRawBufferPointer(start: text, count: strlen(text)))
            if !without.contains(where: { variable.starts(with: Array("\($0)=".utf8)) }) {
                variables.append(variable)
            }
            next += 1
        }
        return variables
    }

    private static func withTexts<Result>(
        _ texts: [[UInt8]], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result
    ) -> Result {
        let texts = texts.map { strdup(($0 + [0]).map { CChar(bitPattern: $0) }) }
        defer { for text in texts { free(text) } }
        return (texts + [nil]).withUnsafeBufferPointer { body($0.baseAddress!) }
    }
}
