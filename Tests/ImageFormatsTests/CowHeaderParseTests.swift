import ImageFormats
import TestSupport
import Testing

/// A layout in one byte order: what a file of one writer looks like.
struct Writer: Sendable, CustomTestStringConvertible {
    let layout: CowLayout
    var isLittleEndian = false

    static let all =
        CowLayout.allCases.map { Writer(layout: $0) } + [Writer(layout: .umlV1, isLittleEndian: true)]

    var testDescription: String { layout.rawValue + (isLittleEndian ? ", little-endian" : "") }

    /// A sound image of `size` bytes with nothing allocated.
    func image(size: UInt64 = 1 << 20, backing: String = "/srv/uml/base.img") -> CowImageBuilder {
        var image = CowImageBuilder(layout, backing: backing, size: size)
        image.isLittleEndian = isLittleEndian
        return image
    }
}

extension CowHeader {
    /// Every reading of a file with these bytes.
    static func readings(ofFile bytes: [UInt8], as layout: CowLayout? = nil) throws(FormatError)
        -> [CowHeader]
    {
        try readings(of: Array(bytes.prefix(longestHeader)), fileLength: UInt64(bytes.count), layout: layout)
    }

    /// The one reading of a file with these bytes.
    static func reading(ofFile bytes: [UInt8], as layout: CowLayout? = nil) throws -> CowHeader {
        let readings = try readings(ofFile: bytes, as: layout)
        return try #require(readings.count == 1 ? readings[0] : nil, "\(readings.map(\.layout))")
    }
}

struct CowHeaderParseTests {
    @Test(arguments: Writer.all)
    func readsEveryFieldOfEveryLayout(writer: Writer) throws {
        var image = writer.image(size: 12_345_678)
        image.mtime = 0xfedc_ba98
        let header = try CowHeader.reading(ofFile: image.bytes)
        #expect(header.layout == writer.layout)
        #expect(header.byteOrder == (writer.isLittleEndian ? .little : .big))
        #expect(header.backingPath == Array("/srv/uml/base.img".utf8))
        #expect(header.mtime == 0xfedc_ba98)
        #expect(header.size == 12_345_678)
        #expect(header.alignment == 4096)
    }

    @Test(arguments: Writer.all)
    func theLayoutAskedForReadsTheSame(writer: Writer) throws {
        let bytes = writer.image().bytes
        #expect(try CowHeader.reading(ofFile: bytes, as: writer.layout) == CowHeader.reading(ofFile: bytes))
    }

    @Test(arguments: Writer.all)
    func aFileMayEndWithItsBitmap(writer: Writer) throws {
        var image = writer.image(size: 1_000_000)
        image.length = image.bitmapEnd
        #expect(try CowHeader.reading(ofFile: image.bytes).size == 1_000_000)
    }

    @Test(arguments: Writer.all)
    func garbageBehindThePathIsIgnored(writer: Writer) throws {
        var image = writer.image()
        image.garbage = Array("old/path/of/another/base\0\0\u{1}more".utf8)
        #expect(try CowHeader.reading(ofFile: image.bytes).backingPath == image.backing)
    }

    @Test(arguments: Writer.all)
    func aPathMayFillItsBufferUpToTheNUL(writer: Writer) throws {
        let path = "/" + String(repeating: "p", count: writer.layout.longestPath - 1)
        let header = try CowHeader.reading(ofFile: writer.image(backing: path).bytes)
        #expect(header.backingPath == Array(path.utf8))
    }

    @Test func aPathIsBytesAndNeedNotBeUTF8() throws {
        var image = Writer(layout: .umlV3).image()
        image.backing = [0x2f, 0xff, 0xfe, 0x80]
        #expect(try CowHeader.reading(ofFile: image.bytes).backingPath == [0x2f, 0xff, 0xfe, 0x80])
    }

    @Test(arguments: [CowLayout.qemuV2, .qemuV2Packed])
    func aQEMUHeaderMayHaveNoBackingFileAndNoSize(layout: CowLayout) throws {
        let header = try CowHeader.reading(
            ofFile: CowImageBuilder(layout, backing: "", size: 0).bytes, as: layout)
        #expect(header.backingPath.isEmpty)
        #expect(header.size == 0 && header.geometry.sectorCount == 0 && header.geometry.bitmapLength == 0)
    }

    @Test(arguments: [(CowLayout.umlV2Unpacked, 4104), (.umlV3Unpacked, 8)])
    func anMtimeOfEightBytesStandsInTheFirstFour(layout: CowLayout, place: Int) throws {
        var bytes = Writer(layout: layout).image().bytes
        #expect(bytes[place..<place + 8].elementsEqual([0x65, 0x53, 0xf1, 0x00, 0, 0, 0, 0]))
        #expect(try CowHeader.reading(ofFile: bytes).mtime == 1_700_000_000)
        bytes.swapAt(place, place + 4)
        bytes.swapAt(place + 1, place + 5)
        bytes.swapAt(place + 2, place + 6)
        #expect(
            try CowHeader.reading(ofFile: bytes).mtime == 1_700_000_000,
            "a build that swapped all eight bytes")
    }

    @Test func theAlignmentOfVersion3IsTheHeadersOwn() throws {
        var image = Writer(layout: .umlV3).image()
        image.alignment = 65_536
        let header = try CowHeader.reading(ofFile: image.bytes)
        #expect(header.alignment == 65_536)
        #expect(header.geometry.bitmapOffset == 65_536 && header.geometry.dataOffset == 131_072)
    }

    @Test func aCowFileIsRecognisedByItsMagicInEitherByteOrder() {
        #expect(CowHeader.isCow(Array("OOOM".utf8)))
        #expect(CowHeader.isCow(Array("MOOO".utf8) + [1, 0, 0, 0]))
        #expect(!CowHeader.isCow(Array("OOO".utf8)))
        #expect(!CowHeader.isCow([]))
        #expect(!CowHeader.isCow(Array("OOMO".utf8)))
    }
}
