internal import DiskImages
internal import Linux
internal import Manifests
internal import SystemPackage

/// A target from what an earlier run left of it to its name. `begin` looks what stands there, under
/// the manifest's lock; what is left to do is done to the `OpenTarget` that it returns; whose
/// `commit` gives the name.
struct TargetTransaction<Content: TargetContent> {
    let place: TargetPlace
    var content: Content
    /// Who may read it.
    let access: TargetAccess
    /// The modification time that the target gets; nil leaves that of its completion.
    var mtime: Timestamp? = nil
    var policy: StartPolicy

    /// What a run begins with.
    enum Beginning {
        /// It is there, whole and of this very job.
        case upToDate
        /// It was whole, and has its name now.
        case named
        /// It is whole, and takes its name with its family.
        case held
        case open(OpenTarget<Content>)
    }

    /// What there is to do.
    enum Step: Equatable {
        case upToDate, held, begin, resume
        /// The staging file is whole, and this very one.
        case name(FileIdentity)
    }

    /// Which file may be replaced.
    var replacement: ReplacementPolicy {
        ReplacementPolicy(place.name, force: policy.force, only: policy.only)
    }

    /// Whether nothing was ever recorded here: what is refused now is to leave no manifest behind.
    var isFirst: Bool { get throws { try ManifestFile.place(of: place.file).identity() == nil } }

    /// What there is, as far as it can be seen without a lock.
    var findings: TargetFindings<Content.Record> { get throws { try TargetFindings(at: place) } }

    /// The target's state for this job, for whoever only looks.
    func state() throws -> TargetState {
        let findings = try findings
        return try findings.state(for: content.relation(to: findings.record?.job)).considering(
            users: place.path, place.existing)
    }

    /// In what the recorded job differs from this one; nil where it is this very one, or there is
    /// none.
    func difference() throws -> JobDifference? {
        let record = try findings.record
        return record?.job == nil || content.isSameJob(as: record)
            ? nil : content.difference(from: record?.job)
    }

    /// Whether the target is there, whole and of this very job; nothing is locked or changed, and
    /// nothing need be writable.
    func isUpToDate() throws -> Bool {
        guard !policy.restart, place.existing != nil else { return false }
        do {
            let findings = try findings
            return findings.named == .completed && content.isSameJob(as: findings.record)
        } catch is ManifestError {
            // What is wrong with it is said when it is locked.
            return false
        }
    }

    /// Throws what `begin` would throw, as far as that can be seen without a lock; nothing is
    /// changed.
    func checkStart() throws {
        let record = policy.restart ? nil : try findings.record
        var replacement = replacement
        _ = try step(
            TargetFindings(
                record: record, existing: place.existing,
                staged: TargetFile.partial(of: place.file).identity()),
            &replacement)
    }

    /// Throws `target` where the file that has the name may not be replaced.
    func checkReplaceable() throws { try replacement.check(place.existing) }

    /// Does what can be done at once; else returns the target to write to, under the lock of its
    /// manifest. Nothing is recorded or written yet.
    ///
    /// Throws `target` where a file has the name that this move may not replace, `badData` where a
    /// checkpoint of another job would be lost, `locked` where another process works on it.
    func begin() throws -> Beginning {
        if try isUpToDate(), try !policy.usesLock || !ManifestFile.isHeld(of: place.file) {
            return try upToDate()
        }
        if try isFirst { try checkReplaceable() }
        let manifest = try ManifestFile(of: place.file, usesLock: policy.usesLock)
        try FailPoint.manifestLocked.pass()
        // Only now, under the lock, does what stands there stay what it is.
        let findings = try TargetFindings(of: try load(manifest), at: place.file)
        var replacement = replacement
        let step = try step(findings, &replacement)
        switch step {
        case .upToDate: return try upToDate()
        case .held: return .held
        case .name(let staged):
            try TargetFile.publish(place.file, staged, replacing: replacement.check)
            manifest.forgetEarlierJobsIfPossible()
            return .named
        case .begin, .resume:
            return .open(
                OpenTarget(
                    transaction: self, file: try TargetFile(staging: place.file), manifest: manifest,
                    findings: findings, recorded: step == .resume ? findings.record : nil,
                    replacement: replacement))
        }
    }

    /// An earlier run may have died before the name was durable.
    private func upToDate() throws -> Beginning {
        try place.file.folder.synchronize()
        return .upToDate
    }

    /// What `manifest`, which is locked, says; nothing where that may be forgotten.
    private func load(_ manifest: ManifestFile) throws -> Content.Record? {
        do {
            return try Content.Record.load(manifest)
        } catch let error as ManifestError {
            let isArchive = Content.Record.isOfArchive
            guard try manifest.isForgettable(asArchive: isArchive, restart: policy.restart) else {
                throw error
            }
            return nil
        }
    }

    /// What `findings` mean for this run.
    func step(_ findings: TargetFindings<Content.Record>, _ replacement: inout ReplacementPolicy) throws
        -> Step
    {
        let (record, work) = (findings.record, findings.work)
        let isSameJob = content.isSameJob(as: record)
        if findings.named == .completed, isSameJob, !policy.restart { return .upToDate }
        let isAgain = content.beginsAnew(after: record)
        if work == .begun, !isSameJob, !isAgain, !policy.restart, record?.job?.consistent == true,
            content.job.consistent
        {
            throw MigrationError(
                .badData,
                "\(ManifestFile.path(of: place.path)): holds a checkpoint of \(content.difference(from: record?.job).recorded) (\(.restart) forgets it)"
            )
        }
        try replacement.accept(findings.existing) { existing in
            guard isSameJob || isAgain, let record else { return false }
            // What this move was to replace when it began; or its own target, of which only the
            // last record was lost.
            return try record.job?.replaces?.matches(existing) == true
                || isSameJob && record.completion == nil && findings.staged == nil
                    && content.isWhole(existing, at: place.file, by: record)
        }
        guard isSameJob, !policy.restart, let record, let staged = findings.staged else { return .begin }
        switch work {
        case .held where policy.naming != .atOnce: return .held
        case .held where content.isNamedByFamilyAlone:
            throw MigrationError(
                .target,
                "\(place.name): is made anew, and takes its name with the overlays of its family (drover run of its pipeline goes on)"
            )
        case .held, .whole: return .name(staged)
        case .begun where content.canResume(staged, from: record): return .resume
        case .begun, .none: return .begin
        }
    }
}
