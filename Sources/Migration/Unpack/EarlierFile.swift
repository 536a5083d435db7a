internal import DiskImages
internal import Linux
internal import Manifests
internal import Stages

/// A file that is to be restored.
struct PlannedFile {
    private(set) var target: TargetTransaction<ImageContent>
    /// What an earlier unpack made under its name and nobody has written to since: it may be
    /// replaced. nil where there is none, or where anything may be.
    let earlier: EarlierFile?

    init(_ target: TargetTransaction<ImageContent>) throws {
        self.target = target
        earlier = try target.policy.force || target.isUpToDate() ? nil : EarlierFile(of: target)
        self.target.policy.only = earlier?.identity
    }
}

/// The file that an earlier unpack made under a target's name, and that nobody has written to
/// since: it may be replaced, and what of it is the same need not be written again.
struct EarlierFile {
    let identity: FileIdentity
    let completion: ManifestCompletion
    private let job: ManifestJob
    private let segments: [ManifestSegment]

    /// What stands under the name of `target`; nil where that is no such file.
    init?(of target: TargetTransaction<ImageContent>) throws {
        guard target.place.existing != nil else { return nil }
        let findings: TargetFindings<ManifestContents>
        do {
            findings = try TargetFindings(of: ManifestFile.read(of: target.place.file), at: target.place.file)
        } catch is ManifestError {
            // What is wrong with it is said when it is locked.
            return nil
        }
        guard findings.named == .completed, let identity = findings.existing, let record = findings.record,
            let job = record.job, let completion = record.completion, job.isOfArchive,
            // What was salvaged may be all that is left of another copy.
            job.options.salvaged != true
        else { return nil }
        (self.identity, self.completion, self.job, segments) = (identity, completion, job, record.segments)
    }

    /// What `pipeline` reads of a disk and this file holds, too, at the same place of the file:
    /// segments of a target of `target`. Nothing is written.
    func same(
        as pipeline: CopyPipeline<some ContentSource>, for target: ManifestJob, _ stop: StopFlag
    ) async throws -> [ManifestSegment] {
        guard job.target.length == target.target.length, job.target.size == target.target.size,
            job.options.layout == target.options.layout,
            job.options.compression == target.options.compression,
            job.options.alignment == target.options.alignment,
            job.options.segment == target.options.segment
        else { return [] }
        let same = try await same(as: pipeline.digest())
        guard !stop.isRequested else {
            throw MigrationError(
                .stopped, "\(target.target.path): stopped by a signal (run the same command again to go on)")
        }
        return same
    }
}

extension EarlierFile {
    /// Those of `others` that this file holds, too.
    func same(as others: [ManifestSegment]) -> [ManifestSegment] {
        let recorded = RecordedSegments(segments)
        return others.filter { segment in
            guard let range = segment.range, let outcome = segment.outcome else { return false }
            return recorded.firstMismatch(range, outcome) == nil
        }
    }
}

extension OpenTarget where Content == ImageContent {
    /// Takes over what `segments` say that `earlier` holds, where the file system shares extents:
    /// the target has it then, recorded. Returns what was taken over.
    func keep(_ segments: [ManifestSegment], of earlier: EarlierFile, in sink: any ImageSink) throws
        -> [ManifestSegment]
    {
        let old = try ImageFile(opening: transaction.place.file)
        guard old.identity.isUnchanged(since: earlier.identity) else { return [] }
        file.allowSharing()
        var kept: [ManifestSegment] = []
        for segment in segments {
            guard let range = segment.range, try sink.adopt(range, of: old) else { continue }
            kept.append(segment)
        }
        guard !kept.isEmpty, try old.currentIdentity().isUnchanged(since: earlier.identity) else { return [] }
        try file.synchronize()
        for segment in kept { try manifest.append(segment) }
        return kept
    }
}
