package import DiskImages
internal import ImageFormats
internal import JSON
package import Linux

/// What an archive holds: its first record. The digest of that record is the archive's id.
package struct ArchiveHeader: Equatable, Sendable {
    /// The version of the archive's format.
    package static let version = 2
    /// The most layers of one archive, and the most names.
    package static let mostLayers = 1 << 16
    /// The longest header that is read, in bytes of JSON.
    package static let longest = 32 << 20

    /// How the payload was made.
    package struct Options: Equatable, Sendable {
        /// `none`, `lz4` or `lz4:LEVEL`.
        package let compression: String
        /// Whether every image is what its guest sees, without layers.
        package let flatten: Bool
        /// The shortest run of zeros that has no payload, in bytes.
        package let zeroRun: Int
        /// True where content that an earlier layer stores may be referred to; else absent.
        package let dedup: Bool?

        package init(compression: String, flatten: Bool, zeroRun: Int, sharesContent: Bool = false) {
            self.compression = compression
            self.flatten = flatten
            self.zeroRun = zeroRun
            dedup = sharesContent ? true : nil
        }

        /// Whether runs may be references.
        package var sharesContent: Bool { dedup == true }
    }

    /// The archive that an incremental one stands on.
    package struct Parent: Encodable, Equatable, Sendable {
        /// What it holds, however it is stored: `ArchiveState`, in hexadecimal.
        package let state: String
        /// Its id when the incremental one was made.
        package let id: String
        /// The last component of its path then.
        package let name: String

        package init(state: String, id: String, name: String) {
            (self.state, self.id, self.name) = (state, id, name)
        }
    }

    /// One file of a chain. Layers stand in the order of their data in the archive: a backing file
    /// before its overlays.
    package struct Layer: Equatable, Sendable {
        /// Components joined by `/`.
        package let name: String
        /// Further names of the same file, each of which is restored as a file of its own; absent
        /// where there are none.
        package let also: [String]?
        /// `raw` or the COW layout it is restored in.
        package let layout: String
        /// The disk's size in bytes, as file length (raw) or header have it.
        package let size: UInt64
        /// The file's modification time, `SECONDS.NANOSECONDS`.
        package let mtime: String
        /// Index of the backing layer; absent where there is none.
        package let backing: Int?
        /// Bitmap and data begin at multiples of it; `uml-v3` alone.
        package let alignment: UInt32?
        /// Whether it was named as an image to be packed; others are only backing files.
        package let image: Bool
        /// The file's permission bits, and the ids of its owner and group; of a flattened image,
        /// what its files have in common. All three or none: an archive of before has none.
        package let mode: UInt32?
        package let owner: UInt32?
        package let group: UInt32?
        /// The parent's layer that it is, whole; such a layer has no records. Absent where it has
        /// some.
        package var same: Int? = nil
        /// True for a small file, or a link, that travels with the images; else absent.
        package internal(set) var with: Bool? = nil
        /// Where a symbolic link leads; absent of everything else.
        package var link: String? = nil

        /// `names` are the layer's and its further ones, at least one.
        package init(
            names: [String], format: FormatDescription, size: UInt64, mtime: String, backing: Int?,
            isImage: Bool, access: FileAccess? = nil
        ) {
            (mode, owner, group) = (access?.mode, access?.owner, access?.group)
            name = names[0]
            also = names.count > 1 ? Array(names.dropFirst()) : nil
            (layout, alignment) = (format.layout, format.alignment)
            self.size = size
            self.mtime = mtime
            self.backing = backing
            image = isImage
        }

        /// Whether it is a small file or a link that travels with the images.
        package var isCompanion: Bool {
            get { with == true }
            set { with = newValue ? true : nil }
        }
        /// Whether it is a raw image.
        package var isRaw: Bool { layout == ImageFormat.raw.name }

        /// Who might read and write the file, and whose it was; nil where the archive does not say.
        package var access: FileAccess? {
            guard let mode, let owner, let group else { return nil }
            return FileAccess(mode: mode, owner: owner, group: group)
        }

        /// All names of the file.
        package var names: [String] { [name] + (also ?? []) }

        /// `mtime` as a time. The header was checked to have one.
        package var time: Timestamp { Timestamp(text: mtime) ?? Timestamp(seconds: 0, nanoseconds: 0) }

        /// The disk's length in bytes as a guest sees it: whole sectors.
        package var guestLength: UInt64 { (size + 511) / 512 * 512 }

        /// The part of the disk that the archive has records of: none of a layer that is the
        /// parent's.
        package var recordedLength: UInt64 { same == nil ? guestLength : 0 }

        /// The part of the disk that the layer can hold: `uml-v2` has no bits for the last sectors
        /// where their number is no multiple of 8.
        var heldLength: UInt64 {
            layout == CowLayout.umlV2.rawValue ? guestLength / 4096 * 4096 : guestLength
        }
    }

    package let version: Int
    package let options: Options
    package let layers: [Layer]
    /// Absent where the archive stands alone.
    package let parent: Parent?

    package init(options: Options, layers: [Layer], parent: Parent? = nil) {
        version = ArchiveHeader.version
        self.options = options
        self.layers = layers
        self.parent = parent
    }

    /// Parses and checks everything that can be checked without the data.
    package init(parsing bytes: [UInt8]) throws {
        try JSONBounds.check(bytes, "header")
        do {
            self = try ArchiveHeader.read(bytes)
        } catch is JSONReader.Fault {
            throw ArchiveError(.damaged, "its header is no header")
        }
        try check()
    }

    private func check() throws {
        guard nameCount <= ArchiveHeader.mostLayers else {
            throw ArchiveError(
                .damaged, "has \(nameCount) files; expected \(ArchiveHeader.mostLayers) at most")
        }
        try checkNames()
        try checkParent()
        var depths: [Int] = []
        for (index, layer) in layers.enumerated() {
            guard layer.isRaw || CowLayout.writable.contains(where: { $0.rawValue == layer.layout })
            else {
                throw ArchiveError(.damaged, "\(layer.name) has an unknown layout, \(layer.layout)")
            }
            guard !layer.isRaw || layer.backing == nil else {
                throw ArchiveError(.damaged, "\(layer.name) is raw and has a backing file")
            }
            guard layer.size <= UInt64(Int64.max) - 511 else {
                throw ArchiveError(.damaged, "\(layer.name) has an impossible size of \(layer.size)")
            }
            guard Timestamp(text: layer.mtime) != nil else {
                throw ArchiveError(
                    .damaged,
                    "\(layer.name) has the mtime \(layer.mtime); expected SECONDS.NANOSECONDS, nine digits of them"
                )
            }
            if let link = layer.link {
                guard layer.isRaw, layer.isCompanion, layer.size == 0, !link.isEmpty, link.utf8.count < 4096,
                    !link.utf8.contains(0)
                else { throw ArchiveError(.damaged, "\(layer.name) is a link that cannot be") }
            }
            if let backing = layer.backing, layers.indices.contains(backing), layers[backing].isCompanion {
                throw ArchiveError(.damaged, "\(layer.name) stands on a file that is no image")
            }
            if let backing = layer.backing, backing < 0 || backing >= index {
                throw ArchiveError(
                    .damaged,
                    "\(layer.name) names layer \(backing) as its backing file; expected one before it")
            }
            depths.append((layer.backing.map { depths[$0] } ?? 0) + 1)
            guard depths[index] <= ImageChain.deepest else {
                throw ArchiveError(.damaged, "\(layer.name) stands on more than \(ImageChain.deepest) layers")
            }
        }
    }

    private func checkParent() throws {
        if let parent {
            guard ContentDigest(hex: parent.state) != nil, ContentDigest(hex: parent.id) != nil,
                !parent.name.isEmpty, !parent.name.utf8.contains(where: { $0 == 0 || $0 == 0x2f }),
                parent.name != ".", parent.name != ".."
            else { throw ArchiveError(.damaged, "names no archive that it could stand on") }
        }
        for layer in layers {
            guard let same = layer.same else { continue }
            guard parent != nil, same >= 0, same < ArchiveHeader.mostLayers else {
                throw ArchiveError(.damaged, "\(layer.name) is to be a layer of a parent that there is not")
            }
        }
    }

    private func checkNames() throws {
        // By bytes: a String takes names for equal that only look the same.
        var seen: Set<[UInt8]> = []
        for (index, layer) in layers.enumerated() {
            for name in layer.names {
                if let fault = ArchiveName.fault(of: name) {
                    throw ArchiveError(.damaged, "layer \(index) has a name that \(fault)")
                }
                guard seen.insert(Array(name.utf8)).inserted else {
                    throw ArchiveError(.damaged, "two layers have the name \(name)")
                }
            }
        }
        if let (folder, name) = ArchiveName.folder(among: Array(seen)) {
            let text = { String(decoding: $0 as [UInt8], as: UTF8.self) }
            throw ArchiveError(.damaged, "\(text(folder)) is a layer and a folder of \(text(name))")
        }
    }

    /// The files that the archive is unpacked to.
    package var nameCount: Int { layers.reduce(0) { $0 + $1.names.count } }

    /// The layers of the chain of `layer`, top first.
    package func chain(of layer: Int) -> [Int] {
        var chain = [layer]
        while let next = layers[chain[chain.count - 1]].backing { chain.append(next) }
        return chain
    }
}
