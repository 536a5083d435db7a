import DiskImages
import Foundation
import ImageFormats
import Linux
import SystemPackage
import TestSupport
import Testing

/// QEMU's own images against what QEMU itself says of them.
struct QEMUFixtureTests {
    private static let cases = [
        "01-basic", "02-empty", "03-full", "04-every-other", "05-last-sector", "06-zeros-over-data",
        "07-odd-sectors", "08-no-backing",
        "09-chain3", "11-short-backing", "12-short-backing-covered", "14-unaligned-backing", "16-sparse-64m",
        "17-bitmap-boundary",
        "18-one-sector", "19-zero-size", "20-convert-to-cow", "24-i386",
    ]
    /// QEMU 2.1.3 misreads a bitmap past its first 512 bytes; 1.7.2 does not.
    private static let misread = ["16-sparse-64m", "17-bitmap-boundary"]

    /// A line of `qemu-img map --output=json`.
    private struct MapEntry: Decodable {
        let start: UInt64
        let length: UInt64
        let depth: Int
        let zero: Bool
        let data: Bool
        let offset: UInt64?
    }

    private func open(_ fixture: Fixture) throws -> ImageChain {
        let top = fixture.file(fixture.bytes("top.cow") == nil ? "g.cow" : "top.cow")
        return try ImageChain.open(top)
    }

    @Test(arguments: cases)
    func theMapIsQEMUs(name: String) throws {
        let fixture = try Fixture("qemu/\(name)", from: "qemu")
        let map =
            name == "24-i386"
            ? "map.json" : QEMUFixtureTests.misread.contains(name) ? "map-1.7.2.json" : "map-2.1.3.json"
        let entries = try JSONDecoder().decode([MapEntry].self, from: Data(fixture.text(map).utf8))
        let chain = try open(fixture)
        let extents = try chain.extents
        #expect(entries.reduce(0) { $0 + $1.length } == chain.guestLength)
        for entry in entries {
            for extent in extents where extent.start < entry.start + entry.length && extent.end > entry.start
            {
                let part = extent.clipped(to: entry.start..<entry.start + entry.length)
                #expect(part.depth == entry.depth, "\(part)")
                // Of what it has no data for QEMU names an offset now and then; and it does not
                // look for holes in a COW file.
                if entry.data {
                    #expect(part.offset == entry.offset.map { $0 + part.start - entry.start }, "\(part)")
                } else {
                    #expect(part.isZero, "\(part)")
                }
            }
        }
    }

    @Test(arguments: cases)
    func theTopLayersRunsAreThoseOfItsBitmap(name: String) throws {
        let fixture = try Fixture("qemu/\(name)", from: "qemu")
        let expected = try JSONDecoder().decode(
            [[UInt64]].self, from: Data(fixture.text("top-allocated-runs.json").utf8))
        var runs: [[UInt64]] = []
        for extent in try open(fixture).extents where extent.depth == 0 && extent.isPresent {
            let run = [extent.start / 512, extent.length / 512]
            if let last = runs.last, last[0] + last[1] == run[0] {
                runs[runs.count - 1][1] += run[1]
            } else {
                runs.append(run)
            }
        }
        #expect(runs == expected)
    }

    @Test(arguments: cases)
    func theGuestsDiskHasTheRecordedDigest(name: String) throws {
        let fixture = try Fixture("qemu/\(name)", from: "qemu")
        let disk = fixture.file("disk.raw")
        try Data(open(fixture).guestBytes).write(to: URL(fileURLWithPath: disk.string))
        let digest = try RequiredTool("sha256sum").run([disk.string]).prefix(64)
        #expect(try digest == fixture.text("expected.raw.sha256").prefix(64))
    }

    @Test func theMissingBackingFileIsAnError() throws {
        let fixture = try Fixture("qemu/22-missing-backing", from: "qemu")
        let error = try diskImageError { _ = try open(fixture) }
        #expect(error.kind == .unavailable)
        #expect(
            error.factLine.hasPrefix(
                "backing file \(fixture.file("nothere.raw")) cannot be opened: No such file or directory"))
    }

}
