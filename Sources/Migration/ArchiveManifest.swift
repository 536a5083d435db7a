internal import FoundationEssentials
internal import SystemPackage

/// What the manifest of an archive that is being packed says.
struct ArchiveManifest {
    /// The first record: which archive it is. Two runs make the same archive when these are equal.
    struct Job: Codable, Equatable {
        /// The archive's id: the digest of its header.
        let archive: String
        /// False where a source was read although somebody writes to it: such an archive is not resumed.
        let consistent: Bool
        var manifest = ManifestJob.version
        var record = "archive"
        let segment: UInt64
        var replaces: ManifestJob.Replaced? = nil
        let sources: [ManifestJob.Source]
        let target: String
        var time: Double? = nil

        /// Whether a source is a block device, as in `ManifestJob`.
        var readsDevice: Bool { sources.contains { $0.device == true } }

        /// Whether both are to make the same archive; where it lies does not count.
        func isSameRequest(as other: Job) -> Bool {
            archive == other.archive && consistent && other.consistent && segment == other.segment && sources == other.sources
                && !ManifestJob.Source.areOthers(sources, than: other.sources)
        }

        /// Whether both make the same archive, to the byte.
        func isSameMove(as other: Job) -> Bool { isSameRequest(as: other) && !readsDevice && !other.readsDevice }
    }

    /// The archive's first `length` bytes are durable; record `sequence` comes next.
    struct Checkpoint: Codable, Equatable {
        let length: UInt64
        var record = "checkpoint"
        let sequence: UInt64
        var time: Double? = nil
    }

    private(set) var job: Job?
    /// In order.
    private(set) var checkpoints: [Checkpoint] = []
    /// The last checkpoint.
    var checkpoint: Checkpoint? { checkpoints.last }
    private(set) var completion: ManifestCompletion?
    private(set) var failure: ManifestFailure?
    private(set) var wholeLength = 0

    /// Parses the whole of a manifest; a torn last line is left out.
    init(parsing bytes: [UInt8], path: FilePath) throws {
        wholeLength = try ManifestLines.parse(bytes[...], path) { kind, line, decoder in
            failure = nil
            switch kind {
            case "archive" where job == nil:
                let found = try decoder.decode(Job.self, from: line)
                guard found.manifest == ManifestJob.version else {
                    throw MigrationError(.badData, "its version is \(found.manifest); expected \(ManifestJob.version)")
                }
                job = found
            case "checkpoint" where job != nil && completion == nil:
                let found = try decoder.decode(Checkpoint.self, from: line)
                guard found.length >= checkpoint?.length ?? 0, found.sequence >= checkpoint?.sequence ?? 0 else {
                    throw MigrationError(.badData, "its checkpoint lies before the one before it")
                }
                checkpoints.append(found)
            case "complete" where job != nil && completion == nil: completion = try decoder.decode(ManifestCompletion.self, from: line)
            case "failure": failure = try decoder.decode(ManifestFailure.self, from: line)
            default: throw MigrationError(.badData, "a record \"\(kind.prefix(40))\" does not belong there")
            }
        }.upperBound
    }
}
