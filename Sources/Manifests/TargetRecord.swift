package import DiskImages

/// What a manifest says of its last job, whether that makes an image or an archive.
package protocol TargetRecord: Sendable {
    associatedtype Job: TargetJob

    /// True of an archive's.
    static var isOfArchive: Bool { get }
    /// nil where not even the first record is whole: nothing has been recorded.
    var job: Job? { get }
    /// That the target is whole; nil as long as it is not.
    var completion: ManifestCompletion? { get }
    /// Why the last try failed, where nothing was recorded since.
    var failure: ManifestFailure? { get }
    /// Whether a part of the work is done, of a target that is not whole.
    var hasCheckpoint: Bool { get }
    /// The length of the sound records in the file, in bytes: what follows is a torn line.
    var wholeLength: Int { get }

    /// What `manifest`, which is locked, says. Throws `ManifestError` where it is damaged.
    static func load(_ manifest: ManifestFile) throws -> Self
    /// Reads the manifest of `target` without locking it; what need not be known of a target that
    /// is whole may be left out. nil where there is none.
    static func readEnds(of target: FilePlace) throws -> Self?
    /// What is recorded of the file that has the target's name, `existing`, or of the last one that
    /// had it, where jobs before the last are remembered.
    func lastNamed(_ existing: FileIdentity?) throws -> ManifestCompletion?
}

/// The first record of a manifest: which move it is.
package protocol TargetJob: ManifestLine {
    /// False where a source is read although somebody writes to it: nothing of it is gone on with.
    var consistent: Bool { get }
    /// Whether a source is a block device: nothing proves then that it is what it was.
    var readsDevice: Bool { get }
    /// The file that had the target's name when the move began.
    var replaces: ManifestJob.Replaced? { get set }
    /// When it began, in seconds since 1970.
    var time: Double? { get set }

    /// Whether both make the same target, to the byte: what one has done is done for the other.
    func isSameMove(as other: Self) -> Bool
    /// As above, where devices are taken for what they were.
    func isSameRequest(as other: Self) -> Bool
}

extension ManifestJob: TargetJob {}
extension ArchiveManifest.Job: TargetJob {}

extension ManifestContents: TargetRecord {
    package static var isOfArchive: Bool { false }
    package var hasCheckpoint: Bool { completion == nil && !segments.isEmpty }

    package static func load(_ manifest: ManifestFile) throws -> ManifestContents { try manifest.load() }

    package static func readEnds(of target: FilePlace) throws -> ManifestContents? {
        try ManifestFile.readEnds(of: target)
    }

    package func lastNamed(_ existing: FileIdentity?) throws -> ManifestCompletion? {
        try existing.map { try proof(of: $0)?.completion } ?? lastNamed
    }
}

extension ArchiveManifest: TargetRecord {
    package static var isOfArchive: Bool { true }
    package var hasCheckpoint: Bool { completion == nil && checkpoint != nil }

    package static func load(_ manifest: ManifestFile) throws -> ArchiveManifest {
        try manifest.loadArchive()
    }

    package static func readEnds(of target: FilePlace) throws -> ArchiveManifest? {
        try ManifestFile.readArchive(of: target)
    }

    package func lastNamed(_ existing: FileIdentity?) throws -> ManifestCompletion? { completion }
}
