internal import CLinux
internal import Glibc
internal import ImageFormats
internal import Linux
package import SystemPackage

/// The record of changes that are made in place, `FILE.journal` beside the file: what was there,
/// and what comes there. `Documentation/journal-format.md` has its bytes. A journal counts from its
/// last bytes on, which vouch for all before them; one without them began nothing.
package struct Journal: Sendable {
    /// Which command makes the changes, and goes on with them.
    package enum Command: UInt32, Sendable {
        case rebase = 1
        case commit = 2

        /// What a message calls it.
        package var name: String { self == .rebase ? "drover rebase" : "drover commit" }
    }

    /// What a journal begins with.
    package struct Head: Equatable, Sendable {
        package let command: Command
        /// The file that is changed.
        package let device: UInt64
        package let inode: UInt64
        /// Of a commit's base, the overlay that is merged into it; 0 elsewhere.
        package let partnerDevice: UInt64
        package let partnerInode: UInt64
        /// The time that a commit gives its base, in seconds since 1970; 0 elsewhere.
        package let mtime: UInt64

        package init(
            _ command: Command, of file: FileIdentity, partner: FileIdentity? = nil, mtime: UInt64 = 0
        ) {
            self.command = command
            (device, inode) = (file.device, file.inode)
            (partnerDevice, partnerInode) = (partner?.device ?? 0, partner?.inode ?? 0)
            self.mtime = mtime
        }

        /// Whether it is about `file`. A device may have another number after a restart.
        func isOf(_ file: FileIdentity) -> Bool { inode == file.inode }
        /// Whether `file` is merged into the one that it is about.
        package func hasPartner(_ file: FileIdentity) -> Bool { partnerInode == file.inode }
    }

    /// A place that is overwritten.
    package struct Change: Equatable, Sendable {
        package let offset: UInt64
        package let old: [UInt8]
        package let new: [UInt8]

        package init(at offset: UInt64, old: [UInt8], new: [UInt8]) {
            (self.offset, self.old, self.new) = (offset, old, new)
        }
    }

    /// The most bytes of one change.
    package static let longestChange = 64 << 10
    static let magic = Array("DROVER-JOURNAL\n\u{1}".utf8)
    static let headLength = 64
    /// Where the last bytes stand for an offset.
    static let end = UInt64.max

    package let head: Head
    private let file: ImageFile
    /// Length of what the last bytes vouch for.
    private let length: UInt64

    /// Where the journal of the file at `place` lies.
    package static func place(of place: FilePlace) -> FilePlace { place.withSuffix(".journal") }

    /// The journal beside `place`, of `file`, which has that name; nil where there is none that
    /// counts.
    package init?(of file: FileIdentity, at place: FilePlace) throws {
        let journal = Journal.place(of: place)
        guard let status = try journal.status(), status.st_mode & S_IFMT == S_IFREG,
            status.st_mode & 0o022 == 0,
            try status.st_uid == geteuid() || status.st_uid == place.status()?.st_uid
        else { return nil }
        do {
            try self.init(ImageFile(opening: journal), of: file)
        } catch let error as DiskImageError where error.kind == .unavailable && error.isMissing {
            return nil
        }
    }

    private init?(_ journal: ImageFile, of file: FileIdentity) throws {
        let bytes = try journal.prefix(Journal.headLength)
        guard bytes.count == Journal.headLength, bytes.starts(with: Journal.magic),
            let command = bytes.number(UInt32.self, at: 16, .big).flatMap(Command.init(rawValue:))
        else { return nil }
        func number(_ offset: Int) -> UInt64 { bytes.number(UInt64.self, at: offset, .big) ?? 0 }
        head = Head(
            command: command, device: number(24), inode: number(32), partnerDevice: number(40),
            partnerInode: number(48), mtime: number(56))
        guard head.isOf(file) else { return nil }
        var reader = JournalReader(journal)
        while try reader.next() != nil {}
        guard let length = reader.soundLength else { return nil }
        (self.file, self.length) = (journal, length)
    }

    /// Hands out all changes in their order.
    package func forEachChange(_ body: (Change) throws -> Void) throws {
        var reader = JournalReader(file)
        while let change = try reader.next() { try body(change) }
    }

    /// Throws `unavailable` where changes of `file` were begun and not ended: only the command that
    /// makes them may go on. `place`: where the file lies, if that was found only now.
    package static func checkNone(of file: ImageFile, at place: FilePath? = nil) throws {
        let path = place ?? (try? resolved(file.path)) ?? file.path
        // Mostly there is none, and nothing need be opened to see that.
        guard try ImageFile.identity(at: path.withSuffix(".journal")) != nil,
            let journal = try Journal(of: file.identity, at: FilePlace(following: path))
        else { return }
        let image = journal.head.partnerInode == 0 ? "\(file.path)" : "its overlay"
        throw DiskImageError(
            .unavailable, file.path,
            "is being changed in place, and that was interrupted (\(journal.head.command.name) of \(image) goes on with it)"
        )
    }
}

extension Journal.Head {
    fileprivate init(
        command: Journal.Command, device: UInt64, inode: UInt64, partnerDevice: UInt64, partnerInode: UInt64,
        mtime: UInt64
    ) {
        self.command = command
        (self.device, self.inode) = (device, inode)
        (self.partnerDevice, self.partnerInode, self.mtime) = (partnerDevice, partnerInode, mtime)
    }

    var serialized: [UInt8] {
        var bytes = Journal.magic + [UInt8](repeating: 0, count: Journal.headLength - Journal.magic.count)
        bytes.store(command.rawValue, at: 16, .big)
        for (index, number) in [device, inode, partnerDevice, partnerInode, mtime].enumerated() {
            bytes.store(number, at: 24 + 8 * index, .big)
        }
        return bytes
    }
}

/// Reads a journal's changes one after the other.
struct JournalReader {
    private let file: ImageFile
    private var position = UInt64(Journal.headLength)
    private var digest: ContentDigest
    /// The length of all changes, once the last bytes were found and vouch for them.
    private(set) var soundLength: UInt64?

    init(_ file: ImageFile) {
        self.file = file
        digest = ContentDigest(of: (try? file.prefix(Journal.headLength)) ?? [])
    }

    /// The next change; nil at the end, or where what is there is none.
    mutating func next() throws -> Journal.Change? {
        let head = try bytes(16)
        guard let offset = head.number(UInt64.self, at: 0, .big),
            let length = head.number(UInt64.self, at: 8, .big)
        else { return nil }
        guard offset != Journal.end else {
            let last = try bytes(16, skipping: 16)
            if last == digest.bytes, length == 0 { soundLength = position }
            return nil
        }
        guard length > 0, length <= UInt64(Journal.longestChange), offset <= UInt64(Int64.max) - length else {
            return nil
        }
        let count = Int(length)
        let whole = try bytes(16 + 2 * count)
        guard whole.count == 16 + 2 * count else { return nil }
        digest = ContentDigest(of: digest.bytes + whole)
        position += UInt64(whole.count)
        return Journal.Change(
            at: offset, old: Array(whole[16..<16 + count]), new: Array(whole[(16 + count)...]))
    }

    private func bytes(_ count: Int, skipping: UInt64 = 0) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let read = try bytes.withUnsafeMutableBytes {
            try file.readAvailable(into: $0, at: position + skipping)
        }
        return Array(bytes[..<read])
    }
}
