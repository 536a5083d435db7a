package import DiskImages
package import Manifests
package import SystemPackage

/// What there is of a target: the file that has its name, the one that has its staging name, and
/// what the manifest says of both. Everybody asks here what that means: a run that begins, `plan`,
/// `status` and `report`. Nothing is locked or changed to find out.
package struct TargetFindings<Record: TargetRecord> {
    /// nil where there is no manifest.
    package let record: Record?
    /// The file that has the target's name.
    package let existing: FileIdentity?
    /// The file that has the staging name.
    package let staged: FileIdentity?

    package init(record: Record?, existing: FileIdentity?, staged: FileIdentity?) {
        self.record = record
        self.existing = existing
        self.staged = staged
    }

    /// What lies under the name `target` and beside it.
    package init(at target: FilePath) throws {
        try self.init(
            record: Record.readEnds(of: FilePlace(at: target)),
            existing: ImageFile.identity(at: target),
            staged: ImageFile.identity(at: TargetFile.partialPath(of: target)))
    }

    /// As above, of the record's every line and of files that are known.
    package init(of record: Record?, at target: FilePlace) throws {
        try self.init(
            record: record, existing: target.identity(), staged: TargetFile.partial(of: target).identity())
    }

    /// As above, of the record's ends and of what had the target's name when its place was found.
    init(at place: TargetPlace) throws {
        try self.init(
            record: Record.readEnds(of: place.file), existing: place.existing,
            staged: TargetFile.partial(of: place.file).identity())
    }

    /// How far a move came that has not given the target its name.
    package var work: TargetWork {
        guard let record else { return .none }
        guard let completion = record.completion else { return record.hasCheckpoint ? .begun : .none }
        guard let staged, completion.matches(staged) else { return .none }
        return completion.held == true ? .held : .whole
    }

    /// What the file is that has the target's name.
    package var named: NamedFile {
        guard let existing else { return .missing }
        let completion = record?.completion
        // As long as the new one has the staging name, the old one has the target's, even where
        // both look alike.
        if let completion, ![.whole, .held].contains(work), completion.matches(existing) {
            return .completed
        }
        guard let replaced = record?.job?.replaces else { return completion == nil ? .unknown : .altered }
        return replaced.matches(existing) ? .replaceable : .altered
    }

    /// What all that means for a job to which the recorded one is `relation`.
    package func state(for relation: JobRelation) -> TargetState {
        TargetState(named, work, relation)
    }
}

/// How far a move came that has not given the target its name.
package enum TargetWork: CaseIterable, Sendable {
    /// Nothing is recorded that could be gone on with.
    case none
    /// Part of it is done.
    case begun
    /// All is done but the name.
    case whole
    /// All is done, and the name waits for those of the target's family.
    case held
}

/// What the file is that has a target's name.
package enum NamedFile: CaseIterable, Sendable {
    /// There is none.
    case missing
    /// The target, as it was when it was completed.
    case completed
    /// What stood there when the recorded move began, unchanged since.
    case replaceable
    /// Somebody has written to it since it was recorded.
    case altered
    /// Nothing is recorded of it.
    case unknown
}

/// What the job that is meant has to do with the one that is recorded.
package enum JobRelation: CaseIterable, Sendable {
    /// What one has done is done for the other.
    case sameJob
    /// It was to be made of the same source, with whatever options, whether or not the source has
    /// changed since.
    case sameSource
    case other
}
