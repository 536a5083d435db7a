internal import DiskImages
internal import SystemPackage

/// What a new header must know of the backing file that it names, whether the file is there or still to be written.
struct NamedBacking {
    /// The path that the header gets.
    let name: FilePath
    /// What messages call it.
    let path: FilePath
    /// The disk's size in bytes, not always whole sectors.
    let size: UInt64
    let mtime: Timestamp
    let isCow: Bool
    /// Whether it is meant as raw bytes and looks like a COW file.
    var isCowReadAsRaw = false

    /// The disk's length in bytes as a guest sees it.
    var guestLength: UInt64 { (size + 511) / 512 * 512 }
}

extension NamedBacking {
    /// A file that is there.
    init(_ layer: ImageLayer, name: FilePath) throws {
        self.init(
            name: name, path: layer.path, size: layer.size, mtime: layer.file.identity.mtime, isCow: layer.header != nil,
            isCowReadAsRaw: try layer.isCowReadAsRaw())
    }
}
