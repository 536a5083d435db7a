internal import DiskImages
internal import Linux
internal import Stages
internal import SystemPackage
internal import TransportArchive

/// The folder where an archive from a pipe is kept while it has to be read again:
/// `.drover-scratch-ID`. Locked as long as a run uses it, so that the next run of the same command
/// knows one that was left behind, and goes on with it or removes it.
struct ScratchFolder {
    let tree: FolderTree
    private let lock: LockedFile
    private let plan: RestorePlan
    /// The folder that it lies in.
    private let parent: FolderTree

    /// The lock's name, and that of what is kept.
    private static let lockName = ".partial"
    private static let spoolName = "archive"

    /// Creates the folder where it is missing. Throws `locked` where another run uses it.
    init(of plan: RestorePlan, in parent: FolderTree) throws {
        (self.plan, self.parent) = (plan, parent)
        tree = try FolderTree(plan.scratch.lastComponent ?? ".", in: parent)
        lock = try LockedFile(tree.place(for: ScratchFolder.lockName))
        // It may have been removed with all its folder while we opened it.
        try lock.checkStillLocked()
    }

    /// Removes what an earlier run left behind that died when all was done but this.
    static func removeLeftover(of plan: RestorePlan, in parent: FolderTree) throws {
        guard try ImageFile.identity(at: plan.scratch)?.isDirectory == true else { return }
        do {
            try ScratchFolder(of: plan, in: parent).remove()
        } catch let error as DiskImageError where [.target, .locked, .io].contains(error.kind) {
            // Another run uses it, or nothing may be written here: what was asked for is there all
            // the same.
        }
    }

    /// Keeps the archive whose beginning `reader` has read, to its end.
    func spool(_ reader: ArchiveReader, _ stop: StopFlag) throws -> ImageFile {
        let file = try TargetFile(staging: tree.place(for: ScratchFolder.spoolName))
        try file.reset(length: 0)
        let beginning = reader.beginning
        try beginning.withUnsafeBytes { try file.write($0, at: 0) }
        var length = UInt64(beginning.count)
        let buffer = try AlignedBuffer(capacity: RunRecord.longestContent)
        while true {
            let count = try reader.stream.read(into: buffer.bytes)
            guard !stop.isRequested else {
                throw MigrationError(
                    .stopped, "standard input: stopped by a signal (run the same command again)")
            }
            guard count > 0 else { break }
            try file.write(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<count]), at: length)
            length += UInt64(count)
        }
        return try file.reading()
    }

    /// Removes every file that a run can have left in it, and then the folder; the lock goes last.
    func remove() {
        tree.remove([ScratchFolder.spoolName + ".partial", ScratchFolder.lockName], from: parent)
    }
}
