import ImageFormats
import TestSupport
import Testing

struct CowHeaderSerializeTests {
    @Test(arguments: Writer.all)
    func writesTheBytesThatTheOriginalProgramsWrote(writer: Writer) throws {
        let image = writer.image(size: 98_765_432)
        let header = try CowHeader(
            layout: writer.layout, byteOrder: writer.isLittleEndian ? .little : .big,
            backingPath: image.backing, mtime: image.mtime,
            size: image.size)
        #expect(header.serialized() == image.header)
    }

    @Test func whatIsWrittenIsReadBack() throws {
        let seed = TestSeed()
        for round in 0..<400 {
            var generator = seed.generator(round: round)
            let writer = Writer.all.randomElement(using: &generator) ?? Writer.all[0]
            let isV3 = writer.layout == .umlV3 || writer.layout == .umlV3Unpacked
            let length = Int.random(in: 1...writer.layout.longestPath, using: &generator)
            let header = try CowHeader(
                layout: writer.layout, byteOrder: writer.isLittleEndian ? .little : .big,
                backingPath: (0..<length).map { _ in UInt8.random(in: 1...255, using: &generator) },
                mtime: .random(in: 0 ... .max, using: &generator),
                size: UInt64.random(
                    in: 1...(1 << UInt64.random(in: 1...61, using: &generator)), using: &generator),
                alignment: isV3 ? 1 << UInt32.random(in: 0...30, using: &generator) : CowHeader.usualAlignment
            )
            let bytes = header.serialized()
            let read = try CowHeader.readings(of: bytes, fileLength: UInt64(Int64.max), layout: writer.layout)
            #expect(read == [header], "\(seed), round \(round)")
        }
    }

    @Test(arguments: [CowLayout.umlV1, .umlV2, .umlV3])
    func aUMLHeaderWithoutABackingFileIsNotMade(layout: CowLayout) throws {
        let error = try formatError {
            _ = try CowHeader(layout: layout, backingPath: [], mtime: 0, size: 512)
        }
        #expect(error.description.hasSuffix("is empty; expected a path (UML always names a backing file)"))
    }

    @Test(arguments: CowLayout.allCases)
    func aPathThatLeavesNoRoomForItsNULIsNotTaken(layout: CowLayout) throws {
        let longest = [UInt8](repeating: 0x61, count: layout.longestPath)
        _ = try CowHeader(layout: layout, backingPath: longest, mtime: 0, size: 512)
        let error = try formatError {
            _ = try CowHeader(layout: layout, backingPath: longest + [0x61], mtime: 0, size: 512)
        }
        #expect(
            error.description.hasSuffix(
                "is longer than its buffer; expected at most \(layout.longestPath) bytes before a NUL"))
    }

    @Test func aPathWithANULIsNotTaken() throws {
        #expect(throws: FormatError.self) {
            _ = try CowHeader(layout: .umlV3, backingPath: Array("/srv\0/base".utf8), mtime: 0, size: 512)
        }
    }

    @Test func everyLayoutHasAWritableEquivalentThatIsWritable() {
        for layout in CowLayout.allCases { #expect(CowLayout.writable.contains(layout.writableEquivalent)) }
        for layout in CowLayout.writable { #expect(layout.writableEquivalent == layout) }
        #expect(CowLayout.writable == [.umlV3, .umlV2, .qemuV2])
    }
}
