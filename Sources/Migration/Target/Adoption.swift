internal import DiskImages
internal import ImageFormats
internal import Linux
internal import Manifests
internal import Stages
internal import SystemPackage

extension TargetTransaction where Content == ImageContent {
    /// Takes the file that has the target's name for what this job makes, where it is what would be
    /// written, byte for byte of the disk and of the header: records it as complete. The file stays
    /// as it is, its time too. Returns what differs; nil where it was adopted.
    ///
    /// `segments` reads what would be written, then the target is read as if it were verified
    /// against that. Throws `stopped` where a stop was requested before the end.
    func adopt(_ options: MoveOptions, _ segments: () async throws -> [ManifestSegment]) async throws
        -> String?
    {
        guard let existing = place.existing else { return "it is not there" }
        if let difference = difference(of: existing) { return difference }
        let manifest = try ManifestFile(of: place.file, usesLock: policy.usesLock)
        try manifest.checkIsOurs()
        if let user = try ReplacementPolicy.user(of: place.path) { return "it is in use by \(user)" }
        let segments = try await segments()
        let completion = try completion(of: existing, segments)
        let target = Verification(
            path: place.path, job: content.job, completion: completion, segments: segments)
        let finding = try await target.run(options.unseen)
        if let damage = finding.damage { return damage }
        try TargetFile.synchronizeFile(at: place.path)
        guard let now = try ImageFile.identity(at: place.path), now.isUnchanged(since: existing) else {
            return "it changed while it was read"
        }
        try record(segments, completion, in: manifest)
        return nil
    }

    /// Records `earlier`, whose disk is known to hold `segments`, as the target of this job, where
    /// the file is what this job would write. False, and nothing is done, where it is not.
    /// `manifest` is the target's, where that is open already; then the staging file goes, in which
    /// the same was made.
    func takesOver(
        _ earlier: EarlierFile, holding segments: [ManifestSegment], in manifest: ManifestFile? = nil
    ) throws -> Bool {
        guard ManifestSegment.cover(segments, content.job.target.length),
            difference(of: earlier.identity) == nil,
            try content.format.metadataDigest?.description == earlier.completion.header
        else { return false }
        let isMade = manifest != nil
        let manifest = try manifest ?? ManifestFile(of: place.file, usesLock: policy.usesLock)
        guard try place.file.identity().map(earlier.identity.isUnchanged) == true else { return false }
        if isMade { TargetFile.partial(of: place.file).remove() }
        try record(segments, completion(of: earlier.identity, segments), in: manifest)
        return true
    }

    /// How the file `existing` differs from what this job makes, as far as that shows without
    /// reading it.
    private func difference(of existing: FileIdentity) -> String? {
        if let size = content.job.target.size, existing.size != size {
            return "it is \(existing.size) bytes long; expected \(size)"
        }
        // The overlays' headers name it.
        if let mtime, existing.mtime != mtime { return "its mtime is \(existing.mtime); expected \(mtime)" }
        return nil
    }

    private func completion(of existing: FileIdentity, _ segments: [ManifestSegment]) throws
        -> ManifestCompletion
    {
        ManifestCompletion(
            digest: ManifestSegment.digest(of: segments).description,
            header: try content.format.metadataDigest?.description, size: existing.size,
            mtime: existing.mtime.description)
    }

    private func record(
        _ segments: [ManifestSegment], _ completion: ManifestCompletion, in manifest: ManifestFile
    ) throws {
        var job = content.job
        job.time = WallClock.now
        try manifest.begin(job)
        for segment in segments { try manifest.append(segment) }
        try manifest.append(completion)
        manifest.forgetEarlierJobsIfPossible()
    }
}

extension Conversion {
    /// Takes the file that has the target's name for this conversion's own, where it is what would
    /// be written; what differs, or nil where it was adopted.
    package func adopt(_ options: MoveOptions) async throws -> String? {
        try await target.adopt(options) { try await digestSources(options) }
    }

    /// What a target of this conversion holds, without writing one.
    func digestSources(_ options: MoveOptions) async throws -> [ManifestSegment] {
        options.progress.begin(Progress.Snapshot(name: request.source.description, length: chain.guestLength))
        return try await readSources(options) { try await $0.digest() }
    }
}
