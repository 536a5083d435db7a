extension CowHeader {
    /// Whether a file that begins with `bytes` is a COW file of some version: by its magic number,
    /// in either byte order.
    package static func isCow(_ bytes: [UInt8]) -> Bool {
        bytes.number(UInt32.self, at: 0, .big) == magic || bytes.number(UInt32.self, at: 0, .little) == magic
    }

    /// Every reading of a COW header that is plausible, at least one.
    ///
    /// `bytes` is the file's beginning, `longestHeader` bytes or all there are; `fileLength` the
    /// whole file's length in bytes. `layout` asks for one layout and no other. More than one
    /// reading can fit in version 2 alone, where four layouts share one magic number and version;
    /// the caller then compares sizes with the backing file's. Throws where none fits.
    package static func readings(of bytes: [UInt8], fileLength: UInt64, layout: CowLayout? = nil)
        throws(FormatError) -> [CowHeader]
    {
        let order: ByteOrder
        switch bytes.number(UInt32.self, at: 0, .big) {
        case magic: order = .big
        case magic.byteSwapped: order = .little
        case let found:
            let text = found.map { hex($0) } ?? "past the end of the file"
            throw .field("magic", at: 0, is: text, expected: "\(hex(magic)), the magic number of COW files")
        }
        guard let version = bytes.number(UInt32.self, at: 4, order) else {
            throw FormatError(.truncated, "the file ends at \(fileLength) bytes; expected a COW header")
        }
        if let layout {
            guard order == .big || layout == .umlV1 else {
                throw .field(
                    "magic", at: 0, is: "little-endian", expected: "big-endian in \(layout.rawValue)")
            }
            guard version == layout.fields.version else {
                throw .field(
                    "version", at: 4, is: version, expected: "\(layout.fields.version) for \(layout.rawValue)"
                )
            }
            return [try reading(of: bytes, as: layout, order, fileLength)]
        }
        let layouts = try layouts(of: bytes, version: version, order)
        var readings: [CowHeader] = []
        var refusals: [(CowLayout, FormatError)] = []
        for layout in layouts {
            do throws(FormatError) {
                let header = try reading(of: bytes, as: layout, order, fileLength)
                // A QEMU disk of size 0 has neither bitmap nor data: its file is its header.
                guard header.size > 0 || fileLength == UInt64(layout.fields.headerLength) else {
                    throw FormatError.field(
                        "size", at: layout.fields.size, is: 0,
                        expected: "more, as the file goes on behind its header")
                }
                readings.append(header)
            } catch {
                refusals.append((layout, error))
            }
        }
        guard readings.isEmpty else { return readings }
        if refusals.count == 1 { throw refusals[0].1 }
        if refusals.allSatisfy({ $0.1.kind == .truncated }) {
            throw FormatError(
                .truncated, "the file ends at \(fileLength) bytes; expected a COW header and its bitmap")
        }
        let reasons = refusals.map { "\($0.0.rawValue): \($0.1)" }.joined(separator: "; ")
        throw FormatError(.invalid, "no layout of version \(version) fits: \(reasons)")
    }

    /// The layouts that a version may be, told apart where one field does it.
    private static func layouts(of bytes: [UInt8], version: UInt32, _ order: ByteOrder) throws(FormatError)
        -> [CowLayout]
    {
        let layouts = CowLayout.allCases.filter { $0.fields.version == version }
        guard !layouts.isEmpty else {
            let known = Set(CowLayout.allCases.map(\.fields.version)).sorted()
            let expected =
                "\(known.dropLast().map(String.init).joined(separator: ", ")) or \(known.last ?? 0)"
            throw FormatError(.unsupported, "COW version at offset 4 is \(version); expected \(expected)")
        }
        guard order == .big || layouts.allSatisfy(\.fields.followsHost) else {
            throw .field("magic", at: 0, is: "little-endian", expected: "big-endian in version \(version)")
        }
        guard layouts.contains(.umlV3) else { return layouts }
        // A packed header has its path at 32, which is never empty; an unpacked one has cow_format
        // there, which is always 0.
        guard let word = bytes.number(UInt32.self, at: 32, .big) else {
            throw FormatError(
                .truncated,
                "the file ends at \(bytes.count) bytes; expected a COW header of version \(version)")
        }
        return layouts.filter { $0 != (word == 0 ? .umlV3 : .umlV3Unpacked) }
    }

    /// Reads `bytes` as `layout` and checks every field on its own and against the file's length.
    private static func reading(
        of bytes: [UInt8], as layout: CowLayout, _ order: ByteOrder, _ fileLength: UInt64
    ) throws(FormatError) -> CowHeader {
        let fields = layout.fields
        guard bytes.count >= fields.headerLength,
            let sector = bytes.number(UInt32.self, at: fields.sectorSize, order),
            let size = bytes.number(UInt64.self, at: fields.size, order),
            let mtime = mtime(in: bytes, layout, order)
        else {
            throw FormatError(
                .truncated,
                "the file ends at \(fileLength) bytes; expected a \(layout.rawValue) header of \(fields.headerLength) bytes"
            )
        }
        // UML takes 512 whatever the header says, uml_moo follows the header: any other value has
        // no one meaning.
        guard UInt64(sector) == sectorSize else {
            throw .field("sector size", at: fields.sectorSize, is: sector, expected: "512")
        }
        if let place = fields.cowFormat, let format = bytes.number(UInt32.self, at: place, order), format != 0
        {
            throw .field("cow_format", at: place, is: format, expected: "0 (a bitmap)")
        }
        let buffer = bytes[fields.path..<fields.path + fields.pathLength]
        // The bytes after the first NUL may be garbage: UML did not clear the buffer.
        guard let end = buffer.firstIndex(of: 0) else {
            throw .field(
                "backing path", at: fields.path, is: "without an end",
                expected: "a NUL within \(fields.pathLength) bytes")
        }
        let alignment =
            fields.alignment.flatMap { bytes.number(UInt32.self, at: $0, order) } ?? usualAlignment
        let header = try CowHeader(
            layout: layout, byteOrder: order, backingPath: Array(buffer[..<end]), mtime: mtime, size: size,
            alignment: alignment)
        let bitmapEnd = header.geometry.bitmapOffset + header.geometry.bitmapLength
        guard bitmapEnd <= fileLength else {
            throw FormatError(
                .truncated,
                "the bitmap of a \(layout.rawValue) disk of \(size) bytes ends at offset \(bitmapEnd), past the file's end at \(fileLength)"
            )
        }
        return header
    }

    /// Unpacked 64-bit builds gave mtime eight bytes: the value is in the first four, and in the
    /// last four where a build swapped all eight.
    private static func mtime(in bytes: [UInt8], _ layout: CowLayout, _ order: ByteOrder) -> UInt32? {
        let place = layout.fields.mtime
        let first = bytes.number(UInt32.self, at: place, order)
        guard first == 0, layout == .umlV2Unpacked || layout == .umlV3Unpacked else { return first }
        return bytes.number(UInt32.self, at: place + 4, order)
    }
}
