internal import DiskImages
internal import Manifests
internal import TransportArchive

/// An archive that a move makes: its manifest records how far the file is durable.
struct ArchiveContent: TargetContent {
    let job: ArchiveManifest.Job
    /// The paths, links resolved, of the images that the archive is to have; a shared base does not
    /// count.
    let images: Set<String>

    func relation(to job: ArchiveManifest.Job?) -> JobRelation {
        guard let job else { return .other }
        if job.isSameMove(as: self.job) { return .sameJob }
        // One that has one of these images is the same archive, as it was.
        return job.sources.contains { images.contains($0.path) } ? .sameSource : .other
    }

    /// Devices cannot be known to be unchanged.
    func beginsAnew(after record: ArchiveManifest?) -> Bool {
        job.readsDevice && record?.job?.isSameRequest(as: job) == true
    }

    func canResume(_ staged: FileIdentity, from record: ArchiveManifest) -> Bool {
        staged.isRegular && record.checkpoint.map { staged.size >= $0.length } == true
    }

    /// Whether it is the archive that the job makes, to its end.
    func isWhole(_ existing: FileIdentity, at place: FilePlace, by record: ArchiveManifest) throws -> Bool {
        do {
            let file = try ImageFile(opening: place)
            let reader = try ArchiveReader(ByteStream(file))
            _ = try reader.readIndex(of: file)
            return reader.id.description == job.archive
        } catch is ArchiveError {
            return false
        }
    }

    var recordsName: Bool { false }

    var isNamedByFamilyAlone: Bool { false }

    func difference(from other: ArchiveManifest.Job?) -> JobDifference {
        other.map { JobDifference(from: $0.sources, to: job.sources) } ?? .unknown
    }

    func metadataDigest(of file: ImageFile) -> ContentDigest? { nil }
}
