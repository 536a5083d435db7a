internal import DiskImages
internal import FoundationEssentials
internal import SystemPackage

/// The first record of a manifest: which move it is.
package struct ManifestJob: Codable, Equatable, Sendable {
    /// The version of the manifest's format.
    static let version = 1

    /// A file that is read: one layer of the source's chain, top first, or the backing file that is named.
    package struct Source: Codable, Equatable, Sendable {
        package let path: String
        package let size: UInt64
        /// Seconds and nanoseconds, as text, because JSON numbers lose digits.
        package let mtime: String
        package let inode: UInt64
        /// As `mtime`: the time that tells of every change since the file was read. nil where nothing does, and in records of before.
        package var ctime: String? = nil
        /// True for a block device, whose node says nothing of its content.
        package var device: Bool? = nil
        package let layout: String
        /// Of a layer in an archive, the digest of its last record, which stands for all before it; nil where that is not known beforehand, and of
        /// files.
        package var digest: String? = nil

        init(path: String, size: UInt64, mtime: String, inode: UInt64, layout: String, digest: String? = nil) {
            self.path = path
            self.size = size
            self.mtime = mtime
            self.inode = inode
            self.layout = layout
            self.digest = digest
        }

        /// Equal where nothing is known to differ: renamed, linked or given another mode, a file is still the one that it was. A device's node has no
        /// time that counts. From a pipe, the digest comes too late.
        package static func == (a: Source, b: Source) -> Bool {
            a.isSameFile(as: b) && a.size == b.size && (a.mtime == b.mtime || a.device == true) && a.layout == b.layout
                && (a.digest == nil || b.digest == nil || a.digest == b.digest)
        }

        /// By inode or last component. What lies in an archive has no inode, and goes by its whole name, as a device's node does.
        private func isSameFile(as other: Source) -> Bool {
            guard inode != 0, other.inode != 0, device == nil, other.device == nil else {
                return path == other.path && device == other.device
            }
            return inode == other.inode || FilePath(path).lastComponent == FilePath(other.path).lastComponent
        }

        /// Whether one of the recorded files is still there under its path, beside the one of the same name that is read `now`: two files, and not one that
        /// was moved.
        static func areOthers(_ recorded: [Source], than now: [Source]) -> Bool {
            zip(recorded, now).contains { recorded, now in
                guard recorded.inode != 0, recorded.inode != now.inode, recorded.path != now.path else { return false }
                do {
                    return try ImageFile.identity(at: FilePath(recorded.path))?.inode == recorded.inode
                } catch {
                    // Where that cannot be seen, nothing is taken for the same.
                    return true
                }
            }
        }

        /// Whether it is known that the content is what it was when `earlier` was recorded: what that says of the content can be believed.
        func isProven(by earlier: Source) -> Bool { self == earlier && inode == earlier.inode && ctime != nil && ctime == earlier.ctime }

        init(_ layer: ChainFacts.Layer) throws {
            path = (try? resolved(layer.path))?.description ?? layer.path.description
            size = layer.identity.size
            mtime = layer.identity.mtime.description
            inode = layer.identity.inode
            device = layer.identity.isBlockDevice ? true : nil
            layout = layer.layout
        }

        init(_ layer: ImageLayer) throws { try self.init(layer, named: nil) }

        /// `named` is the last component that it will have, where it still has another.
        init(_ layer: ImageLayer, named: FilePath.Component?) throws {
            let found = (try? resolved(layer.path)) ?? layer.path
            path = (named.map { found.removingLastComponent().appending($0) } ?? found).description
            size = layer.file.length
            mtime = layer.file.identity.mtime.description
            inode = layer.file.identity.inode
            ctime = try layer.file.provingTime()?.description
            device = layer.file.identity.isBlockDevice ? true : nil
            layout = layer.layoutName
        }
    }

    /// What was asked for, as far as the result depends on it.
    package struct Options: Codable, Equatable, Sendable {
        package let format: String
        package let layout: String
        package let alignment: UInt32?
        /// True for a base that overlays will name: as long as its source, and with its source's modification time.
        package var base: Bool? = nil
        /// Layers of the source above the backing file, all of which the target holds; absent where the chain is flattened.
        package let depth: Int?
        package let backing: Source?
        /// The path that the target's header has for it.
        package let backingName: String?
        package let zeroRun: Int
        package let segment: UInt64
        /// True where it is what could be saved of a damaged archive: no other job is the same, however equal its sources.
        package var salvaged: Bool? = nil
    }

    /// What is written.
    package struct Target: Codable, Equatable, Sendable {
        package let path: String
        /// Length of the guest disk in bytes.
        package let length: UInt64
        /// Length of the target's file in bytes.
        package let size: UInt64
    }

    /// A file that stood under the target's name when the move began, and that it replaces at its end.
    package struct Replaced: Codable, Equatable, Sendable {
        package let size: UInt64
        package let mtime: String

        init(_ file: FileIdentity) {
            size = file.size
            mtime = file.mtime.description
        }

        /// Whether `file` is still that file.
        func matches(_ file: FileIdentity) -> Bool { file.isRegular && file.size == size && file.mtime.description == mtime }
    }

    package var record = "job"
    package var manifest = ManifestJob.version
    package var replaces: Replaced? = nil
    /// When the move began, in seconds since 1970.
    package var time: Double? = nil
    package let sources: [Source]
    package let options: Options
    package let target: Target
    /// False where a source was read although somebody writes to it.
    package let consistent: Bool

    /// The same job, of an archive that is damaged.
    var salvaged: ManifestJob {
        var options = options
        options.salvaged = true
        return ManifestJob(sources: sources, options: options, target: target, consistent: consistent)
    }

    /// Whether the target was made of `source`: of a file at its path, or of that very file before it was moved.
    func isOfSameSource(as source: Source?) -> Bool {
        guard let mine = sources.first, let source else { return false }
        return mine.path == source.path || (mine.inode == source.inode && mine.size == source.size && mine.mtime == source.mtime)
    }

    /// Whether a source is a block device: nothing proves then that it is what it was, so that no run goes on with what another one began.
    package var readsDevice: Bool { (sources + [options.backing].compactMap(\.self)).contains { $0.device == true } }

    /// Whether `other`, a later job, is to make the same target of the same sources. Where the target lies does not count: its folder may have been moved.
    func isSameRequest(as other: ManifestJob) -> Bool {
        sources == other.sources && options == other.options && target.length == other.target.length && target.size == other.target.size
            && consistent == other.consistent && !Source.areOthers(sources, than: other.sources)
            && !Source.areOthers([options.backing].compactMap(\.self), than: [other.options.backing].compactMap(\.self))
    }

    /// Whether both make the same target, to the byte: what one has done is done for the other.
    func isSameMove(as other: ManifestJob) -> Bool { isSameRequest(as: other) && !readsDevice && !other.readsDevice }
}

