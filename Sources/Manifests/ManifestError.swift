package import Linux

/// A manifest that is not what it should be. The text is one line, the file's name first where it
/// is known.
package struct ManifestError: Advising, Equatable {
    package let message: Message

    package init(_ message: Message) { self.message = message }
}
