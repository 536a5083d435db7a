internal import DiskImages
internal import Linux
internal import Manifests
internal import SystemPackage

/// A target that is being written, its manifest locked.
struct OpenTarget<Content: TargetContent> {
    let transaction: TargetTransaction<Content>
    /// The staging file.
    let file: TargetFile
    let manifest: ManifestFile
    /// What stood there when it was locked.
    let findings: TargetFindings<Content.Record>
    /// What an earlier run of this very job recorded; nil where this one begins anew.
    let recorded: Content.Record?
    /// What may be replaced when the name is given.
    let replacement: ReplacementPolicy

    /// The target's name as it was given.
    var name: FilePath { transaction.place.name }

    /// Records that `job`, as a rule the content's own, begins: what another one recorded and did
    /// not complete is forgotten.
    func beginAnew(_ job: Content.Record.Job? = nil) throws {
        var job = job ?? transaction.content.job
        job.replaces = findings.existing.map(ManifestJob.Replaced.init)
        job.time = WallClock.now
        try manifest.begin(job)
        try FailPoint.jobRecorded.pass()
    }

    /// Makes what is recorded the last word: nothing that is appended is mixed with a torn line.
    func resume() throws { try manifest.cut(to: findings.record?.wholeLength ?? 0) }

    /// The end, in the order that leaves nothing half-written under the final name, and nothing
    /// replaced that came to it meanwhile. `digest` is that of all that was recorded, `lost` what a
    /// salvage could not restore. Returns whether the name waits for a family.
    func commit(_ digest: ContentDigest, lost: [LostSectors]? = nil) throws -> Bool {
        try FailPoint.allRecorded.pass()
        if let mtime = transaction.mtime { try file.setMtime(mtime) }
        try transaction.access.give(to: file, manifest)
        try file.synchronizeWithTimes()
        let identity = try file.identity()
        // Before it is recorded: a complete target takes its name also where only a later run can
        // give it.
        try replacement.check(transaction.place.file.identity())
        var completion = ManifestCompletion(
            digest: digest.description,
            header: try transaction.content.metadataDigest(of: file.reading())?.description,
            size: identity.size, mtime: identity.mtime.description, lost: lost)
        if try waitsForFamily(completion) { completion.held = true }
        try manifest.append(completion)
        try FailPoint.completed.pass()
        try manifest.checkStillLocked()
        if completion.held == true { return true }
        try file.publish(replacing: replacement.check)
        try FailPoint.named.pass()
        if transaction.content.recordsName, let named = try completion.naming(file.identity()) {
            manifest.appendIfPossible(named)
        }
        manifest.forgetEarlierJobsIfPossible()
        return false
    }

    private func waitsForFamily(_ completion: ManifestCompletion) throws -> Bool {
        switch transaction.policy.naming {
        case .atOnce: false
        case .withFamily: true
        case .withFamilyUnlessSame: try lastNamed.map(completion.isSameTarget) != true
        }
    }

    /// What is recorded of the file that has the name, or of the last one that had it; nil where
    /// that is damaged.
    private var lastNamed: ManifestCompletion? {
        get throws {
            do {
                return try findings.record?.lastNamed(findings.existing)
            } catch is ManifestError {
                return nil
            }
        }
    }
}
