internal import Glibc
internal import ImageFormats
internal import Linux
internal import SystemPackage

/// Writes a journal, change after change; it begins to count with `seal`.
package final class JournalWriter {
    private let place: FilePlace
    private let descriptor: CInt
    private var digest: ContentDigest
    private var position: UInt64 = 0
    private var isSealed = false

    /// A journal beside `file`, with the same readers. What lies there and does not count is
    /// removed.
    package init(of file: PatchedFile, _ head: Journal.Head) throws {
        place = Journal.place(of: file.place)
        if try place.status() != nil, !place.remove() {
            throw DiskImageError.system(place.path, "cannot be removed", .current, .target)
        }
        descriptor = place.open(O_RDWR | O_CREAT | O_EXCL, mode: 0o600)
        guard descriptor >= 0 else {
            throw DiskImageError.system(place.path, "cannot be created", .current, .target)
        }
        let bytes = head.serialized
        digest = ContentDigest(of: bytes)
        // Where one of these throws, `deinit` removes and closes it.
        let access = try file.access()
        try access.give(to: descriptor, place.path, orMode: access.mode & 0o644)
        try write(bytes)
    }

    deinit {
        if !isSealed { place.remove() }
        close(descriptor)
    }

    /// Appends a change of at most `Journal.longestChange` bytes.
    package func append(_ change: Journal.Change) throws {
        var bytes = [UInt8](repeating: 0, count: 16)
        bytes.store(change.offset, at: 0, .big)
        bytes.store(UInt64(change.old.count), at: 8, .big)
        bytes += change.old + change.new
        digest = ContentDigest(of: digest.bytes + bytes)
        try write(bytes)
    }

    /// Makes it count: from now on the changes are made, by whoever goes on.
    package func seal() throws {
        var bytes = [UInt8](repeating: 0, count: 16)
        bytes.store(Journal.end, at: 0, .big)
        try synchronize()
        try write(bytes + digest.bytes)
        try synchronize()
        isSealed = true
        try place.folder.synchronize()
    }

    private func write(_ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { try writeWhole($0, to: descriptor, at: position, of: place.path) }
        position += UInt64(bytes.count)
    }

    private func synchronize() throws {
        guard retried({ fsync(descriptor) }) == 0 else {
            throw DiskImageError.system(place.path, "syncing to disk")
        }
    }
}

extension Journal {
    /// Makes all changes in `file`, some of which may have been made already, and that durable.
    /// Throws `badData`, and changes nothing, where a place holds neither its old nor its new
    /// bytes.
    package func apply(to file: PatchedFile) throws {
        try check(file)
        try forEachChange { change in try change.new.withUnsafeBytes { try file.write($0, at: change.offset) }
        }
        try file.synchronize()
    }

    /// Throws `badData` where a byte of a place of `file` is neither the old nor the new one.
    package func check(_ file: PatchedFile) throws {
        let reading = try file.reading()
        try forEachChange { change in
            var found = [UInt8](repeating: 0, count: change.old.count)
            let count = try found.withUnsafeMutableBytes {
                try reading.readAvailable(into: $0, at: change.offset)
            }
            // A write may have been torn anywhere.
            let isOurs = found.indices.allSatisfy {
                found[$0] == change.old[$0] || found[$0] == change.new[$0]
            }
            guard count == found.count, isOurs else {
                throw DiskImageError(
                    .badData, file.path,
                    "holds at offset \(change.offset) neither what was there when \(head.command.name) began nor what is to come there: something wrote to it since (nothing is changed; \(Journal.place(of: file.place).path) has both)"
                )
            }
        }
    }

    /// Ends it: `file` is what it was to become.
    package static func remove(of file: PatchedFile) throws {
        let place = place(of: file.place)
        guard place.remove() || Errno.current == .noSuchFileOrDirectory else {
            throw DiskImageError.system(place.path, "cannot be removed", .current, .target)
        }
        try place.folder.synchronize()
    }
}
