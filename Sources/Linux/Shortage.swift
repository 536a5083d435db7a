internal import CLinux
internal import SystemPackage

/// The system has no more of something that every move needs.
package struct Shortage: Error, Equatable, CustomStringConvertible {
    /// What cannot be had, why, and which limit is to be raised.
    package let description: String

    /// `text` is one line. A file's name, where there is one, comes first.
    package init(_ text: String) { description = text }

    /// A thread that was refused with `errno`.
    static func ofThreads(_ errno: Errno) -> Shortage {
        Shortage(
            "a thread cannot be started: \(errno)\(errno == .noMemory ? memoryAdvice : " (raise the limit: ulimit -u)")"
        )
    }

    /// What to do where memory is short: which limit of the process is to be raised, if it has one.
    package static var memoryAdvice: String {
        switch UInt8(bitPattern: clinux_memory_limit()) {
        case 0: ""
        case let letter: " (raise the limit: ulimit -\(Character(Unicode.Scalar(letter))))"
        }
    }
}
