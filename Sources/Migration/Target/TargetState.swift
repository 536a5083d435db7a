package import DiskImages
package import Manifests
package import SystemPackage

/// What stands under a target's name and beside it, and what that means for a run of the same job.
/// Nothing is locked or changed to find out.
package enum TargetState: Equatable, Sendable {
    /// There is nothing, or nothing that was recorded.
    case absent
    /// Whole, of this very job, and as it was when it was completed.
    case upToDate
    /// An interrupted run of this very job, which can go on.
    case unfinished
    /// Whole and of this very job, and named together with the others of its family.
    case held
    /// A checkpoint of another job, or of sources as they were before they changed: only to be
    /// forgotten.
    case outdated
    /// Whole and as it was completed, but of another job or of sources that have changed since.
    case stale
    /// Somebody has written to it since it was completed.
    case altered
    /// A file that no manifest speaks of, or one that was made of another source.
    case foreign
    /// It would be replaced, but a process has it locked, as a running guest does.
    case inUse
}

/// What a manifest says of the file under the target's name, whatever kind of move it records.
package struct TargetHistory {
    let isSameJob: Bool
    /// Whether the target was made of the same source, whatever the options, and whether or not
    /// that has changed since.
    let isSameSource: Bool
    let hasCheckpoint: Bool
    let completion: ManifestCompletion?
    let replaces: ManifestJob.Replaced?

    /// What `manifest`, where there is one, tells without knowing which job is meant; `source` is
    /// the target's, where that can be opened.
    package init(_ manifest: ManifestContents?, of source: ManifestJob.Source?) {
        isSameJob = false
        isSameSource = manifest?.job?.isOfSameSource(as: source) == true
        hasCheckpoint = manifest?.segments.isEmpty == false
        completion = manifest?.completion
        replaces = manifest?.job?.replaces
    }

    init(
        isSameJob: Bool, isSameSource: Bool, hasCheckpoint: Bool, completion: ManifestCompletion?,
        replaces: ManifestJob.Replaced?
    ) {
        self.isSameJob = isSameJob
        self.isSameSource = isSameSource
        self.hasCheckpoint = hasCheckpoint
        self.completion = completion
        self.replaces = replaces
    }

    /// The state of a target whose name `existing` has, and its staging name `partial`.
    package func state(existing: FileIdentity?, partial: FileIdentity?) -> TargetState {
        let isWaiting = partial.map { completion?.matches($0) == true } ?? false
        let waiting: TargetState = !isSameJob ? .outdated : completion?.held == true ? .held : .unfinished
        guard let existing else {
            if isWaiting { return waiting }
            guard completion == nil, hasCheckpoint else { return .absent }
            return isSameJob ? .unfinished : .outdated
        }
        if let completion {
            // As long as the new one has the staging name, the old one has the target's, even where
            // both look alike.
            if !isWaiting, completion.matches(existing) {
                return isSameJob ? .upToDate : isSameSource ? .stale : .foreign
            }
            guard replaces?.matches(existing) == true else { return .altered }
            guard isSameJob || isSameSource else { return .foreign }
            return isWaiting ? waiting : .stale
        }
        guard let replaces else { return .foreign }
        guard replaces.matches(existing) else { return .altered }
        guard isSameJob || isSameSource else { return .foreign }
        return hasCheckpoint && isSameJob ? .unfinished : hasCheckpoint ? .outdated : .stale
    }
}

extension TargetState {
    /// The same, for the file that has the name `path` now, if somebody uses it.
    package func considering(users path: FilePath, _ existing: FileIdentity?) throws -> TargetState {
        switch self {
        case .unfinished, .held, .outdated, .stale:
            return try existing != nil && ReplacementPolicy.user(of: path) != nil ? .inUse : self
        case .absent, .upToDate, .altered, .foreign, .inUse: return self
        }
    }
}

extension TargetMove {
    /// The target's state for this job.
    func state() throws -> TargetState {
        let manifest = try ManifestFile.readEnds(of: place.file)
        let history = TargetHistory(
            isSameJob: manifest?.job?.isSameMove(as: job) == true && job.consistent,
            isSameSource: manifest?.job?.isOfSameSource(as: job.sources.first) == true,
            hasCheckpoint: manifest?.segments.isEmpty == false,
            completion: manifest?.completion, replaces: manifest?.job?.replaces)
        return try history.state(
            existing: place.existing, partial: try TargetFile.partial(of: place.file).identity()
        )
        .considering(users: place.path, place.existing)
    }
}
