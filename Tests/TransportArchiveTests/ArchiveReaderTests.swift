import DiskImages
import SystemPackage
import TestSupport
import Testing

@testable import TransportArchive

/// A small archive, composed in memory, read from its front and by its index.
struct ArchiveReaderTests {
    private let directory = try! TemporaryDirectory()
    private static let chunk = UInt64(RunRecord.longestContent)

    /// Two raw layers of two and one chunks without frames, but for zeros that are held.
    private func composed() throws -> (bytes: [UInt8], runs: [RunRecord]) {
        let layers = [2, 1].enumerated().map { index, chunks in
            ArchiveHeader.Layer(
                names: ["layer\(index)"], format: FormatDescription(format: "raw", layout: "raw"),
                size: UInt64(chunks) * ArchiveReaderTests.chunk, mtime: "1700000000.000000000", backing: nil,
                isImage: true)
        }
        var composer = try ArchiveComposer(
            ArchiveHeader(
                options: ArchiveHeader.Options(compression: "none", flatten: false, zeroRun: 4096),
                layers: layers))
        var bytes = composer.begin()
        let runs = [
            RunRecord(emptyFor: 0, range: 0..<ArchiveReaderTests.chunk, runs: []),
            RunRecord(
                emptyFor: 0, range: ArchiveReaderTests.chunk..<2 * ArchiveReaderTests.chunk,
                runs: [
                    RunRecord.Run(
                        start: ArchiveReaderTests.chunk, end: ArchiveReaderTests.chunk + 512, isZero: true)
                ]),
            RunRecord(emptyFor: 1, range: 0..<ArchiveReaderTests.chunk, runs: []),
        ]
        for run in runs { bytes += composer.run(run) }
        bytes += try composer.finish()
        return (bytes, runs)
    }

    private func file(_ bytes: [UInt8]) throws -> ImageFile {
        let path = directory("archive")
        try? FileChanges.remove(path)
        var file = SparseFile()
        file.put(bytes, at: 0)
        try file.write(to: path, length: UInt64(bytes.count))
        return try ImageFile(opening: path)
    }

    private func read(_ bytes: [UInt8]) throws -> [RunRecord] {
        let reader = try ArchiveReader(ByteStream(file(bytes)))
        var runs: [RunRecord] = []
        while let run = try reader.next() { runs.append(run) }
        return runs
    }

    @Test func whatWasComposedIsRead() throws {
        let (bytes, runs) = try composed()
        #expect(try read(bytes) == runs)
        let file = try file(bytes)
        let reader = try ArchiveReader(ByteStream(file))
        let index = try reader.readIndex(of: file).layers
        #expect(index.count == 2)
        for (layer, first) in [(1, runs[2]), (0, runs[0])] {
            try reader.seek(to: layer, index[layer])
            #expect(try reader.next() == first)
        }
    }

    @Test func everyTruncationIsFound() throws {
        let (bytes, _) = try composed()
        for length in 0..<bytes.count {
            #expect(throws: ArchiveError.self, "of \(length) bytes") { try read(Array(bytes[..<length])) }
        }
    }

    @Test func everyByteThatIsAnotherOneIsFound() throws {
        let (bytes, _) = try composed()
        for place in bytes.indices {
            var changed = bytes
            changed[place] ^= 0x41
            #expect(throws: ArchiveError.self, "at \(place)") { try read(changed) }
        }
    }

    @Test func whatFollowsTheEndIsFound() throws {
        #expect(throws: ArchiveError.self) { try read(composed().bytes + [0]) }
    }

    /// Each record is damaged in turn: those behind it are found again.
    @Test func whatIsBehindDamageIsFoundAgain() throws {
        let (bytes, runs) = try composed()
        let reader = try ArchiveReader(ByteStream(file(bytes)))
        var places: [Int] = []
        for _ in runs {
            places.append(Int(reader.stream.offset))
            _ = try reader.next()
        }
        for (index, place) in places.enumerated() {
            var changed = bytes
            changed[place + 30] ^= 1
            let reader = try ArchiveReader.salvaging(file(changed))
            var found: [RunRecord] = []
            var lost: [ArchiveReader.Loss] = []
            while true {
                let next = try reader.nextSalvaging { false }
                if case .run(let run) = next { found.append(run) }
                if case .lost(let losses, _) = next { lost += losses }
                if next == .end { break }
            }
            #expect(found == runs.enumerated().filter { $0.offset != index }.map(\.element))
            #expect(lost == [ArchiveReader.Loss(layer: runs[index].layer, range: runs[index].range)])
        }
    }
}

/// Names in an archive are relative, and lead nowhere else.
struct ArchiveNameTests {
    @Test(arguments: ["a", "a/b.cow", "..a", "a..b", String(repeating: "x", count: 240)])
    func aNameIsOne(name: String) { #expect(ArchiveName.fault(of: name) == nil) }

    @Test(arguments: [
        "", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a\0b", "a.partial", "a.manifest",
        String(repeating: "x", count: 241),
    ])
    func aNameIsNone(name: String) { #expect(ArchiveName.fault(of: name) != nil) }
}
