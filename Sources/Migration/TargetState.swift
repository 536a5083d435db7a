internal import DiskImages
internal import SystemPackage

/// What stands under a target's name and beside it, and what that means for a run of the same job. Nothing is locked or changed to find out.
package enum TargetState: Equatable, Sendable {
    /// There is nothing, or nothing that was recorded.
    case absent
    /// Whole, of this very job, and as it was when it was completed.
    case upToDate
    /// An interrupted run of this very job, which can go on.
    case unfinished
    /// A checkpoint of another job, or of sources as they were before they changed: only to be forgotten.
    case outdated
    /// Whole and as it was completed, but of another job or of sources that have changed since.
    case stale
    /// Somebody has written to it since it was completed.
    case altered
    /// A file that no manifest speaks of.
    case foreign
}

/// What a manifest says of the file under the target's name, whatever kind of move it records.
struct TargetHistory {
    let isSameJob: Bool
    let hasCheckpoint: Bool
    let completion: ManifestCompletion?
    let replaces: ManifestJob.Replaced?

    /// The state of a target whose name `existing` has, and its staging name `partial`.
    func state(existing: FileIdentity?, partial: FileIdentity?) -> TargetState {
        guard let existing else {
            if let completion, let partial, completion.matches(partial) { return isSameJob ? .unfinished : .outdated }
            guard completion == nil, hasCheckpoint else { return .absent }
            return isSameJob ? .unfinished : .outdated
        }
        if let completion {
            if completion.matches(existing) { return isSameJob ? .upToDate : .stale }
            // It died before the new target took the old one's name.
            guard let partial, completion.matches(partial), replaces?.matches(existing) == true else { return .altered }
            return isSameJob ? .unfinished : .outdated
        }
        guard let replaces else { return .foreign }
        guard replaces.matches(existing) else { return .altered }
        return hasCheckpoint && isSameJob ? .unfinished : hasCheckpoint ? .outdated : .stale
    }
}

extension TargetMove {
    /// The target's state for this job.
    func state() throws -> TargetState {
        let manifest = try ManifestFile.readEnds(of: place.path)
        let history = TargetHistory(
            isSameJob: manifest?.job?.isSameMove(as: job) == true && job.consistent, hasCheckpoint: manifest?.segments.isEmpty == false,
            completion: manifest?.completion, replaces: manifest?.job?.replaces)
        return history.state(existing: place.existing, partial: try ImageFile.identity(at: TargetFile.partialPath(of: place.path)))
    }
}
