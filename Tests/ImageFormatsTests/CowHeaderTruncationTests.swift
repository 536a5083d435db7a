import ImageFormats
import TestSupport
import Testing

struct CowHeaderTruncationTests {
    @Test(arguments: Writer.all)
    func aFileCutBeforeTheEndOfItsBitmapIsRefusedAtEveryLength(writer: Writer) throws {
        let image = writer.image()
        let bytes = image.bytes
        for length in 0..<Int(image.bitmapEnd) {
            let error = try formatError("\(length)") {
                _ = try CowHeader.readings(ofFile: Array(bytes[..<length]))
            }
            #expect(
                error.description == expected(length, writer, image)
                    || expected(length, writer, image) == nil, "\(length)")
        }
    }

    @Test(arguments: Writer.all)
    func aFileCutBeforeTheEndOfItsBitmapIsNotOfTheLayoutAskedFor(writer: Writer) throws {
        let image = writer.image()
        let bytes = image.bytes
        for length in 8..<Int(image.bitmapEnd) {
            let error = try formatError("\(length)") {
                _ = try CowHeader.readings(ofFile: Array(bytes[..<length]), as: writer.layout)
            }
            #expect(error.kind == .truncated, "\(length): \(error)")
        }
    }

    @Test(arguments: Writer.all)
    func withTheWholeBitmapItIsRead(writer: Writer) throws {
        let image = writer.image()
        #expect(
            try CowHeader.reading(ofFile: Array(image.bytes[..<Int(image.bitmapEnd)])).layout == writer.layout
        )
    }

    @Test func aVersion2HeaderThatNoLayoutFitsNamesEveryReason() throws {
        let bytes = Array(Writer(layout: .umlV2).image().bytes[..<2000])
        let error = try formatError { _ = try CowHeader.readings(ofFile: bytes) }
        #expect(
            error
                == FormatError(
                    .invalid,
                    "no layout of version 2 fits: uml-v2: the file ends at 2000 bytes; expected a uml-v2 header of 4120 bytes; "
                        + "uml-v2-64: the file ends at 2000 bytes; expected a uml-v2-64 header of 4128 bytes; "
                        + "qemu-v2: sector size at offset 1048 is 0; expected 512; qemu-v2-32: sector size at offset 1044 is 0; expected 512"
                ))
    }

    /// The whole text, where one layout alone is possible or none is told yet.
    private func expected(_ length: Int, _ writer: Writer, _ image: CowImageBuilder) -> String? {
        let name = writer.layout.rawValue
        switch (length, writer.layout) {
        case (..<4, _):
            return
                "magic at offset 0 is past the end of the file; expected 0x4f4f4f4d, the magic number of COW files"
        case (..<8, _): return "the file ends at \(length) bytes; expected a COW header"
        case (..<1044, .umlV2), (..<1044, .umlV2Unpacked), (..<1044, .qemuV2), (..<1044, .qemuV2Packed):
            return "the file ends at \(length) bytes; expected a COW header and its bitmap"
        case (_, .umlV2), (_, .umlV2Unpacked), (_, .qemuV2), (_, .qemuV2Packed): return nil
        case (..<36, .umlV3), (..<36, .umlV3Unpacked):
            return "the file ends at \(length) bytes; expected a COW header of version 3"
        case (..<image.header.count, _):
            return
                "the file ends at \(length) bytes; expected a \(name) header of \(image.header.count) bytes"
        default:
            return
                "the bitmap of a \(name) disk of 1048576 bytes ends at offset \(image.bitmapEnd), past the file's end at \(length)"
        }
    }
}
