/// A manifest that is not what it should be. The text is one line, the file's name first where it
/// is known.
package struct ManifestError: Error, Equatable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}
