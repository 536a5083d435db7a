package import ImageFormats
internal import Manifests
package import Stages
package import SystemPackage

/// What is to be restored from an archive.
package struct UnpackRequest: Sendable {
    /// What the images become.
    package enum Form: Equatable, Sendable {
        /// The chains they were, every COW layer in `layout` where that is given.
        case chains(layout: CowLayout?, alignment: UInt32?)
        /// One raw image each.
        case raw
    }

    /// nil is standard input.
    package var archive: FilePath?
    package var directory: FilePath
    /// Full names, or last components that are unique; empty means everything.
    package var names: [String]
    package var form: Form
    package var segmentLength: UInt64
    package var workers: WorkerSlots
    package var rate: RateLimit?
    package var restart: Bool
    package var force: Bool

    package init(
        archive: FilePath?, directory: FilePath, names: [String], form: Form,
        segmentLength: UInt64 = Segment.usual, workers: WorkerSlots,
        rate: RateLimit? = nil,
        restart: Bool = false, force: Bool = false
    ) {
        self.archive = archive
        self.directory = directory
        self.names = names
        self.form = form
        self.segmentLength = segmentLength
        self.workers = workers
        self.rate = rate
        self.restart = restart
        self.force = force
    }

    /// The archive's name in messages.
    package var archiveName: String { archive?.description ?? "standard input" }
}

/// How unpacking ended.
package struct UnpackResult: Equatable, Sendable {
    /// Files that were written, and those that were there already.
    package var restored = 0
    package var upToDate = 0
    /// What was lost, in words; without `--salvage` always empty.
    package var damage: [String] = []
}
