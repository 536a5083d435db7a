internal import DiskImages
package import Linux

/// What can end a move apart from trouble with an image's files. The text is one line, the file's
/// name first where there is one.
package struct MigrationError: Advising, Equatable {
    /// What went wrong, as far as an exit code needs to tell it.
    package enum Kind: Equatable, Sendable {
        /// A request that cannot be meant.
        case usage
        /// An input is not what it should be: a manifest of another job, a backing file that does
        /// not show the same bytes.
        case badData
        /// A target exists, is in use, or cannot be created.
        case target
        case io
        /// A signal asked to stop; everything up to the last checkpoint is kept.
        case stopped
        /// Something that cannot happen did: a bug.
        case bug
    }

    package let kind: Kind
    package let message: Message

    package init(_ kind: Kind, _ message: Message) {
        self.kind = kind
        self.message = message
    }
}

extension Error {
    /// Whether the system is short of something that every move needs, so that going on with others
    /// is of no use.
    package var isShortage: Bool { self is Shortage || (self as? DiskImageError)?.kind == .shortage }
}
