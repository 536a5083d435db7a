/// The moments of a move at which it matters what is on disk. A test may have the move die at one
/// of them: they are the lines of "If it dies here" in `Documentation/architecture.md`. Nothing
/// that comes from outside the program can.
package enum FailPoint: String, CaseIterable, Sendable {
    /// The manifest is created or opened, and locked.
    case manifestLocked
    /// The job is recorded, and the staging file is whatever it was.
    case jobRecorded
    /// The staging file is as a fresh one, or, of a resumed move, has holes between what is
    /// recorded.
    case stagingReady
    /// A chunk, or a record of an archive, is in the staging file.
    case written
    /// What is finished is durable, and not recorded.
    case synced
    /// A segment, or a checkpoint, is recorded.
    case recorded
    /// All is recorded but that it is all.
    case allRecorded
    /// The completion is recorded, durably.
    case completed
    /// The file has its name, which is not durable yet.
    case renamed
    /// All is done but to say so.
    case named

    /// What a test does when a move reaches one of them; what it throws ends the move there. A type
    /// of its own: the optimizer loses that of a closure that is local to a task.
    package struct Watch: Sendable {
        fileprivate let reached: @Sendable (FailPoint) throws -> Void

        package init(_ reached: @escaping @Sendable (FailPoint) throws -> Void) { self.reached = reached }
    }

    /// Set by a test in the task that it runs the move in.
    @TaskLocal package static var watch: Watch?

    /// Says that this is the moment.
    @inline(__always)
    package func pass() throws {
        try FailPoint.watch?.reached(self)
    }
}
