import ImageFormats
import TestSupport
import Testing

/// Runs `body`, which must throw a `FormatError`, and returns it.
func formatError(
    _ comment: Comment? = nil, _ body: () throws -> Void, at location: SourceLocation = #_sourceLocation
) throws -> FormatError {
    try #require(
        #expect(throws: FormatError.self, comment, sourceLocation: location, performing: body), comment,
        sourceLocation: location)
}

struct CowHeaderRefusalTests {
    /// Why `bytes` are not read as `layout`.
    private func refusal(of bytes: [UInt8], as layout: CowLayout? = nil) throws -> FormatError {
        try formatError { _ = try CowHeader.readings(ofFile: bytes, as: layout) }
    }

    @Test(
        arguments: zip(
            Writer.all, [276, 4116, 4120, 1048, 1044, 20, 24, 276]))
    func refusesASectorSizeOtherThan512(writer: Writer, place: Int) throws {
        var image = writer.image()
        for size: UInt32 in [0, 1, 511, 1024, 4096, 0x8000_0000, .max] {
            image.sectorSizeField = size
            let error = try refusal(of: image.bytes, as: writer.layout)
            #expect(error == FormatError(.invalid, "sector size at offset \(place) is \(size); expected 512"))
        }
    }

    @Test(arguments: [(CowLayout.umlV3, 24), (.umlV3Unpacked, 28)])
    func refusesAnAlignmentThatIsNoPowerOfTwo(layout: CowLayout, place: Int) throws {
        var image = Writer(layout: layout).image()
        let sound = image.bytes
        for alignment: UInt32 in [0, 3, 4095, 0x8000_0000, .max] {
            image.alignment = alignment
            let error = try refusal(of: image.header + sound[image.header.count...], as: layout)
            #expect(
                error
                    == FormatError(
                        .invalid,
                        "alignment at offset \(place) is \(alignment); expected a power of two up to 1073741824"
                    ))
        }
    }

    @Test(arguments: [(CowLayout.umlV3, 28), (.umlV3Unpacked, 32)])
    func refusesACowFormatOtherThanABitmap(layout: CowLayout, place: Int) throws {
        var image = Writer(layout: layout).image()
        image.cowFormat = 1
        let error = try refusal(of: image.bytes, as: layout)
        #expect(error == FormatError(.invalid, "cow_format at offset \(place) is 1; expected 0 (a bitmap)"))
    }

    @Test(arguments: [0, 4, 0x0300_0000, UInt32.max])
    func refusesEveryOtherVersion(version: UInt32) throws {
        var image = Writer(layout: .umlV3).image()
        image.version = version
        let bytes = image.header + [UInt8](repeating: 0, count: 100_000)
        #expect(
            try refusal(of: bytes)
                == FormatError(.unsupported, "COW version at offset 4 is \(version); expected 1, 2 or 3"))
    }

    @Test(arguments: [(CowLayout.umlV2, 2), (.umlV3, 3)])
    func refusesALittleEndianHeaderOfAVersionThatHasNone(layout: CowLayout, version: Int) throws {
        var image = Writer(layout: layout).image()
        image.isLittleEndian = true
        let text = "magic at offset 0 is little-endian; expected big-endian in version \(version)"
        #expect(try refusal(of: image.bytes) == FormatError(.invalid, text))
    }

    @Test func theByteOrderIsTheReasonWhereTheLayoutAskedForIsBigEndian() throws {
        var image = Writer(layout: .umlV3).image()
        image.isLittleEndian = true
        let error = try refusal(of: image.bytes, as: .umlV3)
        #expect(error.kind == .invalid)
        #expect(error.description.contains("little-endian"), "\(error)")
    }

    @Test func refusesBytesWithoutTheMagic() throws {
        let error = try refusal(of: Array("QFI\u{fb}".utf8) + [UInt8](repeating: 0, count: 5000))
        #expect(
            error.description
                == "magic at offset 0 is 0x514649c3; expected 0x4f4f4f4d, the magic number of COW files")
    }

    @Test func refusesALayoutOfAnotherVersionThanTheFiles() throws {
        let error = try refusal(of: Writer(layout: .umlV3).image().bytes, as: .qemuV2)
        #expect(error == FormatError(.invalid, "version at offset 4 is 3; expected 2 for qemu-v2"))
    }

    @Test(
        arguments: zip(
            Writer.all,
            [(8, 256), (8, 4096), (8, 4096), (8, 1024), (8, 1024), (32, 4096), (36, 4096), (8, 256)]))
    func refusesAPathWithoutItsNUL(writer: Writer, buffer: (offset: Int, length: Int)) throws {
        let image = writer.image(backing: String(repeating: "x", count: buffer.length))
        let error = try refusal(of: image.bytes, as: writer.layout)
        let text =
            "backing path at offset \(buffer.offset) is without an end; expected a NUL within \(buffer.length) bytes"
        #expect(error == FormatError(.invalid, text))
    }

    @Test(arguments: Writer.all.filter { $0.layout.isUML })
    func refusesAUMLHeaderWithoutABackingFile(writer: Writer) throws {
        let error = try refusal(of: writer.image(backing: "").bytes, as: writer.layout)
        #expect(error.kind == .invalid)
        #expect(error.description.hasSuffix(" is empty; expected a path (UML always names a backing file)"))
    }

    @Test(arguments: Writer.all.filter { $0.layout.isUML })
    func refusesAUMLDiskOfNoSize(writer: Writer) throws {
        var image = writer.image(size: 0)
        image.length = 20_000
        let error = try refusal(of: image.bytes, as: writer.layout)
        #expect(error.kind == .invalid)
        #expect(error.description.hasSuffix(" is 0; expected a disk larger than 0 bytes"))
    }

    @Test(arguments: Writer.all)
    func refusesSizesWhoseOffsetsPass63Bits(writer: Writer) throws {
        let longest = UInt64(Int64.max)
        for size in [
            .max, .max - 1, .max - 511, .max - 512, longest + 1, longest, longest - 511, longest - 100_000,
        ] {
            let bytes = writer.image(size: size).header + [UInt8](repeating: 0, count: 100_000)
            let error = try refusal(of: bytes, as: writer.layout)
            #expect(error.kind == .invalid)
            #expect(
                error.description.hasSuffix(" is \(size); expected a disk whose offsets fit 63 bits"),
                "\(error)")
        }
    }

    @Test(arguments: Writer.all)
    func refusesABitmapPastTheEndOfTheFile(writer: Writer) throws {
        let image = writer.image(size: 1 << 40)
        let bytes = image.header + [UInt8](repeating: 0, count: 9000)
        let text =
            "the bitmap of a \(writer.layout.rawValue) disk of 1099511627776 bytes ends at offset \(image.bitmapEnd), past the file's end at \(bytes.count)"
        #expect(try refusal(of: bytes, as: writer.layout) == FormatError(.truncated, text))
    }
}
