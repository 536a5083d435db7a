package import DiskImages
internal import Linux
package import SystemPackage

/// Which file under a target's name a move may replace: every writer asks here, when it begins and
/// right before the new file takes the name.
package struct ReplacementPolicy {
    /// The target's name as it was given.
    let name: FilePath
    /// Whether any regular file may be replaced.
    let force: Bool
    /// The one file that may be replaced, whatever `force` says; nil where `force` decides alone.
    var only: FileIdentity? = nil
    /// What stood there when the move began, or was resumed, and was found to be replaceable.
    private var accepted: FileIdentity?

    package init(_ name: FilePath, force: Bool, only: FileIdentity? = nil) {
        self.name = name
        self.force = force
        self.only = only
    }

    /// Throws `target` where `existing` may not be replaced, whatever the options where a guest is
    /// using it.
    package func check(_ existing: FileIdentity?) throws {
        guard let existing else { return }
        guard
            only.map(existing.isUnchanged(since:))
                ?? (force || accepted.map(existing.isUnchanged(since:)) == true)
        else {
            throw MigrationError(.target, "\(name): exists (\(.force) replaces it)")
        }
        if let user = try ReplacementPolicy.user(of: name) {
            throw MigrationError(
                .target,
                "\(name): is in use by \(user) (stop the guest that uses it; it is never replaced before)")
        }
    }

    /// Who has locked the file called `name`; nil where nobody has, or where nobody can say.
    package static func user(of name: FilePath) throws -> String? {
        do {
            let holder = try ImageFile(opening: name).lockHolder()
            return holder.isLocked ? holder.process.map { "process \($0)" } ?? "another process" : nil
        } catch let error as DiskImageError where error.kind == .unavailable {
            // It may be replaced without being read.
            return nil
        }
    }

    /// As `check`; what is there is replaceable from now on, as long as nobody changes it. `isOurs`
    /// vouches for it: an earlier run of the same move.
    package mutating func accept(_ existing: FileIdentity?, isOurs: (FileIdentity) throws -> Bool) throws {
        if let existing, try !isOurs(existing) { try check(existing) }
        accepted = existing
    }
}
