package import DiskImages
internal import Glibc
package import Manifests

/// Who may read and write a target, and whose it is. Nobody may read it who may not read every file
/// whose bytes it holds.
package struct TargetAccess: Equatable, Sendable {
    /// What a file that is new is given; its owner and group only where this process may give them.
    package let wanted: FileAccess
    /// What it keeps where owner or group cannot be given.
    package let mode: UInt32

    /// Of a file that holds bytes of `sources`, the top layer first: others and the group may do
    /// what all of them let them, less `umask`. With no sources, everything that `umask` leaves.
    package init(holding sources: [FileAccess], umask: UInt32 = TargetAccess.umask) {
        guard let top = sources.first else {
            wanted = FileAccess(mode: 0o666 & ~umask, owner: geteuid(), group: getegid())
            mode = wanted.mode
            return
        }
        func all(_ isAllowed: (FileAccess) -> Bool) -> Bool { sources.allSatisfy(isAllowed) }
        let others = [4, 2].filter { bit in all { $0.isForAll(bit) } }.reduce(0, |)
        // A list's mask is no group's.
        let isOneGroup = all { $0.group == top.group && $0.acl == nil }
        let group = [4, 2].filter { bit in isOneGroup && all { $0.mode & bit << 3 != 0 } }.reduce(0, |)
        let isOwners = all { $0.isForAll(4) || ($0.owner == top.owner && $0.mode & 0o400 != 0) }
        mode = (0o600 | (others << 3) | others) & ~umask
        wanted = FileAccess(
            mode: (0o600 | (group | others) << 3 | others) & ~umask, owner: isOwners ? top.owner : geteuid(),
            group: isOneGroup ? top.group : getegid())
    }

    /// As it was recorded, in an archive.
    /// `keepsExecution`: it is no image, and may be a program.
    package init(recorded: FileAccess, keepsExecution: Bool = false, umask: UInt32 = TargetAccess.umask) {
        wanted = FileAccess(
            mode: recorded.mode & (keepsExecution ? 0o777 : 0o666), owner: recorded.owner,
            group: recorded.group)
        mode = wanted.mode & ~umask
    }

    /// Gives target and manifest what they are to have, right before they are synced for the last
    /// time. A file that has the name and is to be replaced keeps what somebody gave it.
    package func give(to file: TargetFile, _ manifest: ManifestFile?) throws {
        let kept = try FileAccess.of(file.place)
        try file.setAccess(kept ?? wanted, orMode: mode)
        try manifest?.setAccess(kept ?? wanted, orMode: mode)
    }

    /// For nobody but the caller.
    package static let personal = TargetAccess(
        holding: [FileAccess(mode: 0o600, owner: geteuid(), group: getegid())], umask: 0)

    /// The process's mask of permissions. It can only be read by setting it, so it is read once,
    /// before there are threads that make files.
    package static let umask: UInt32 = {
        let mask = Glibc.umask(0o077)
        _ = Glibc.umask(mask)
        return mask
    }()
}
