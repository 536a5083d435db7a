package import Linux

/// Bytes that are not what an archive's format says they should be. The text names the place; the
/// caller puts the archive's name before it.
package struct ArchiveError: Error, Equatable, CustomStringConvertible {
    /// What kind of disagreement it is.
    package enum Kind: Equatable, Sendable {
        /// It is no archive, or one of a version that is not read.
        case notAnArchive
        /// A part is lost, changed, repeated, or from another archive.
        case damaged
    }

    package let kind: Kind
    package let description: String
    /// Whether its end is missing: it was not sent to its end.
    package private(set) var isCut = false

    package init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }

    static func damaged(_ fact: String, at offset: UInt64) -> ArchiveError {
        ArchiveError(.damaged, "\(fact) at offset \(offset)")
    }

    /// The archive ends at `offset`, and should not.
    static func cut(at offset: UInt64) -> ArchiveError {
        var error = ArchiveError(.damaged, "is cut short at offset \(offset)")
        error.isCut = true
        return error
    }

    /// The line, and what to do about it.
    package var message: Message {
        isCut
            ? "\(description) (fetch it again; unpack \(.salvage) restores what is there)"
            : Message(description)
    }
}
