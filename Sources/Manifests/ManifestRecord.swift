/// A line behind a job's first one; it gets the time when it is appended.
package protocol ManifestRecord: ManifestLine {
    /// When it was recorded, in seconds since 1970.
    var time: Double? { get set }
}

extension ManifestSegment: ManifestRecord {}
extension ManifestCompletion: ManifestRecord {}
extension ManifestFamily: ManifestRecord {}
extension ManifestFailure: ManifestRecord {}
extension ArchiveManifest.Checkpoint: ManifestRecord {}
