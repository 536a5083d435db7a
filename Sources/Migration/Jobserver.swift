internal import CLinux
internal import Glibc
internal import SystemPackage

/// The client of make's jobserver. A process may run one job anyhow; each token that it takes allows one more at the same time.
///
/// There is one in a process. Its tokens are given back however the process ends (but by SIGKILL).
package final class Jobserver: Sendable {
    private let reading: CInt
    private let wakeup: CInt
    private let isBroken = Locked(false)

    /// Connects to the jobserver that make names. Throws `JobserverUnavailable` where it cannot be reached.
    ///
    /// To be called before anything else opens files: descriptors that make has closed must not be taken for its pipe.
    package init(_ named: MakeFlags.Jobserver) throws(JobserverUnavailable) {
        let ends: (reading: CInt, writing: CInt)
        switch named {
        case .withheld: throw JobserverUnavailable()
        case .fifo(let path): ends = try Jobserver.open(path, path)
        case .pipe(let reading, let writing):
            guard Jobserver.isPipe(reading, writing) else { throw JobserverUnavailable() }
            // Opened anew, because whether a descriptor waits belongs to all who share it, make among them.
            ends = try Jobserver.open(FilePath("/proc/self/fd/\(reading)"), FilePath("/proc/self/fd/\(writing)"))
        }
        reading = ends.reading
        wakeup = clinux_wakeup()
        guard wakeup >= 0, clinux_tokens_use(ends.reading, ends.writing) == 0 else { throw JobserverUnavailable() }
    }

    /// Takes a token where there is one; never waits.
    func takeToken() -> Bool {
        let result = clinux_token_take()
        if result < 0 { isBroken.withLock { $0 = true } }
        return result == 1
    }

    /// Gives one of the tokens back.
    func giveToken() {
        if clinux_token_give() < 0 { isBroken.withLock { $0 = true } }
    }

    /// Blocks until `wake`, or, where a token is wanted, until there may be one.
    func wait(wantsToken: Bool) {
        var files = [pollfd(fd: wakeup, events: Int16(POLLIN), revents: 0), pollfd(fd: reading, events: Int16(POLLIN), revents: 0)]
        _ = poll(&files, wantsToken && !isBroken.withLock { $0 } ? 2 : 1, -1)
        var count: UInt64 = 0
        _ = read(wakeup, &count, 8)
    }

    /// Ends a `wait`, this one or the next.
    func wake() {
        var count: UInt64 = 1
        _ = write(wakeup, &count, 8)
    }

    /// Gives all tokens back, for a process that ends without `exit`.
    package static func giveAllBack() { clinux_tokens_close() }

    /// Both ends of one pipe, each open for what it is named for.
    private static func isPipe(_ reading: CInt, _ writing: CInt) -> Bool {
        var (status, other) = (stat(), stat())
        guard fstat(reading, &status) == 0, fstat(writing, &other) == 0, status.st_mode & S_IFMT == S_IFIFO,
            (status.st_dev, status.st_ino) == (other.st_dev, other.st_ino)
        else { return false }
        let modes = (fcntl(reading, F_GETFL) & O_ACCMODE, fcntl(writing, F_GETFL) & O_ACCMODE)
        return modes.0 != O_WRONLY && modes.1 != O_RDONLY
    }

    /// A description of our own for each end, which never waits.
    private static func open(_ reading: FilePath, _ writing: FilePath) throws(JobserverUnavailable) -> (reading: CInt, writing: CInt) {
        let first = reading.withPlatformString { clinux_open($0, O_RDONLY | O_NONBLOCK, 0) }
        var status = stat()
        guard first >= 0 else { throw JobserverUnavailable() }
        guard fstat(first, &status) == 0, status.st_mode & S_IFMT == S_IFIFO else {
            close(first)
            throw JobserverUnavailable()
        }
        let second = writing.withPlatformString { clinux_open($0, O_WRONLY | O_NONBLOCK, 0) }
        guard second >= 0 else {
            close(first)
            throw JobserverUnavailable()
        }
        return (first, second)
    }
}

/// make named a jobserver and did not pass it on: one worker then, as make itself does it.
package struct JobserverUnavailable: Error, CustomStringConvertible {
    package var description: String { "jobserver unavailable: using one worker (add '+' to the rule)" }
}
