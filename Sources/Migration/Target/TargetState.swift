package import DiskImages
package import SystemPackage

/// What stands under a target's name and beside it, and what that means for a run of the same job.
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

extension TargetState {
    init(_ named: NamedFile, _ work: TargetWork, _ relation: JobRelation) {
        let unnamed: TargetState
        switch (work, relation) {
        case (.none, _): unnamed = named == .missing ? .absent : .stale
        case (.begun, .sameJob), (.whole, .sameJob): unnamed = .unfinished
        case (.held, .sameJob): unnamed = .held
        case (_, .sameSource), (_, .other): unnamed = .outdated
        }
        switch (named, relation) {
        case (.missing, _): self = unnamed
        case (.altered, _): self = .altered
        case (.unknown, _): self = .foreign
        case (.completed, .sameJob): self = .upToDate
        case (.completed, .sameSource): self = .stale
        case (.replaceable, .sameJob), (.replaceable, .sameSource): self = unnamed
        case (.completed, .other), (.replaceable, .other): self = .foreign
        }
    }

    /// The same, for the file that has the name `path` now, if somebody uses it.
    package func considering(users path: FilePath, _ existing: FileIdentity?) throws -> TargetState {
        switch self {
        case .unfinished, .held, .outdated, .stale:
            return try existing != nil && ReplacementPolicy.user(of: path) != nil ? .inUse : self
        case .absent, .upToDate, .altered, .foreign, .inUse: return self
        }
    }
}
