package import ImageFormats
internal import Linux
package import SystemPackage

/// What a user says an image is, where its content is not to decide: the value of `-f`, `-F` and
/// `--backing-format`.
package enum ImageFormat: Equatable, Sendable {
    case raw
    /// A COW file of any layout, or of one.
    case cow(CowLayout?)

    /// The name a user gives it: `raw`, `cow` or a layout's name.
    package init?(name: String) {
        switch name {
        case "raw": self = .raw
        case "cow": self = .cow(nil)
        default:
            guard let layout = CowLayout(rawValue: name) else { return nil }
            self = .cow(layout)
        }
    }

    /// The name that a user gives it.
    package var name: String {
        switch self {
        case .raw: "raw"
        case .cow(let layout): layout?.rawValue ?? "cow"
        }
    }
}

/// One file of a chain and what its bytes mean.
package struct ImageLayer: Sendable {
    /// The meaning of the file's bytes.
    package enum Content: Equatable, Sendable {
        case raw
        case cow(CowHeader)
    }

    package let file: ImageFile
    package let content: Content

    package init(file: ImageFile, content: Content) {
        self.file = file
        self.content = content
    }

    /// Opens `path` alone as what it is known to be, whatever its bytes look like: a COW file of
    /// `layout`, or raw where that is nil.
    package init(opening path: FilePath, as layout: CowLayout?) throws {
        try self.init(try ImageFile(opening: path), as: layout)
    }

    /// As above, of a file that is open.
    package init(_ file: ImageFile, as layout: CowLayout?) throws {
        guard let layout else {
            self.init(file: file, content: .raw)
            return
        }
        var bytes = [UInt8](repeating: 0, count: CowHeader.longestHeader)
        let count = try bytes.withUnsafeMutableBytes { try file.readAvailable(into: $0, at: 0) }
        do throws(FormatError) {
            let readings = try CowHeader.readings(
                of: Array(bytes[..<count]), fileLength: file.length, layout: layout)
            self.init(file: file, content: .cow(readings[0]))
        } catch {
            throw DiskImageError.format(error, file.path)
        }
    }

    package var path: FilePath { file.path }

    /// The COW header, where it has one.
    package var header: CowHeader? {
        if case .cow(let header) = content { header } else { nil }
    }

    /// `raw` or `cow`, as `info` prints it.
    package var formatName: String { header == nil ? "raw" : "cow" }

    /// The exact name: `raw` or the layout's.
    package var layoutName: String { header?.layout.rawValue ?? "raw" }

    /// The disk's size in bytes as header or file say, not always whole sectors.
    package var size: UInt64 { header?.size ?? file.length }

    /// The disk's length in bytes as a guest sees it: `size` rounded up to whole sectors.
    package var guestLength: UInt64 { (size + sectorSize - 1) / sectorSize * sectorSize }

    /// The name of the backing file as the header has it, nil where there is none.
    package var backingPath: FilePath? {
        guard let path = header?.backingPath, !path.isEmpty else { return nil }
        return FilePath(bytes: path)
    }

    /// What the file is taken for by its bytes although it is meant as raw, as UML reads every
    /// backing file; nil where there is no doubt.
    package func disguise() throws -> RawDisguise? {
        guard header == nil else { return nil }
        var bytes = [UInt8](repeating: 0, count: RawDisguise.prefixLength)
        let count = try bytes.withUnsafeMutableBytes { try file.readAvailable(into: $0, at: 0) }
        return RawDisguise(Array(bytes[..<count]), fileLength: file.length)
    }

    /// The first allocated sector whose data the file does not hold, or nil: the file was truncated
    /// where there is one.
    ///
    /// Only bits past the file's end are looked at. Bytes that a last partial sector lacks do not
    /// count.
    package func firstTruncatedSector() throws -> UInt64? {
        guard let header else { return nil }
        let geometry = header.geometry
        let held = file.length > geometry.dataOffset ? file.length - geometry.dataOffset : 0
        guard held < header.size else { return nil }
        var cursor = LayerCursor(self)
        var position = held / sectorSize * sectorSize
        while position < geometry.guestLength {
            let (answer, end) = try cursor.answer(at: position, upTo: geometry.guestLength)
            if answer != .unallocated { return position / sectorSize }
            position = end
        }
        return nil
    }

    /// Bytes of guest disk that this layer holds itself, counted from its bitmap; a raw layer holds
    /// what is not hole.
    package func allocatedBytes() throws -> UInt64 {
        var cursor = LayerCursor(self)
        var position: UInt64 = 0
        var total: UInt64 = 0
        while position < guestLength {
            let (answer, end) = try cursor.answer(at: position, upTo: guestLength)
            switch answer {
            case .data: total += end - position
            case .zero: total += header == nil ? 0 : end - position
            case .unallocated: break
            }
            position = end
        }
        return total
    }
}
