package import DiskImages
internal import ImageFormats
package import SystemPackage

/// One target of a fleet, and what it is made from.
package struct FleetItem: Sendable {
    /// What the target is to the fleet.
    package enum Role: String, Sendable {
        /// A backing file that overlays of the fleet will stand on: it comes before them.
        case base
        /// A guest's image.
        case image
        /// An archive of one image or of all.
        case archive
    }

    package let role: Role
    /// What tables call it: its source as the pipeline file would write it, or the archive's name.
    package let name: String
    /// The images it is made from; one, but for an archive of all.
    package let sources: [FilePath]
    package let target: FilePath
    /// The place in the fleet of the base that it stays an overlay of; nil where it stands alone.
    package let base: Int?
    /// The source's chain, top first; nil where it cannot be opened, or for an archive of all.
    package let chain: ChainFacts?
    /// Why it cannot be done; nil where nothing is known to be in the way.
    package var problem: FleetProblem?

    /// Whether it is made from a block device: never is it up to date then.
    package var readsDevice: Bool { chain?.layers.contains { $0.identity.isBlockDevice } == true }
}

/// What is in the way of one item.
package struct FleetProblem: Error, Sendable, CustomStringConvertible {
    package let description: String
    /// The error that says it, for an exit code.
    package let cause: any Error
    /// Whether it lies in how the fleet is laid out, and not in this item's files: nothing is written for it then, not even the reason.
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
        (", or read it with --force-share)", ")"), ("--ignore-mtime", "ignore-mtime: true"), ("--backing-map OLD=NEW", "backing-map"),
        ("(--confine)", "(confine)"), ("-o layout=", "layout: "), ("-O raw", "format: raw"),
    ]

    /// `text` with the advice at its end in a pipeline file's words.
    private static func advised(_ text: String) -> String {
        guard text.hasSuffix(")"), let start = text.lastIndex(of: "(") else { return text }
        let advice = keys.reduce(String(text[start...])) { $0.replacing($1.0, with: $1.1) }
        return text[..<start] + advice
    }
}

/// What is remembered of a chain when its files are closed again.
package struct ChainFacts: Sendable {
    /// One file of the chain.
    package struct Layer: Sendable {
        package let path: FilePath
        package let identity: FileIdentity
        /// `raw` or the layout's name.
        package let layout: String
        package let isRaw: Bool
        /// How it is read, whatever its content looks like.
        package let format: ImageFormat
        /// Length of the layer's own disk in bytes.
        package let guestLength: UInt64
    }

    /// Top first.
    package let layers: [Layer]
    /// The guest disk's length in bytes.
    package let guestLength: UInt64

    /// The file at the end of `chain`, alone.
    init(bottomOf chain: ChainFacts) {
        layers = [chain.bottom]
        guestLength = chain.bottom.guestLength
    }

    init(_ chain: ImageChain) {
        layers = chain.layers.map { layer in
            Layer(
                path: layer.path, identity: layer.file.identity, layout: layer.layoutName, isRaw: layer.header == nil,
                format: layer.header.map { .cow($0.layout) } ?? .raw, guestLength: layer.guestLength)
        }
        guestLength = chain.guestLength
    }

    package var bottom: Layer { layers[layers.count - 1] }
}
