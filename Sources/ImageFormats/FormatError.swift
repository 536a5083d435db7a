/// Bytes that are not what a format says they should be. Never a failed read: those are
/// `DiskImageError`s.
///
/// The text names the place inside the file, what was found and what was expected; the caller puts
/// the file's name before it.
package struct FormatError: Error, Equatable, CustomStringConvertible {
    /// What kind of disagreement it is; what a caller may branch on.
    package enum Kind: Equatable, Sendable {
        /// The file ends before the structure does.
        case truncated
        /// A field holds a value that cannot be.
        case invalid
        /// The bytes may be right, but this program does not read them.
        case unsupported
    }

    package let kind: Kind
    package let description: String

    package init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }

    /// `field at offset N is FOUND; expected EXPECTED`.
    static func field(
        _ name: String, at offset: Int, is found: some CustomStringConvertible, expected: String
    ) -> FormatError {
        FormatError(.invalid, "\(name) at offset \(offset) is \(found); expected \(expected)")
    }
}
