internal import CLinux
internal import Glibc
internal import Linux
internal import SystemPackage

/// Standard output, for bytes that go to a pipe whose reader may stall.
package final class PipeWriter: Sendable {
    /// What a pipe that is ready takes without blocking, at least.
    private static let safePiece = 4096

    private let isStopped: @Sendable () -> Bool
    /// Standard output, or the same pipe opened again: to be set to not block without a word to
    /// those who share it.
    private let descriptor: CInt
    /// What is written in one call.
    private let longestPiece: Int

    /// `isStopped` is asked while the reader takes nothing.
    package init(isStopped: @escaping @Sendable () -> Bool) {
        self.isStopped = isStopped
        var status = stat()
        let mode = fstat(STDOUT_FILENO, &status) == 0 ? status.st_mode & S_IFMT : 0
        let own =
            mode == S_IFIFO ? clinux_open("/proc/self/fd/\(STDOUT_FILENO)", O_WRONLY | O_NONBLOCK, 0) : -1
        descriptor = own >= 0 ? own : STDOUT_FILENO
        longestPiece = own >= 0 || mode == S_IFREG ? .max : PipeWriter.safePiece
    }

    deinit { if descriptor != STDOUT_FILENO { close(descriptor) } }

    /// Writes all of `bytes`. Throws `stopped` where the reader stalls and somebody asks to stop.
    package func write(_ bytes: UnsafeRawBufferPointer) throws {
        let name: FilePath = "standard output"
        var done = 0
        while done < bytes.count {
            try PipeWait.wait(for: descriptor, POLLOUT, name, isStopped)
            let count = Glibc.write(
                descriptor, bytes.baseAddress! + done, min(bytes.count - done, longestPiece))
            if count >= 0 {
                done += count
            } else if errno != EINTR, errno != EAGAIN {
                throw DiskImageError.system(name, "cannot be written", .current)
            }
        }
    }
}

/// Waiting for the other side of a pipe, no longer than until somebody asks to stop or the task is
/// cancelled.
enum PipeWait {
    /// After so many milliseconds a request to stop is looked for.
    private static let interval: CInt = 100

    /// Returns when `descriptor` is ready for `events`, or will never be. Throws `stopped`.
    static func wait(for descriptor: CInt, _ events: CInt, _ name: FilePath, _ isStopped: () -> Bool) throws {
        var waiting = pollfd(fd: descriptor, events: Int16(events), revents: 0)
        while true {
            let count = poll(&waiting, 1, interval)
            if count > 0 { return }
            guard count == 0 || errno == EINTR else { throw DiskImageError.system(name, "waiting for it") }
            // Another stage of the pipeline failed: nobody waits for these bytes any more.
            try Task.checkCancellation()
            if isStopped() {
                throw DiskImageError(.stopped, name, "stopped by a signal (run the same command again)")
            }
        }
    }
}
