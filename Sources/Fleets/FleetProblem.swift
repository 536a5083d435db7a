internal import DiskImages
internal import Migration
internal import SystemPackage

/// What is in the way of one item.
package struct FleetProblem: Error, Sendable, CustomStringConvertible {
    package let description: String
    /// The error that says it, for an exit code.
    package let cause: any Error
    /// Whether it lies in how the fleet is laid out, and not in this item's files: nothing is
    /// written for it then, not even the reason.
    package let isOfLayout: Bool

    init(_ error: any Error, isOfLayout: Bool = false) {
        cause = error
        self.isOfLayout = isOfLayout
        description = FleetProblem.advised("\(error)")
    }

    /// Several at once: the first one, and which images have others. nil where there is none.
    init?(all problems: [FleetProblem]) {
        guard let first = problems.first else { return nil }
        guard problems.count > 1 else {
            self = first
            return
        }
        cause = first.cause
        isOfLayout = first.isOfLayout
        description = problems.map(\.description).joined(separator: "; ")
    }

    /// What advice calls an option, and what a pipeline file calls the same.
    private static let keys = [
        ("-f raw", "source-format: raw"), ("choose with -f)", "choose with source-format)"),
        ("--backing-format ", "backing-format: "), ("with --backing-format)", "with backing-format)"),
        (", or read it with --force-share)", ")"), ("--ignore-mtime", "ignore-mtime: true"),
        ("--backing-map OLD=NEW", "backing-map"),
        ("(--confine)", "(confine)"), ("-o layout=", "layout: "), ("-O raw", "format: raw"),
    ]

    /// `text` with the advice at its end in a pipeline file's words.
    private static func advised(_ text: String) -> String {
        guard text.hasSuffix(")"), let start = text.lastIndex(of: "(") else { return text }
        let advice = keys.reduce(String(text[start...])) { $0.replacing($1.0, with: $1.1) }
        return text[..<start] + advice
    }
}
