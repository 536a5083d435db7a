internal import DiskImages
internal import ImageFormats
internal import Linux
internal import Manifests
internal import Stages
internal import SystemPackage

extension Conversion {
    /// Takes the file that has the target's name for this conversion's own, where it is what would
    /// be written, byte for byte of the disk and of the header: records it as complete. The file
    /// stays as it is, its time too. Returns what differs; nil where it was adopted.
    ///
    /// Both are read: the sources as if they were converted, then the target as if it were verified
    /// against that. Throws `stopped` where a stop was requested before the end.
    package func adopt(_ options: MoveOptions) async throws -> String? {
        let place = target.place
        guard let existing = place.existing else { return "it is not there" }
        if let size = job.target.size, existing.size != size {
            return "it is \(existing.size) bytes long; expected \(size)"
        }
        // The overlays' headers name it.
        if let mtime = target.mtime, existing.mtime != mtime {
            return "its mtime is \(existing.mtime); expected \(mtime)"
        }
        let manifest = try ManifestFile(of: place.file, usesLock: request.policy.usesLock)
        try manifest.checkIsOurs()
        if let user = try ReplacementPolicy.user(of: place.path) { return "it is in use by \(user)" }
        let segments = try await digestSources(options)
        let completion = ManifestCompletion(
            digest: ManifestSegment.digest(of: segments).description,
            header: try plan.format.metadataDigest?.description,
            size: existing.size,
            mtime: existing.mtime.description)
        let target = Verification(path: place.path, job: job, completion: completion, segments: segments)
        let finding = try await target.run(options.unseen)
        if let damage = finding.damage { return damage }
        try TargetFile.synchronizeFile(at: place.path)
        guard let now = try ImageFile.identity(at: place.path), now.isUnchanged(since: existing) else {
            return "it changed while it was read"
        }
        try record(segments, completion, in: manifest)
        return nil
    }

    /// What a target of this conversion holds, without writing one.
    private func digestSources(_ options: MoveOptions) async throws -> [ManifestSegment] {
        options.progress.begin(Progress.Snapshot(name: request.source.description, length: chain.guestLength))
        return try await readSources(options) { try await $0.digest() }
    }

    private func record(
        _ segments: [ManifestSegment], _ completion: ManifestCompletion, in manifest: ManifestFile
    ) throws {
        var job = job
        job.time = WallClock.now
        try manifest.begin(job)
        for segment in segments { try manifest.append(segment) }
        try manifest.append(completion)
        manifest.forgetEarlierJobsIfPossible()
    }
}
