internal import DiskImages
package import ImageFormats
internal import Manifests
package import SystemPackage
package import TransportArchive

/// What is to be restored from an archive.
package struct UnpackRequest: Sendable {
    /// What the images become.
    package enum Form: Sendable {
        /// The chains they were, every COW layer in `layout` where that is given.
        case chains(layout: CowLayout?, alignment: UInt32?)
        /// Each image as its guest sees it, in one file.
        case flattened(any FormatChoice)
    }

    /// nil is standard input.
    package var archive: FilePath?
    package var directory: FilePath
    /// Full names, or last components that are unique; empty means everything.
    package var names: [String]
    package var form: Form
    package var segmentLength = Segment.usual
    package var policy = StartPolicy()
    /// Whether files that nothing is recorded of are held against the archive, and left where they
    /// are the same.
    package var updates = false
    /// Where the archives may lie that an incremental one stands on.
    package var ancestors = AncestorSearch()

    package init(archive: FilePath?, directory: FilePath, names: [String], form: Form) {
        self.archive = archive
        self.directory = directory
        self.names = names
        self.form = form
    }

    /// How each image is written as its guest sees it; nil where chains are restored.
    var flattening: (any FormatChoice)? {
        guard case .flattened(let format) = form else { return nil }
        return format
    }

    package var isFlattened: Bool { flattening != nil }

    /// The archive's name in messages.
    package var archiveName: String { archive.map(RemoteFile.shown) ?? "standard input" }
}

/// How unpacking ended.
package struct UnpackResult: Equatable, Sendable {
    /// Files that were written, and those that were there already.
    package var restored = 0
    package var upToDate = 0
    /// What was lost, in words; without `--salvage` always empty.
    package var damage: [String] = []
}
