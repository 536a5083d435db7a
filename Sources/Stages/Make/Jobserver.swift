internal import CLinux
internal import Glibc
internal import Linux
internal import SystemPackage

/// The client of make's jobserver. A process may run one job anyhow; each token that it takes
/// allows one more at the same time.
///
/// There is one in a process. Its tokens are given back however the process ends (but by SIGKILL),
/// each as the byte that it was.
package final class Jobserver: Sendable {
    /// How long a device is left alone that says it has tokens and gives none.
    private static let pause: CInt = 50

    private struct State {
        var isBroken = false
        /// Whether the last token that was asked for was not there.
        var hasMissed = false
    }

    private let tokens: CInt
    private let wakeup: CInt
    private let state = Locked(State())

    /// Connects to the jobserver that make names. Throws `JobserverUnavailable` where it cannot be
    /// reached.
    ///
    /// To be called before anything else opens files: descriptors that make has closed must not be
    /// taken for its pipe.
    package init(_ named: MakeFlags.Jobserver) throws(JobserverUnavailable) {
        switch named {
        case .withheld: throw JobserverUnavailable()
        case .fifo(let path): tokens = try Jobserver.open(path)
        case .pipe(let reading, let writing):
            guard Jobserver.isPipe(reading, writing) else { throw JobserverUnavailable() }
            // Opened anew, because whether a descriptor waits belongs to all who share it, make
            // among them.
            tokens = try Jobserver.open(FilePath("/proc/self/fd/\(reading)"))
        }
        wakeup = clinux_wakeup()
        guard wakeup >= 0, clinux_tokens_use(tokens) == 0 else {
            throw JobserverUnavailable("make's jobserver: cannot be used: \(Errno.current)")
        }
    }

    /// Takes a token where there is one; never waits.
    func takeToken() -> Bool {
        let result = clinux_token_take()
        state.withLock { state in
            if result < 0 { state.isBroken = true }
            state.hasMissed = result == 0
        }
        return result == 1
    }

    /// Gives one of the tokens back.
    func giveToken() {
        if clinux_token_give() < 0 { state.withLock { $0.isBroken = true } }
    }

    /// Blocks until `wake`, or, where a token is wanted, until there may be one.
    func wait(wantsToken: Bool) {
        var files = [
            pollfd(fd: wakeup, events: Int16(POLLIN), revents: 0),
            pollfd(fd: tokens, events: Int16(POLLIN), revents: 0),
        ]
        let state = state.withLock { $0 }
        let isAsked = wantsToken && !state.isBroken
        // Somebody else was faster, or a device says so whenever it is asked: not at once again.
        if isAsked, state.hasMissed, poll(&files, 2, 0) > 0, files[0].revents == 0 {
            _ = poll(&files, 1, Jobserver.pause)
        }
        if files[0].revents == 0 { _ = poll(&files, isAsked ? 2 : 1, -1) }
        var count: UInt64 = 0
        _ = read(wakeup, &count, 8)
    }

    /// Ends a `wait`, this one or the next.
    func wake() {
        var count: UInt64 = 1
        _ = write(wakeup, &count, 8)
    }

    /// Both ends of one pipe, each open for what it is named for.
    private static func isPipe(_ reading: CInt, _ writing: CInt) -> Bool {
        var (status, other) = (stat(), stat())
        guard fstat(reading, &status) == 0, fstat(writing, &other) == 0, status.st_mode & S_IFMT == S_IFIFO,
            (status.st_dev, status.st_ino) == (other.st_dev, other.st_ino)
        else { return false }
        let modes = (fcntl(reading, F_GETFL) & O_ACCMODE, fcntl(writing, F_GETFL) & O_ACCMODE)
        return modes.0 != O_WRONLY && modes.1 != O_RDONLY
    }

    /// A description of our own.
    private static func open(_ path: FilePath) throws(JobserverUnavailable) -> CInt {
        let descriptor = path.withPlatformString { clinux_tokens_open($0) }
        if descriptor >= 0 { return descriptor }
        let errno = Errno.current
        guard errno != .invalidArgument else {
            throw JobserverUnavailable("\(path): is neither a FIFO nor a character device")
        }
        throw JobserverUnavailable("\(path): cannot be opened: \(errno)")
    }
}

/// make named a jobserver and did not pass it on, or it cannot be used: one worker then, as make
/// itself does it.
package struct JobserverUnavailable: Error, CustomStringConvertible {
    private let reason: String

    fileprivate init(_ reason: String) { self.reason = reason }

    fileprivate init() { reason = "add '+' to the rule" }

    package var description: String { "jobserver unavailable: using one worker (\(reason))" }
}