/// A stretch of guest disk that the target has, durably. `start` and `count` are sectors.
package struct ManifestSegment: Codable, Equatable, Sendable {
    package var record = "segment"
    package let start: UInt64
    package let count: UInt64
    /// `data`, `zero`, or `backing` for what is left to the target's backing file.
    package let kind: String
    package let digest: String
    /// When it was recorded, in seconds since 1970.
    package var time: Double? = nil

    init(_ range: Range<UInt64>, _ outcome: Outcome) {
        start = range.lowerBound / 512
        count = (range.upperBound - range.lowerBound) / 512
        kind = outcome.kind
        digest = outcome.digest.description
    }

    /// Equal is what is said of the target; when it was recorded does not count.
    package static func == (a: ManifestSegment, b: ManifestSegment) -> Bool {
        a.start == b.start && a.count == b.count && a.kind == b.kind && a.digest == b.digest
    }

    /// The range in bytes, or nil where it passes 2^63.
    package var range: Range<UInt64>? {
        let limit = UInt64(Int64.max) / 512
        guard count > 0, start <= limit, count <= limit - start else { return nil }
        return start * 512..<(start + count) * 512
    }

    /// What it holds, or nil where kind or digest are not what they may be.
    package var outcome: Outcome? {
        switch kind {
        case "zero": .zero
        case "backing": .backing
        case "data": ContentDigest(hex: digest).map { .data($0) }
        default: nil
        }
    }
}

/// The last record: the target is whole.
package struct ManifestCompletion: Codable, Equatable, Sendable {
    /// Sectors that could not be restored: the target has nothing there.
    package struct Lost: Codable, Equatable, Sendable {
        package let start: UInt64
        package let count: UInt64
    }

    package var record = "complete"
    /// The digest over all segments, the same however often the move was interrupted.
    package let digest: String
    /// The digest of what a COW file has before its bitmap; absent for raw.
    package let header: String?
    package let size: UInt64
    package let mtime: String
    /// What a salvage could not restore; absent in every other move.
    package var lost: [Lost]? = nil
    /// True where the target takes its name together with its family, and not by itself.
    package var held: Bool? = nil
    /// When it was recorded, in seconds since 1970.
    package var time: Double? = nil
}

/// Behind a base's last record: it and these overlays of it are whole, and their names are being given.
package struct ManifestFamily: Codable, Equatable, Sendable {
    /// One overlay.
    package struct Member: Codable, Equatable, Sendable {
        /// Its target, absolute.
        package let target: String
        /// The digest of its completion.
        package let digest: String
    }

    package let members: [Member]
    package var record = "family"
    package var time: Double? = nil

    init(_ members: [Member]) { self.members = members }

    /// Whether the overlay whose file is called `target` belongs to it.
    func names(_ target: FilePath) throws -> Bool {
        let name = try ManifestFamily.name(of: target)
        return members.contains { $0.target == name }
    }

    /// The name of a target's file for a record, links resolved.
    static func name(of target: FilePath) throws -> String {
        let file = try FilePlace(following: target).path
        let folder = file.removingLastComponent()
        return try resolved(folder.isEmpty ? "." : folder).pushing(FilePath(root: nil, file.components.suffix(1))).description
    }
}

/// Why the last try failed; a later record of any other kind says that it goes on.
package struct ManifestFailure: Codable, Equatable, Sendable {
    package let failure: String
    package var record = "failure"
    package var time: Double? = nil

    package init(_ reason: String) { failure = reason }
}

extension ManifestSegment {
    /// The ranges of `segments` in bytes, in the disk's order, neighbours taken together.
    static func ranges(of segments: [ManifestSegment]) -> [Range<UInt64>] {
        var ranges: [Range<UInt64>] = []
        for range in segments.compactMap(\.range).sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = ranges.last, last.upperBound == range.lowerBound {
                ranges[ranges.count - 1] = last.lowerBound..<range.upperBound
            } else {
                ranges.append(range)
            }
        }
        return ranges
    }

    /// The digest over segments that cover a disk: of a line `START COUNT KIND DIGEST` for each, in order, neighbours without data taken together.
    static func digest(of segments: [ManifestSegment]) -> ContentDigest {
        var text: [UInt8] = []
        var index = 0
        let ordered = segments.sorted { $0.start < $1.start }
        while index < ordered.count {
            let first = ordered[index]
            var count = first.count
            index += 1
            while first.kind != "data", index < ordered.count, ordered[index].kind == first.kind {
                count += ordered[index].count
                index += 1
            }
            text += Array("\(first.start) \(count) \(first.kind) \(first.digest)\n".utf8)
        }
        return ContentDigest(of: text)
    }
}
