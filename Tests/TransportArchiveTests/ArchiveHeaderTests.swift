import DiskImages
import Testing

@testable import Linux
@testable import TransportArchive

@Suite struct ArchiveHeaderTests {
    private func layer(
        _ name: String, size: UInt64 = 4096, backing: Int? = nil, mtime: String = "1.000000000"
    ) -> ArchiveHeader.Layer {
        ArchiveHeader.Layer(
            names: [name],
            format: FormatDescription(format: "", layout: backing == nil ? "raw" : "uml-v3"), size: size,
            mtime: mtime, backing: backing, isImage: true)
    }

    private func header(_ layers: [ArchiveHeader.Layer]) -> ArchiveHeader {
        ArchiveHeader(
            options: ArchiveHeader.Options(compression: "lz4", flatten: false, zeroRun: 4096), layers: layers)
    }

    private func refusal(_ layers: [ArchiveHeader.Layer]) -> String? {
        do {
            _ = try ArchiveHeader(parsing: header(layers).serialized())
            return nil
        } catch {
            return "\(error)"
        }
    }

    @Test func whatIsWrittenIsReadBack() throws {
        let original = header([
            layer("base/a.img"), layer("vm1/root.cow", backing: 0), layer("vm2/root.cow", backing: 0),
        ])
        #expect(try ArchiveHeader(parsing: original.serialized()) == original)
        #expect(original.chain(of: 2) == [2, 0])
    }

    @Test(arguments: [
        ("", "is empty"), ("/etc/passwd", "is absolute"), ("a/../b", "has a component .."),
        ("./a", "has a component ."),
        ("a//b", "has an empty component"), ("a/", "has an empty component"),
        ("x.partial", "has a component that ends in .partial or .manifest"),
        ("x.manifest/y", "has a component that ends in .partial or .manifest"), ("a\0b", "contains a NUL"),
        (String(repeating: "n", count: 241), "has a component longer than 240 bytes"),
    ])
    func aNameThatCouldLeadElsewhereIsRefused(_ name: String, _ fault: String) {
        #expect(refusal([layer(name)]) == "layer 0 has a name that \(fault)")
    }

    @Test func namesAreUniqueAndNoFolders() {
        #expect(refusal([layer("a"), layer("a")]) == "two layers have the name a")
        #expect(refusal([layer("a"), layer("a/b")]) == "a is a layer and a folder of a/b")
    }

    @Test(arguments: [-1, 1, 2, Int.max])
    func aBackingLayerComesBefore(_ backing: Int) {
        #expect(
            refusal([layer("a"), layer("b", backing: backing)])
                == "b names layer \(backing) as its backing file; expected one before it")
    }

    @Test func aSizePast63BitsIsRefused() {
        #expect(refusal([layer("a", size: .max)]) == "a has an impossible size of 18446744073709551615")
    }

    @Test(arguments: [
        "", "1", "1.5", "1.0000000000", "-.000000000", "+1.000000000", "1.-00000001",
        "-9223372036854775809.000000000", "1.00000000x",
        "99999999999999999999.000000000",
    ])
    func aTimeThatIsNoneIsRefused(_ mtime: String) {
        #expect(
            refusal([layer("a", mtime: mtime)])
                == "a has the mtime \(mtime); expected SECONDS.NANOSECONDS, nine digits of them")
    }

    @Test(arguments: [
        ("-1.999999999", -1, 999_999_999), ("0.000000000", 0, 0), ("4294967296.000000001", 1 << 32, 1),
        ("-9223372036854775808.000000001", Int.min, 1),
        ("9223372036854775807.999999999", Int.max, 999_999_999),
    ])
    func aTimeMayBeAnySecond(_ mtime: String, _ seconds: Int, _ nanoseconds: Int) {
        #expect(refusal([layer("a", mtime: mtime)]) == nil)
        #expect(layer("a", mtime: mtime).time == Timestamp(seconds: seconds, nanoseconds: nanoseconds))
        #expect(Timestamp(seconds: seconds, nanoseconds: nanoseconds).description == mtime)
    }

    @Test func anotherVersionIsRefusedByName() throws {
        let text =
            #"{"layers":[],"options":{"compression":"lz4","flatten":false,"zeroRun":4096},"version":7}"#
        #expect(throws: ArchiveError(.notAnArchive, "has format version 7; this program reads version 2")) {
            try ArchiveHeader(parsing: Array(text.utf8))
        }
    }
}
