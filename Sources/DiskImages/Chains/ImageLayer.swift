internal import ImageFormats
package import Linux
package import SystemPackage

/// One file of a chain and what its bytes mean.
package struct ImageLayer: Sendable {
    package let file: ImageFile
    package let content: any LayerContent

    package init(file: ImageFile, content: any LayerContent) {
        self.file = file
        self.content = content
    }

    /// Opens `path` alone as what it is known to be, whatever its bytes look like.
    package init(opening path: FilePath, as format: ImageFormat) throws {
        try self.init(try ImageFile(opening: path), as: format)
    }

    /// As above, of a file that is open.
    package init(_ file: ImageFile, as format: ImageFormat) throws {
        let options = ChainOptions(location: try BackingLocation())
        try self.init(file: file, content: options.content(of: file, as: format))
    }

    package var path: FilePath { file.path }

    /// The modification time of the image's file, also of one that is in an archive.
    package var mtime: Timestamp { content.archived?.mtime ?? file.identity.mtime }

    /// Whether both are one file, and the same image in it.
    package func isSame(as other: ImageLayer) -> Bool {
        file.identity.isSameFile(as: other.file.identity)
            && content.archived?.layer == other.content.archived?.layer
    }

    /// `raw` or `cow`, as `info` prints it.
    package var formatName: String { content.formatName }

    /// The exact name: `raw` or the layout's.
    package var layoutName: String { content.format.name }

    /// Whether the file answers for every sector of its disk.
    package var isRaw: Bool { content.isRaw }

    /// The disk's size in bytes as header or file say, not always whole sectors.
    package var size: UInt64 { content.size }

    /// The disk's length in bytes as a guest sees it: `size` rounded up to whole sectors.
    package var guestLength: UInt64 { (size + sectorSize - 1) / sectorSize * sectorSize }

    /// The name of the backing file as the header has it, nil where there is none.
    package var backingPath: FilePath? { content.backing?.path }

    /// What the file is taken for by its bytes although it is meant as raw, as UML reads every
    /// backing file; nil where there is no doubt.
    package func disguise() throws -> RawDisguise? {
        guard isRaw else { return nil }
        return RawDisguise(
            try content.beginning(of: file, RawDisguise.prefixLength),
            fileLength: content.archived?.size ?? file.length)
    }

    /// Bytes of guest disk that this layer holds itself, counted from its bitmap; a raw layer holds
    /// what is not hole.
    package func allocatedBytes() throws -> UInt64 {
        var cursor = content.cursor(over: file)
        var position: UInt64 = 0
        var total: UInt64 = 0
        while position < guestLength {
            let (answer, end) = try cursor.answer(at: position, upTo: guestLength)
            switch answer {
            case .data, .encoded: total += end - position
            case .zero: total += isRaw ? 0 : end - position
            case .absent: break
            }
            position = end
        }
        return total
    }
}
