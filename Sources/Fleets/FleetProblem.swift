internal import DiskImages
internal import Glibc
internal import Linux
internal import Manifests
internal import Migration
internal import PipelineFiles
internal import SystemPackage

/// What is in the way of one item.
package struct FleetProblem: Error, Sendable, CustomStringConvertible {
    package let description: String
    /// The error that says it, for an exit code.
    package let cause: any Error
    /// Whether it lies in how the fleet is laid out, and not in this item's files: nothing is
    /// written for it then, not even the reason.
    package let isOfLayout: Bool

    init(_ error: any Error, isOfLayout: Bool = false) {
        cause = error
        self.isOfLayout = isOfLayout
        description =
            (error as? any Advising)?.message.text(ChoiceWords.pipelineFile) ?? "\(error)"
    }

    /// Whether it is the file system of the file called `target` that failed, or is full: then
    /// nothing else can be written there either.
    func isOfDisk(under target: FilePath) -> Bool {
        let failures: Set<Errno> = [
            .ioError, .noSpace, .readOnlyFileSystem, Errno(rawValue: EDQUOT),
        ]
        guard let error = cause as? DiskImageError, let errno = error.cause, failures.contains(errno) else {
            return false
        }
        return [target, TargetFile.partialPath(of: target), ManifestFile.path(of: target)].contains(
            error.path)
    }

    /// Several at once: the first one, and which images have others. nil where there is none.
    init?(all problems: [FleetProblem]) {
        guard let first = problems.first else { return nil }
        guard problems.count > 1 else {
            self = first
            return
        }
        cause = first.cause
        isOfLayout = first.isOfLayout
        description = problems.map(\.description).joined(separator: "; ")
    }
}
