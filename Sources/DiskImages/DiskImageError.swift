internal import CLinux
internal import ImageFormats
package import Linux
package import SystemPackage

/// What can go wrong with an image's files: bad data told from failed I/O. The text is one line,
/// the file's name first.
package struct DiskImageError: Advising {
    /// What went wrong, as far as a caller or an exit code needs to tell it.
    package enum Kind: Equatable, Sendable {
        /// The bytes are not what they should be: no image, corrupt, ambiguous, changed.
        case badData
        /// A backing file lies where `--confine` forbids to open it: nothing is said of its bytes.
        case confined
        /// An input is missing, unreadable, or locked by somebody who writes to it.
        case unavailable
        /// A target exists, or cannot be created.
        case target
        /// Another process works on the target at this moment.
        case locked
        /// A read or write failed.
        case io
        /// The system has no more files or memory for this process: no file's fault.
        case shortage
        /// Somebody asked to stop while a pipe was waited for.
        case stopped
    }

    package let kind: Kind
    package let path: FilePath
    package let fact: Message
    /// The error of the system call that failed; nil where none did.
    package let cause: Errno?

    package init(_ kind: Kind, _ path: FilePath, _ fact: Message, cause: Errno? = nil) {
        self.kind = kind
        self.path = path
        self.fact = fact
        self.cause = cause
    }

    /// Whether there is no such file. One that is there and may not be read, or not now, is
    /// something else.
    package var isMissing: Bool {
        [.noSuchFileOrDirectory, .notDirectory, .fileNameTooLong, .tooManySymbolicLinkLevels].contains(cause)
    }

    package var message: Message {
        "\(RemoteFile.shown(path)): \(fact)"
    }

    /// Bytes of `path` that a format does not allow.
    static func format(_ error: FormatError, _ path: FilePath) -> DiskImageError {
        DiskImageError(.badData, path, Message(error.description))
    }

    /// A system call on `path` that failed with `errno`; `doing` says what was tried: "reading 512
    /// bytes at offset 0".
    package static func system(
        _ path: FilePath, _ doing: String, _ errno: Errno = .current, _ kind: Kind = .io
    ) -> DiskImageError {
        switch errno {
        case .tooManyOpenFiles:
            DiskImageError(.shortage, path, "\(doing): \(errno) (raise the limit: ulimit -n)", cause: errno)
        case .tooManyOpenFilesInSystem:
            DiskImageError(
                .shortage, path, "\(doing): \(errno) (raise the limit: sysctl fs.file-max)", cause: errno)
        case .noMemory:
            DiskImageError(.shortage, path, "\(doing): \(errno)\(Shortage.memoryAdvice)", cause: errno)
        default: DiskImageError(kind, path, "\(doing): \(errno)", cause: errno)
        }
    }
}
