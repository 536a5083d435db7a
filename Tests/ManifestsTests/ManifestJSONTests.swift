import Foundation
import JSON
import Testing

@testable import Manifests

/// Records as lines, beside Foundation.
struct ManifestJSONTests {
    private static func source(_ path: String, device: Bool? = nil) -> ManifestJob.Source {
        var source = ManifestJob.Source(
            path: path, size: .max, mtime: "1.000000002", inode: 7, layout: "uml-v3", digest: "ab")
        (source.ctime, source.device) = ("3.000000004", device)
        return source
    }

    private static var job: ManifestJob {
        var options = ManifestJob.Options(
            format: "cow", layout: "uml-v3", alignment: 4096, zeroRun: 4096, segment: 1 << 26)
        (options.compression, options.base, options.depth, options.diff) = ("zstd:3", true, 2, false)
        (options.backing, options.backingName, options.salvaged) = (source("/a", device: true), "../a", true)
        var job = ManifestJob(
            sources: [source("/b/\"\u{e9}\"\n"), source("c")], options: options,
            target: ManifestJob.Target(path: "/d", length: 512, size: 1024), consistent: false)
        (job.replaces, job.time) = (replaced, 1_764_312_345.25)
        return job
    }

    private static var replaced: ManifestJob.Replaced? {
        try? ManifestJob.Replaced(Array(#"{"mtime":"5.000000006","size":9}"#.utf8)[...])
    }

    private static var archive: ArchiveManifest.Job {
        var job = ArchiveManifest.Job(
            archive: "cd", consistent: true, segment: 1 << 26, sources: [source("e"), source("f")],
            target: "/g")
        (job.replaces, job.time) = (replaced, 1_764_312_345)
        return job
    }

    private static var completion: ManifestCompletion {
        var completion = ManifestCompletion(
            digest: "ef", header: "01", size: 3, mtime: "7.000000008", lost: [LostSectors(512..<1024)])
        completion.held = true
        completion.named = try? ManifestCompletion.Named(Array(#"{"ctime":"9.0","inode":8}"#.utf8)[...])
        completion.time = 0.5
        return completion
    }

    private static var segment: ManifestSegment {
        var segment = ManifestSegment(0..<1 << 20, .zero, chunks: [Outcome.zero.digest], read: 5)
        (segment.lost, segment.time) = ([LostSectors(0..<512), LostSectors(512..<4096)], 1.5)
        return segment
    }

    /// Every kind of record, with every member that it may have.
    private static var full: [any ManifestLine] {
        [
            job, archive, completion, segment, ManifestFailure("no \\ \u{1f600}"),
            ManifestFamily([ManifestFamily.Member(target: "/h", digest: "23")]),
            ArchiveManifest.Checkpoint(length: 1, sequence: 2),
        ]
    }

    @Test func aLineIsAsFoundationWouldWriteIt() throws {
        for record in ManifestJSONTests.full {
            let line = record.line
            #expect(line.last == 0x0a)
            let object = try JSONSerialization.jsonObject(with: Data(line))
            let expected = try JSONSerialization.data(
                withJSONObject: object, options: [.sortedKeys, .withoutEscapingSlashes])
            #expect(line.dropLast().elementsEqual(expected))
        }
    }

    @Test func whatIsReadIsWhatWasWritten() throws {
        func again(_ record: some ManifestLine) throws -> [UInt8] {
            try type(of: record).init(record.line[...]).line
        }
        for record in ManifestJSONTests.full { #expect(try again(record) == record.line) }
    }

    @Test func whatMayBeMissingIsMissing() throws {
        let text =
            #"{"audience":null,"count":1,"digest":"","kind":"zero","record":"segment","start":0,"time":null}"#
        let segment = try ManifestSegment(Array(text.utf8)[...])
        #expect(segment.time == nil && segment.read == nil && segment.lost == nil && segment.chunks == nil)
        #expect(
            String(decoding: segment.line, as: UTF8.self)
                == #"{"count":1,"digest":"","kind":"zero","record":"segment","start":0}"# + "\n")
    }

    @Test(arguments: ["count", "digest", "kind", "record", "start"])
    func whatMustBeThereIsMissed(_ key: String) throws {
        let text = String(decoding: ManifestJSONTests.segment.line, as: UTF8.self)
        let other = text.replacingOccurrences(of: "\"\(key)\"", with: "\"other\"")
        #expect(throws: JSONReader.Fault.self) { try ManifestSegment(Array(other.utf8)[...]) }
    }
}
