package import DiskImages
internal import ImageFormats
internal import Linux
package import SystemPackage

/// What a new header must know of the backing file that it names, whether the file is there or
/// still to be written.
package struct BackingReference {
    /// The path that the header gets.
    let name: FilePath
    /// What messages call it.
    let path: FilePath
    /// The disk's size in bytes, not always whole sectors.
    let size: UInt64
    let mtime: Timestamp
    let format: ImageFormat
    /// What it looks like, where it is meant as raw bytes.
    var disguise: RawDisguise? = nil

    init(
        name: FilePath, path: FilePath, size: UInt64, mtime: Timestamp, format: ImageFormat,
        disguise: RawDisguise? = nil
    ) {
        self.name = name
        self.path = path
        self.size = size
        self.mtime = mtime
        self.format = format
        self.disguise = disguise
    }

    /// The raw copy of `base`, of `size` bytes, that is to be made at `path`.
    package init(copyOf base: ChainFacts.Layer, size: UInt64, at path: FilePath, disguise: RawDisguise?) {
        self.init(
            name: path.absolute, path: path, size: size, mtime: base.identity.mtime, format: .raw,
            disguise: disguise)
    }

    /// Whether it is an overlay itself, or might be.
    var isOverlay: Bool { format != .raw }

    /// The disk's length in bytes as a guest sees it.
    var guestLength: UInt64 { (size + 511) / 512 * 512 }
}

extension BackingReference {
    /// A file that is there.
    init(_ layer: ImageLayer, name: FilePath) throws {
        self.init(
            name: name, path: layer.path, size: layer.size, mtime: layer.file.identity.mtime,
            format: layer.content.format,
            disguise: try layer.disguise())
    }
}

extension BackingReference {
    /// Why an overlay in `layout` that names this backing file would show another disk, or none,
    /// when it is opened again: no header says that the file is raw. nil where it is read as what
    /// it is.
    ///
    /// QEMU looks at the content. UML reads raw bytes; Drover, which reads chains of UML overlays
    /// too, goes by the size, where that tells.
    func misreading(under layout: CowLayout) -> String? {
        let what = "an overlay of \(path) as raw bytes, because it"
        switch disguise {
        case nil: return nil
        case .cow(let sizes) where layout.isUML:
            return sizes.contains(size)
                ? "\(what) is a COW file, whose disk has the same size as the file" : nil
        case .cow: return "\(what) is a COW file"
        case .foreign where layout.isUML: return nil
        case .foreign(let format): return "\(what) begins as if it were \(format.name)"
        }
    }
}
