internal import DiskImages
internal import Manifests

/// What a move makes: an image or an archive, with the record that its manifest has of it.
protocol TargetContent: Sendable {
    associatedtype Record: TargetRecord
    /// Which move it is.
    var job: Record.Job { get }

    /// What the recorded `job` has to do with this one.
    func relation(to job: Record.Job?) -> JobRelation
    /// Whether what is recorded, although it is no part of this job, is of the same target: it is
    /// begun anew, and nothing is lost by that.
    func beginsAnew(after record: Record?) -> Bool
    /// Whether a run can go on with `staged` from where `record` says that it is durable.
    func canResume(_ staged: FileIdentity, from record: Record) -> Bool
    /// Whether the file at `place` is all that `record` has of a target that is not complete: only
    /// its last line was lost.
    func isWhole(_ existing: FileIdentity, at place: FilePlace, by record: Record) throws -> Bool
    /// Whether other files show other bytes until they are named with it: only who names all of
    /// them names it.
    var isNamedByFamilyAlone: Bool { get }
    /// Whether it is recorded which file has the name in the end.
    var recordsName: Bool { get }
    /// In what the recorded job differs from this one, which is another.
    func difference(from job: Record.Job?) -> JobDifference
    /// The digest of what `file`, which is written, has before its data; nil where it has nothing.
    func metadataDigest(of file: ImageFile) throws -> ContentDigest?
}

extension TargetContent {
    /// Whether what the recorded job has done is done for this one.
    func isSameJob(as record: Record?) -> Bool {
        record?.job?.isSameMove(as: job) == true && job.consistent
    }
}
