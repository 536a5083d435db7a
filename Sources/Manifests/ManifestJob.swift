package import DiskImages
internal import Linux
package import SystemPackage

/// The first record of a manifest: which move it is.
package struct ManifestJob: Equatable, Sendable {
    /// The version of the manifest's format.
    package static let version = 1

    /// A file that is read: one layer of the source's chain, top first, or the backing file that is
    /// named.
    package struct Source: Equatable, Sendable {
        package let path: String
        package let size: UInt64
        /// Seconds and nanoseconds, as text, because JSON numbers lose digits.
        package let mtime: String
        package let inode: UInt64
        /// As `mtime`: the time that tells of every change since the file was read. nil where
        /// nothing does, and in records of before.
        package var ctime: String? = nil
        /// True for a block device, whose node says nothing of its content.
        package var device: Bool? = nil
        package let layout: String
        /// Of a layer in an archive, the digest of its last record, which stands for all before it;
        /// nil where that is not known beforehand, and of files.
        package var digest: String? = nil

        package init(
            path: String, size: UInt64, mtime: String, inode: UInt64, layout: String, digest: String? = nil
        ) {
            self.path = path
            self.size = size
            self.mtime = mtime
            self.inode = inode
            self.layout = layout
            self.digest = digest
        }

        /// Equal where nothing is known to differ: renamed, linked or given another mode, a file is
        /// still the one that it was. A device's node has no time that counts. From a pipe, the
        /// digest comes too late.
        package static func == (a: Source, b: Source) -> Bool {
            a.isSameFile(as: b) && a.size == b.size && (a.mtime == b.mtime || a.device == true)
                && a.layout == b.layout
                && (a.digest == nil || b.digest == nil || a.digest == b.digest)
        }

        /// By inode or last component. What lies in an archive has no inode, and goes by its whole
        /// name, as a device's node does.
        private func isSameFile(as other: Source) -> Bool {
            guard inode != 0, other.inode != 0, device == nil, other.device == nil else {
                return path == other.path && device == other.device
            }
            return inode == other.inode || FilePath(path).lastComponent == FilePath(other.path).lastComponent
        }

        /// Whether one of the recorded files is still there under its path, beside the one of the
        /// same name that is read `now`: two files, and not one that was moved.
        package static func areOthers(_ recorded: [Source], than now: [Source]) -> Bool {
            zip(recorded, now).contains { recorded, now in
                guard recorded.inode != 0, recorded.inode != now.inode, recorded.path != now.path else {
                    return false
                }
                do {
                    return try ImageFile.identity(at: FilePath(recorded.path))?.inode == recorded.inode
                } catch {
                    // Where that cannot be seen, nothing is taken for the same.
                    return true
                }
            }
        }

        /// Whether it is known that the content is what it was when `earlier` was recorded: what
        /// that says of the content can be believed.
        package func isProven(by earlier: Source) -> Bool {
            self == earlier && inode == earlier.inode && ctime != nil && ctime == earlier.ctime
        }

        package init(_ layer: ChainFacts.Layer) throws {
            path = (try? resolved(layer.path))?.description ?? layer.path.description
            size = layer.identity.size
            mtime = layer.identity.mtime.description
            inode = layer.identity.inode
            device = layer.identity.isBlockDevice ? true : nil
            layout = layer.layout
        }

        package init(_ layer: ImageLayer) throws { try self.init(layer, named: nil) }

        /// `named` is the last component that it will have, where it still has another.
        package init(_ layer: ImageLayer, named: FilePath.Component?) throws {
            if let archived = layer.content.archived {
                (path, size, mtime) = (archived.name, archived.size, archived.mtime.description)
                (inode, layout, digest) = (0, layer.layoutName, archived.digest)
                return
            }
            let found = (try? layer.file.resolvedPath()) ?? layer.path
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
    package struct Options: Equatable, Sendable {
        package let format: String
        package let layout: String
        package let alignment: UInt32?
        /// How a qcow2 target's clusters are compressed; absent where they are not.
        package var compression: String? = nil
        /// True for a base that overlays will name: as long as its source, and with its source's
        /// modification time.
        package var base: Bool? = nil
        /// Layers of the source above the backing file, all of which the target holds; absent where
        /// the chain is flattened.
        package var depth: Int? = nil
        /// True where the target holds just what differs from the backing file, whatever layers it
        /// comes from.
        package var diff: Bool? = nil
        package var backing: Source? = nil
        /// The path that the target's header has for it.
        package var backingName: String? = nil
        package let zeroRun: Int
        package let segment: UInt64
        /// True where it is what could be saved of a damaged archive: no other job is the same,
        /// however equal its sources.
        package var salvaged: Bool? = nil

        /// `alignment` is that of a COW target's data, `zeroRun` the shortest run of zeros that is
        /// left out of what is read, both in bytes, as is `segment`.
        package init(
            format: String, layout: String, alignment: UInt32? = nil, zeroRun: Int, segment: UInt64
        ) {
            self.format = format
            self.layout = layout
            self.alignment = alignment
            self.zeroRun = zeroRun
            self.segment = segment
        }

        /// What differs, for people: "format raw, now qcow2; segment 1048576, now 67108864". Empty
        /// where nothing does.
        package func differences(from now: Options) -> String {
            func text(_ value: (some CustomStringConvertible)?) -> String { value.map { "\($0)" } ?? "none" }
            let fields: [(String, String, String)] = [
                ("format", format, now.format), ("layout", layout, now.layout),
                ("alignment", text(alignment), text(now.alignment)),
                ("compression", text(compression), text(now.compression)),
                ("made as a base", text(base), text(now.base)), ("depth", text(depth), text(now.depth)),
                ("difference", text(diff), text(now.diff)),
                (
                    "backing file", text(backingName ?? backing?.path),
                    text(now.backingName ?? now.backing?.path)
                ),
                ("shortest run of zeros", text(zeroRun), text(now.zeroRun)),
                ("segment", text(segment), text(now.segment)),
                ("salvaged", text(salvaged), text(now.salvaged)),
            ]
            return fields.filter { $0.1 != $0.2 }.map { "\($0.0) \($0.1), now \($0.2)" }.joined(
                separator: "; ")
        }
    }

    /// What is written.
    package struct Target: Equatable, Sendable {
        package let path: String
        /// Length of the guest disk in bytes.
        package let length: UInt64
        /// Length of the target's file in bytes; absent where that follows from what is stored.
        package let size: UInt64?

        package init(path: String, length: UInt64, size: UInt64?) {
            self.path = path
            self.length = length
            self.size = size
        }
    }

    /// A file that stood under the target's name when the move began, and that it replaces at its
    /// end.
    package struct Replaced: Equatable, Sendable {
        package let size: UInt64
        package let mtime: String

        package init(_ file: FileIdentity) {
            size = file.size
            mtime = file.mtime.description
        }

        /// Whether `file` is still that file.
        package func matches(_ file: FileIdentity) -> Bool {
            file.isRegular && file.size == size && file.mtime.description == mtime
        }
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

    package init(sources: [Source], options: Options, target: Target, consistent: Bool) {
        self.sources = sources
        self.options = options
        self.target = target
        self.consistent = consistent
    }

    /// The same job, of an archive that is damaged.
    package var salvaged: ManifestJob {
        var options = options
        options.salvaged = true
        return ManifestJob(sources: sources, options: options, target: target, consistent: consistent)
    }

    /// Whether the target was made of `source`: of a file at its path, or of that very file before
    /// it was moved.
    package func isOfSameSource(as source: Source?) -> Bool {
        guard let mine = sources.first, let source else { return false }
        return mine.path == source.path
            || (mine.inode == source.inode && mine.size == source.size && mine.mtime == source.mtime)
    }

    /// Whether what is read lies in an archive: then that can make it again.
    package var isOfArchive: Bool {
        !sources.isEmpty && sources.allSatisfy { $0.inode == 0 && $0.path.hasPrefix("archive ") }
    }

    /// Whether a source is a block device: nothing proves then that it is what it was, so that no
    /// run goes on with what another one began.
    package var readsDevice: Bool {
        (sources + [options.backing].compactMap(\.self)).contains { $0.device == true }
    }

    /// Whether `other`, a later job, is to make the same target of the same sources. Where the
    /// target lies does not count: its folder may have been moved.
    package func isSameRequest(as other: ManifestJob) -> Bool {
        sources == other.sources && options == other.options && target.length == other.target.length
            && target.size == other.target.size
            && consistent == other.consistent && !Source.areOthers(sources, than: other.sources)
            && !Source.areOthers(
                [options.backing].compactMap(\.self), than: [other.options.backing].compactMap(\.self))
    }

    /// Whether both make the same target, to the byte: what one has done is done for the other.
    package func isSameMove(as other: ManifestJob) -> Bool {
        isSameRequest(as: other) && !readsDevice && !other.readsDevice
    }
}
