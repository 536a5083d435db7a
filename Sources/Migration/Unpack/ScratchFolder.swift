internal import DiskImages
internal import SystemPackage
internal import TransportArchive

/// The folder where an archive's layers wait to be flattened: `.drover-scratch-ID`. Locked as long
/// as a run uses it, so that the next run of the same command knows one that was left behind, and
/// goes on with it or removes it.
struct ScratchFolder {
    let tree: FolderTree
    private let lock: LockedFile
    private let plan: RestorePlan
    /// The folder that it lies in.
    private let parent: FolderTree

    /// The lock's name. No layer's file can have it, nor what stands beside one.
    private static let lockName = ".partial"

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

    /// Removes every file that a run of this archive can have left in it, whatever it was asked
    /// for, and then the folder; the lock goes last.
    func remove() {
        let endings = ["", ".manifest", ".partial"]
        tree.remove(
            plan.header.layers.flatMap { layer in endings.map { layer.name + $0 } } + [
                ScratchFolder.lockName
            ], from: parent)
    }
}
