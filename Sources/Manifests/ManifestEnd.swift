package import DiskImages
internal import Linux
package import SystemPackage

/// Sectors that could not be read or restored: the target has nothing there.
package struct LostSectors: Equatable, Sendable {
    package let start: UInt64
    package let count: UInt64

    /// Of a range in bytes, whole sectors.
    package init(_ range: Range<UInt64>) {
        start = range.lowerBound / 512
        count = (range.upperBound - range.lowerBound) / 512
    }

    /// `sectors 8 to 15`.
    package var description: String { "sectors \(start) to \(start &+ count &- 1)" }

    /// All of `parts`, neighbours taken together.
    package static func merged(_ parts: [LostSectors]) -> [LostSectors] {
        var merged: [LostSectors] = []
        for part in parts.sorted(by: { $0.start < $1.start }) {
            if let last = merged.last, last.start &+ last.count == part.start {
                merged[merged.count - 1] = LostSectors(start: last.start, count: last.count &+ part.count)
            } else {
                merged.append(part)
            }
        }
        return merged
    }

    private init(start: UInt64, count: UInt64) { (self.start, self.count) = (start, count) }
}

/// The last record: the target is whole.
package struct ManifestCompletion: Equatable, Sendable {
    /// The target's file once it had its name. As long as it is that, it has the bytes whose
    /// digests are recorded.
    package struct Named: Equatable, Sendable {
        package let inode: UInt64
        /// As `mtime`; giving a name changes it.
        package let ctime: String
    }

    package var record = "complete"
    /// The digest over all segments, the same however often the move was interrupted.
    package let digest: String
    /// The digest of what a COW file has before its bitmap; absent for raw.
    package let header: String?
    package let size: UInt64
    package let mtime: String
    /// What a salvage could not read or restore; absent in every other move.
    package var lost: [LostSectors]? = nil
    /// True where the target takes its name together with its family, and not by itself.
    package var held: Bool? = nil
    /// Recorded when the target had its name: then the record comes once more.
    package var named: Named? = nil
    /// When it was recorded, in seconds since 1970.
    package var time: Double? = nil

    package init(digest: String, header: String?, size: UInt64, mtime: String, lost: [LostSectors]? = nil) {
        self.digest = digest
        self.header = header
        self.size = size
        self.mtime = mtime
        self.lost = lost
    }
}

/// Behind a base's last record: it and these overlays of it are whole, and their names are being
/// given.
package struct ManifestFamily: Equatable, Sendable {
    /// One overlay.
    package struct Member: Equatable, Sendable {
        /// Its target, absolute.
        package let target: String
        /// The digest of its completion.
        package let digest: String

        package init(target: String, digest: String) {
            self.target = target
            self.digest = digest
        }
    }

    package let members: [Member]
    package var record = "family"
    package var time: Double? = nil

    package init(_ members: [Member]) { self.members = members }

    /// Whether the overlay whose file is called `target` belongs to it.
    package func names(_ target: FilePath) throws -> Bool {
        let name = try ManifestFamily.name(of: target)
        return members.contains { $0.target == name }
    }

    /// The name of a target's file for a record, links resolved.
    package static func name(of target: FilePath) throws -> String {
        let file = try FilePlace(following: target).path
        let folder = file.removingLastComponent()
        return try resolved(folder.isEmpty ? "." : folder).pushing(
            FilePath(root: nil, file.components.suffix(1))
        ).description
    }
}

/// Why the last try failed; a later record of any other kind says that it goes on.
package struct ManifestFailure: Equatable, Sendable {
    package let failure: String
    package var record = "failure"
    package var time: Double? = nil

    package init(_ reason: String) { failure = reason }
}

extension ManifestCompletion {
    /// Whether `file` is the target as it was when it was completed.
    package func matches(_ file: FileIdentity) -> Bool {
        file.isRegular && file.size == size && file.mtime.description == mtime
    }

    /// The same, of the target's `file`, which has its name; nil where a change in the very moment
    /// of the naming would not show.
    package func naming(_ file: FileIdentity) -> ManifestCompletion? {
        guard matches(file), file.wasWrittenBeforeItChanged else { return nil }
        var completion = self
        completion.named = Named(inode: file.inode, ctime: file.ctime.description)
        return completion
    }

    /// Whether `file` is known to be the file that got the name, and not to have changed since.
    package func proves(_ file: ImageFile) throws -> Bool {
        guard let named, matches(file.identity), file.identity.inode == named.inode else { return false }
        return try file.provingTime()?.description == named.ctime
    }

    /// Whether both are of files with the same bytes and the same time.
    package func isSameTarget(as other: ManifestCompletion) -> Bool {
        digest == other.digest && header == other.header && size == other.size && mtime == other.mtime
    }
}
