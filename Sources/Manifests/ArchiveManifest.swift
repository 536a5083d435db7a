internal import Linux
package import SystemPackage

/// What the manifest of an archive that is being packed says.
package struct ArchiveManifest: Sendable {
    /// The first record: which archive it is. Two runs make the same archive when these are equal.
    package struct Job: Equatable, Sendable {
        /// The archive's id: the digest of its header.
        package let archive: String
        /// False where a source was read although somebody writes to it: such an archive is not
        /// resumed.
        package let consistent: Bool
        package var manifest = ManifestJob.version
        package var record = "archive"
        package let segment: UInt64
        package var replaces: ManifestJob.Replaced? = nil
        package let sources: [ManifestJob.Source]
        package let target: String
        package var time: Double? = nil

        package init(
            archive: String, consistent: Bool, segment: UInt64, sources: [ManifestJob.Source], target: String
        ) {
            self.archive = archive
            self.consistent = consistent
            self.segment = segment
            self.sources = sources
            self.target = target
        }

        /// Whether a source is a block device, as in `ManifestJob`.
        package var readsDevice: Bool { sources.contains { $0.device == true } }

        /// Whether both are to make the same archive; where it lies does not count.
        package func isSameRequest(as other: Job) -> Bool {
            archive == other.archive && consistent && other.consistent && segment == other.segment
                && sources == other.sources
                && !ManifestJob.Source.areOthers(sources, than: other.sources)
        }

        /// Whether both make the same archive, to the byte.
        package func isSameMove(as other: Job) -> Bool {
            isSameRequest(as: other) && !readsDevice && !other.readsDevice
        }
    }

    /// The archive's first `length` bytes are durable; record `sequence` comes next.
    package struct Checkpoint: Equatable, Sendable {
        package let length: UInt64
        package var record = "checkpoint"
        package let sequence: UInt64
        package var time: Double? = nil

        package init(length: UInt64, sequence: UInt64) {
            self.length = length
            self.sequence = sequence
        }
    }

    package private(set) var job: Job?
    /// In order.
    package private(set) var checkpoints: [Checkpoint] = []
    /// The last checkpoint.
    package var checkpoint: Checkpoint? { checkpoints.last }
    package private(set) var completion: ManifestCompletion?
    package private(set) var failure: ManifestFailure?
    package private(set) var wholeLength = 0

    /// Parses the whole of a manifest; a torn last line is left out.
    package init(parsing bytes: [UInt8], path: FilePath) throws {
        wholeLength = try ManifestLines.parse(bytes[...], path) { kind, line in
            failure = nil
            switch kind {
            case "archive" where job == nil:
                let found = try Job(line)
                guard found.manifest == ManifestJob.version else {
                    throw ManifestError("its version is \(found.manifest); expected \(ManifestJob.version)")
                }
                job = found
            case "checkpoint" where job != nil && completion == nil:
                let found = try Checkpoint(line)
                guard found.length >= checkpoint?.length ?? 0, found.sequence >= checkpoint?.sequence ?? 0
                else {
                    throw ManifestError("its checkpoint lies before the one before it")
                }
                checkpoints.append(found)
            case "complete" where job != nil && completion == nil:
                completion = try ManifestCompletion(line)
            case "failure": failure = try ManifestFailure(line)
            default: throw ManifestError("a record \"\(kind.prefix(40))\" does not belong there")
            }
        }.upperBound
    }
}
