package import DiskImages
internal import Glibc
internal import Linux
internal import Manifests
package import SystemPackage
internal import TransportArchive

/// Where a target goes: its name with links resolved, and what must not be there.
package struct TargetPlace: Sendable {
    /// The target's name as it was given.
    package let name: FilePath
    /// The target's final place, in a folder that is held open: target, staging file and manifest
    /// are looked for and made in this one.
    package let file: FilePlace
    /// The file that has the name now.
    package let existing: FileIdentity?

    /// The block device that `name` leads to, which is written in place. Throws `target` where it
    /// is none, or one of `sources`.
    package init(device name: FilePath, sources: [FileIdentity]) throws {
        (file, self.name) = (try FilePlace(following: name), name)
        existing = try file.identity()
        guard let existing, existing.isBlockDevice else {
            throw MigrationError(
                .target, "\(name): is no block device (\(.onDevice) is for one that is there)")
        }
        guard !sources.contains(where: { $0.isSameFile(as: existing) }) else {
            throw MigrationError(
                .target, "\(name): is a file of the source's own chain (choose another target)")
        }
    }

    /// The target's final name; no symbolic link.
    package var path: FilePath { file.path }

    /// Throws `target` where `name` is something else than a regular file, or where the target or
    /// one of the files beside it is one of `sources`.
    package init(_ name: FilePath, sources: [FileIdentity]) throws {
        try self.init(try FilePlace(following: name), called: name, sources: sources)
    }

    /// The name that `name` leads to, links at its end followed, whether or not there is a file.
    package static func follow(_ name: FilePath) throws -> FilePath { try FilePlace(following: name).path }

    /// As above, of a place that was found already.
    package init(_ file: FilePlace, called name: FilePath, sources: [FileIdentity]) throws {
        (self.file, self.name) = (file, name)
        if let ending = file.name.extension, ["partial", "manifest"].contains(ending) {
            throw MigrationError(
                .target,
                "\(name): ends in .\(ending), as what Drover keeps beside a target does (choose another name)"
            )
        }
        existing = try file.identity()
        if existing == nil { _ = try ArchivedImage.refuse(name) }
        if let existing, !existing.isRegular {
            throw MigrationError(.target, "\(name): exists and is no regular file (it is never replaced)")
        }
        guard try !file.folder.isOfDevices() else {
            throw MigrationError(
                .target, "\(name): lies among devices, where no file is made (name a file elsewhere)")
        }
        for (place, found) in [
            (file, existing), (TargetFile.partial(of: file), nil), (ManifestFile.place(of: file), nil),
        ] {
            guard let identity = try found ?? place.linkedIdentity() else { continue }
            if sources.contains(where: { $0.isSameFile(as: identity) }) {
                throw MigrationError(
                    .target, "\(place.path): is a file of the source's own chain (choose another target)")
            }
        }
    }
}
