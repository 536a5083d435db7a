package import DiskImages
internal import Linux
package import SystemPackage

/// `TARGET.manifest`, open and locked: one process at a time moves to a target.
///
/// The lock is an open-file-description lock, which the kernel frees when its holder dies. The file
/// is never unlinked or renamed.
package final class ManifestFile: Sendable {
    private let place: FilePlace
    private let file: LockedFile

    package var path: FilePath { place.path }

    /// The name of a target's manifest.
    package static func path(of target: FilePath) -> FilePath { target.withSuffix(".manifest") }

    /// The place of a target's manifest.
    package static func place(of target: FilePlace) -> FilePlace { target.withSuffix(".manifest") }

    /// Opens or creates the manifest of `target` and locks it; throws `target` at once where
    /// another process has it. Without `usesLock`, for a file system that has none, the caller sees
    /// to it that there is no other.
    package convenience init(of target: FilePlace, usesLock: Bool = true) throws {
        try self.init(at: ManifestFile.place(of: target), called: target.path, usesLock: usesLock)
    }

    /// As above, of the manifest at `place`, which need not lie beside its target; `called` is what
    /// a user is told where it cannot be made.
    package init(at place: FilePlace, called name: FilePath? = nil, usesLock: Bool = true) throws {
        self.place = place
        file = try LockedFile(place, called: name, usesLock: usesLock)
    }

    /// Reads and parses what is there.
    package func load() throws -> ManifestContents {
        try ManifestContents(parsing: try contents(), path: path)
    }

    /// As `load`, for the manifest of an archive.
    package func loadArchive() throws -> ArchiveManifest {
        try ArchiveManifest(parsing: try contents(), path: path)
    }

    /// Drops what is behind `length`, durably: nothing that is appended then is ever mixed with it.
    package func cut(to length: Int) throws {
        guard file.length > length else { return }
        try file.truncate(to: length)
        try file.synchronize()
    }

    private func contents() throws -> [UInt8] { try file.contents(limit: ManifestContents.longest) }

    /// Throws `badData` where the file does not begin as a manifest does, and is not empty: such a
    /// file is never overwritten.
    package func checkIsOurs() throws {
        guard ManifestLines.isManifest(try contents()[...]) else { throw notOurs }
    }

    /// Whether what cannot be read as the manifest of an archive, or of another target, holds no
    /// checkpoint that would be lost: the other kind of move was completed, or `restart` forgets
    /// it. Only what begins as a manifest of ours is ever forgotten.
    package func isForgettable(asArchive: Bool, restart: Bool) throws -> Bool {
        let bytes = try contents()
        guard ManifestLines.isManifest(bytes[...]) else { return false }
        return restart
            || ManifestLines.isOfArchive(bytes) != asArchive && ManifestLines.completion(bytes) != nil
    }

    /// Whether something is recorded of a target that is not complete; so it may be where a
    /// manifest is damaged. Throws `badData` where it is none.
    package func holdsCheckpoint() throws -> Bool {
        let bytes = try contents()
        guard ManifestLines.isManifest(bytes[...]) else { throw notOurs }
        return ManifestLines.completion(bytes) == nil
            && ManifestLines.current(bytes[...]).count { $0 == 0x0a } > 1
    }

    private var notOurs: ManifestError { ManifestError("\(path): is no manifest of Drover's (move it away)") }

    /// Forgets everything that is recorded; a file that is no manifest is refused.
    package func forget() throws {
        try checkIsOurs()
        try file.truncate(to: 0)
        try file.synchronize()
    }

    /// Begins a job, durably. What an earlier one completed stays before it: the proof of the file
    /// that has the target's name until the new one takes it. One that was not completed is
    /// forgotten.
    package func begin(_ job: some ManifestLine) throws {
        try file.checkStillLocked()
        try cut(to: ManifestLines.lengthOfProof(try contents()))
        try file.append(job.line)
        try file.synchronize()
        try place.folder.synchronize()
    }

    /// Forgets what was recorded before the last job, which is complete. The file stays the one
    /// that is locked, so the job's records are copied to its start and the rest is cut off: until
    /// that is done, the last job in the file is whole, wherever it dies.
    ///
    /// It comes when the target has its name: where it fails, nothing is wrong, and the next job
    /// that is completed does it.
    package func forgetEarlierJobsIfPossible() {
        do { try forgetEarlierJobs() } catch { return }
    }

    private func forgetEarlierJobs() throws {
        let current = ManifestLines.current(try contents()[...])
        guard current.startIndex > 0 else { return }
        let records = Array(current)
        try file.checkStillLocked()
        if records.count > current.startIndex {
            // A copy at the start would run into what it is made from. One behind it counts when it
            // is whole; by its first line it is told.
            for part in [records.prefix { $0 != 0x0a } + [0x0a], records.drop { $0 != 0x0a }.dropFirst()] {
                try file.append(Array(part))
                try file.synchronize()
            }
        }
        try file.overwriteStart(with: records)
        try file.synchronize()
        try cut(to: records.count)
    }

    /// Records a segment, how far an archive is durable, or why the move failed. The caller has
    /// synced the target's data; the record itself is synced with the completion.
    package func append(_ record: some ManifestRecord) throws { try add(record) }

    /// Records that the target is whole, durably: after all that was recorded before, of which
    /// nothing may be missing where this is there.
    package func append(_ completion: ManifestCompletion) throws {
        try file.synchronize()
        try add(completion)
        try file.synchronize()
    }

    /// Records that a base and its overlays are whole, durably: from now on they only go forwards.
    package func append(_ family: ManifestFamily) throws {
        try add(family)
        try file.synchronize()
    }

    /// Records once more that the target is whole, and which file has its name now. Nothing depends
    /// on it: where it fails, nothing is wrong.
    package func appendIfPossible(_ named: ManifestCompletion) {
        do { try add(named) } catch { return }
    }

    private func add(_ record: some ManifestRecord) throws {
        var record = record
        record.time = WallClock.now
        try file.checkStillLocked()
        try file.append(record.line)
    }

    /// Gives the manifest the access of its target.
    package func setAccess(_ access: FileAccess, orMode mode: UInt32) throws {
        try file.setAccess(access, orMode: mode)
    }

    /// Throws where the lock is no longer ours: a server forgot it, or the file was replaced.
    package func checkStillLocked() throws { try file.checkStillLocked() }

    /// Reads a manifest without locking it; nil where there is none.
    package static func read(of target: FilePlace) throws -> ManifestContents? {
        try read(at: place(of: target))
    }

    /// As above, of the manifest at `place`.
    package static func read(at place: FilePlace) throws -> ManifestContents? {
        try bytes(at: place).map { try ManifestContents(parsing: $0, path: place.path) }
    }

    /// As `read`; the segments of a complete target are left out.
    package static func readEnds(of target: FilePlace) throws -> ManifestContents? {
        try bytes(of: target).map { try ManifestContents(parsingEndsOf: $0, path: place(of: target).path) }
    }

    /// What is recorded of `file`, which has the name `target` or that of its staging file; nil
    /// where nothing is.
    package static func proof(of file: FileIdentity, called target: FilePlace) throws -> ManifestContents? {
        let staged = try TargetFile.partial(of: target).identity()
        let found = try read(of: target)
        return staged.map(file.isSameFile) == true
            ? try found?.proof(of: file) : try found?.proof(ofNamed: file, staged: staged)
    }

    /// The family of the base called `target`, where its names are still being given; nil where
    /// there is none, or where nothing can be read of it.
    package static func unnamedFamily(of target: FilePlace) throws -> ManifestFamily? {
        guard let staged = try TargetFile.partial(of: target).identity() else { return nil }
        do {
            let found = try readEnds(of: target)
            return found?.isHeld(staged) == true ? found?.family : nil
        } catch is ManifestError {
            return nil
        } catch let error as DiskImageError where error.kind == .unavailable {
            return nil
        }
    }

    /// Whether the target is whole, held for its family, and has no name yet but the staging one.
    package static func isHeldForFamily(_ target: FilePlace) throws -> Bool {
        guard let staged = try TargetFile.partial(of: target).identity() else { return false }
        return try readEnds(of: target)?.isHeld(staged) == true
    }

    /// As `read`, for the manifest of an archive.
    package static func readArchive(of target: FilePlace) throws -> ArchiveManifest? {
        try bytes(of: target).map { try ArchiveManifest(parsing: $0, path: place(of: target).path) }
    }

    /// Writes into the manifest of `target` why its move failed; where another process works on it,
    /// that one knows better.
    package static func recordFailure(_ reason: String, of target: FilePlace, usesLock: Bool = true) throws {
        if usesLock, try isHeld(of: target) { return }
        let manifest = try ManifestFile(of: target, usesLock: usesLock)
        let bytes = try manifest.contents()
        guard ManifestLines.isManifest(bytes[...]) else { return }
        try manifest.file.truncate(to: ManifestLines.lengthBeforeFailure(bytes))
        try manifest.append(ManifestFailure(reason))
    }

    /// Forgets why the move to `target` failed, where that is the last record.
    package static func dropFailure(of target: FilePlace, usesLock: Bool = true) throws {
        guard let bytes = try bytes(of: target), ManifestLines.endsWithFailure(bytes) else { return }
        if usesLock, try isHeld(of: target) { return }
        let manifest = try ManifestFile(of: target, usesLock: usesLock)
        try manifest.file.truncate(to: ManifestLines.lengthBeforeFailure(try manifest.contents()))
    }

    /// Whether the manifest of `target` is that of an archive.
    package static func isOfArchive(_ target: FilePlace) throws -> Bool {
        try bytes(of: target).map(ManifestLines.isOfArchive) ?? false
    }

    /// Whether another process works on `target` now.
    package static func isHeld(of target: FilePlace) throws -> Bool {
        let place = place(of: target)
        guard try place.identity() != nil else { return false }
        return try ImageFile(opening: place).writeLockHolder().isLocked
    }

    private static func bytes(of target: FilePlace) throws -> [UInt8]? { try bytes(at: place(of: target)) }

    private static func bytes(at place: FilePlace) throws -> [UInt8]? {
        guard try place.identity() != nil else { return nil }
        let file = try ImageFile(opening: place)
        guard file.length <= UInt64(ManifestContents.longest) else {
            throw ManifestError(
                "\(place.path): is \(file.length) bytes long; expected a manifest of at most \(ManifestContents.longest)"
            )
        }
        var bytes = [UInt8](repeating: 0, count: Int(file.length))
        let count = try bytes.withUnsafeMutableBytes { try file.readAvailable(into: $0, at: 0) }
        return Array(bytes[..<count])
    }
}
