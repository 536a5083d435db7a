package import Linux

/// How a move to one target ended well.
package enum MoveResult: Equatable, Sendable {
    /// The target was there already, whole and of this very move.
    case upToDate
    /// An earlier run had written all of it and died before giving it its name.
    case named
    /// The target is whole, and takes its name with its family; `resumed` bytes of guest disk were
    /// there from an earlier run.
    case held(resumed: UInt64)
    /// The target was written; `resumed` bytes of guest disk, or of archive, were there from an
    /// earlier run. `hasChanged`: a source that is shared by force changed meanwhile, so that the
    /// target is of no one moment.
    case moved(resumed: UInt64, hasChanged: Bool)
}

/// What makes one target, an image or an archive.
package protocol TargetMove: Sendable {
    /// What a user should know although it can begin.
    var warnings: [Message] { get }
    /// What is there already, and what it means for this very move.
    func state() throws -> TargetState
    /// In what the move that is recorded differs from this one; nil where it is this very one, or
    /// there is none.
    func difference() throws -> JobDifference?
    /// Throws where `run` would refuse what is there, as far as that can be seen without a lock;
    /// nothing is changed.
    func checkStart() throws
    /// Does what is left to do; safe to repeat after any interruption. Throws `stopped` when a stop
    /// was requested before the end; everything up to the last checkpoint is kept. `tell` hears
    /// what a user wants to know at once.
    func run(_ options: MoveOptions, tell: (String) -> Void) async throws -> MoveResult
}

extension TargetMove {
    /// What is there, and, where that is of another move, in what it differs.
    package func standing() throws -> (state: TargetState, change: JobDifference?) {
        let state = try state()
        return (state, [.stale, .outdated, .altered].contains(state) ? try difference() : nil)
    }
}
