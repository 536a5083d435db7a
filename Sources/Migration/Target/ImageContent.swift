internal import DiskImages
internal import ImageFormats
internal import Linux
internal import Manifests
internal import Stages

/// An image that a move makes: its manifest records segments of the guest's disk.
struct ImageContent: TargetContent {
    private(set) var job: ManifestJob
    /// What the same image's job is without damage; nil where that is `job`.
    private(set) var whole: ManifestJob?
    /// How it is written.
    let format: any TargetFormat

    /// No manifest with more segments would be read back.
    static let mostSegments: UInt64 = 1 << 20

    init(job: ManifestJob, format: any TargetFormat) {
        self.job = job
        self.format = format
    }

    /// Makes it the image of a source that is damaged: it is never taken for the whole one.
    mutating func salvage() { (job, whole) = (job.salvaged, job) }

    /// Devices cannot be known to be unchanged; and what an ordinary run wrote is no salvage.
    func beginsAnew(after record: ManifestContents?) -> Bool {
        guard let recorded = record?.job else { return false }
        return job.readsDevice && recorded.isSameRequest(as: job) || whole.map(recorded.isSameMove) == true
    }

    func relation(to job: ManifestJob?) -> JobRelation {
        guard let job else { return .other }
        if job.isSameMove(as: self.job), self.job.consistent { return .sameJob }
        return job.isOfSameSource(as: self.job.sources.first) ? .sameSource : .other
    }

    func canResume(_ staged: FileIdentity, from record: ManifestContents) -> Bool {
        staged.isRegular && (job.target.size.map { staged.size == $0 } ?? true)
    }

    func isWhole(_ existing: FileIdentity, at place: FilePlace, by record: ManifestContents) throws -> Bool {
        guard record.covers(job.target.length) else { return false }
        if let size = job.target.size { return existing.size == size }
        return try format.metadataDigest(in: ImageFile(opening: place)) == format.metadataDigest
    }

    func difference(from other: ManifestJob?) -> JobDifference {
        guard let other else { return .unknown }
        return JobDifference(
            from: other.sources, to: job.sources, options: other.options.differences(from: job.options))
    }

    func metadataDigest(of file: ImageFile) throws -> ContentDigest? { try format.metadataDigest(in: file) }

    /// What stands on a raw image may go by its digests.
    var recordsName: Bool { job.options.layout == ImageFormat.raw.name }

    var isNamedByFamilyAlone: Bool { job.options.base == true }
}

extension TargetTransaction where Content == ImageContent {
    /// What is missing in the target as an earlier run of this job, which is no salvage, or of its
    /// salvage left it, nothing where it is whole; nil where there is no such target.
    func lostBefore() throws -> [LostSectors]? {
        let findings = try TargetFindings(
            of: ManifestContents.readEnds(of: place.file), at: place.file)
        guard !policy.restart, findings.named == .completed, let record = findings.record,
            let job = record.job
        else { return nil }
        if job.isSameMove(as: content.job) { return [] }
        return job.isSameMove(as: content.job.salvaged) ? record.completion?.lost ?? [] : nil
    }

    /// Throws `usage` where the manifest would grow past what is read back.
    func checkSegments() throws {
        guard content.job.target.length / content.job.options.segment < ImageContent.mostSegments else {
            throw MigrationError(
                .usage,
                "\(place.name): \(.segment) \(content.job.options.segment) makes over a million checkpoints (give a larger one)"
            )
        }
    }
}

extension OpenTarget where Content == ImageContent {
    private var job: ManifestJob { transaction.content.job }

    /// The segments that an earlier run finished.
    var segments: [ManifestSegment] { recorded?.segments ?? [] }

    /// Their ranges of the guest's disk.
    var finished: [Range<UInt64>] { ManifestSegment.ranges(of: segments) }

    /// Bytes of guest disk that were there already.
    var resumed: UInt64 { ManifestSegment.length(of: finished) }

    /// Records the beginning, or what is left of an earlier one, and makes the staging file ready:
    /// everything but what is finished is as in a fresh one.
    func prepare() throws -> any ImageSink {
        let sink = transaction.content.format.sink(in: file)
        if recorded == nil {
            try beginAnew()
            try sink.prepare()
        } else {
            try resume()
            try sink.resume(
                clearing: ManifestSegment.gaps(between: finished, in: job.target.length))
        }
        try FailPoint.stagingReady.pass()
        return sink
    }

    /// Throws where `segments` are not all of the disk: `stopped` where `stop` was requested.
    func checkCovered(by segments: [ManifestSegment], _ stop: StopFlag) throws {
        guard !ManifestSegment.cover(segments, job.target.length) else { return }
        guard stop.isRequested else {
            throw MigrationError(.bug, "\(name): the pipeline ended before the disk did")
        }
        throw MigrationError(
            .stopped, "\(name): stopped by a signal (run the same command again to go on)")
    }

    /// As `commit`, of a salvage. `lost` is nil where it is known that nothing is: then it is what
    /// an ordinary run makes, and recorded as that.
    func commitSalvage(_ segments: [ManifestSegment], lost: [LostSectors]?) throws -> Bool {
        if lost == nil, let whole = transaction.content.whole {
            // All of it is durable: an ordinary run may go on with it from here.
            try beginAnew(whole)
            for segment in segments { try manifest.append(segment) }
        }
        return try commit(segments, lost: lost)
    }

    /// As `commit` with the digest of `segments`, in any order.
    func commit(_ segments: [ManifestSegment], lost: [LostSectors]? = nil) throws -> Bool {
        try transaction.content.format.sink(in: file).finish()
        return try commit(ManifestSegment.digest(of: segments), lost: lost)
    }
}
