import DiskImages
import TestSupport
import Testing

@testable import TransportArchive

/// What is found behind damage, and what of the disks is lost by it.
struct ArchiveSalvageTests {
    private let files = try! ArchiveFiles()
    private let usual = ArchiveFiles.usual
    private let runs = try! ArchiveFiles.usual.runs().map(\.run)

    private func loss(_ run: RunRecord) -> ArchiveReader.Loss {
        ArchiveReader.Loss(layer: run.layer, range: run.range)
    }

    /// The parts that are records and frames, each with the run that is lost with it.
    private func runParts() throws -> [(part: Int, run: Int)] {
        var places: [(Int, Int)] = []
        for (number, run) in try usual.runs().enumerated() {
            places.append(((places.last?.0 ?? 1) + 1, number))
            if !run.frame.isEmpty { places.append((places[places.count - 1].0 + 1, number)) }
        }
        return places
    }

    @Test func ofASoundArchiveNothingIsLost() throws {
        let found = try files.salvage(usual.bytes)
        #expect(found.runs == runs && found.losses.isEmpty)
    }

    /// What is found of `parts`, and what is said to be lost: the runs `lost` and no other.
    private func check(_ parts: [[UInt8]], lost: [Int], _ what: Comment) throws {
        let found = try files.salvage(Array(parts.joined()))
        #expect(
            found.runs == runs.enumerated().filter { !lost.contains($0.offset) }.map(\.element), what)
        var expected: [ArchiveReader.Loss] = []
        for loss in lost.map({ loss(runs[$0]) }) {
            if let last = expected.last, last.layer == loss.layer,
                last.range.upperBound == loss.range.lowerBound
            {
                expected[expected.count - 1] = ArchiveReader.Loss(
                    layer: loss.layer, range: last.range.lowerBound..<loss.range.upperBound)
            } else {
                expected.append(loss)
            }
        }
        #expect(found.losses == expected, what)
    }

    @Test func aRecordOrFrameWithAnotherByteIsLostAlone() throws {
        let parts = try usual.parts()
        for (part, run) in try runParts() {
            for place in parts[part].indices {
                var changed = parts
                changed[part][place] ^= 1 << UInt8(place % 8)
                try check(changed, lost: [run], "byte \(place) of part \(part)")
            }
        }
    }

    /// Whatever follows stands earlier than it should, or later.
    @Test func aRecordOrFrameThatLostBytesIsLostAlone() throws {
        let parts = try usual.parts()
        for (part, run) in try runParts() {
            let length = parts[part].count
            for cut in [0..<length, 0..<1, length / 2..<length / 2 + 1, length - 1..<length, 8..<30] {
                var changed = parts
                changed[part].removeSubrange(cut)
                try check(changed, lost: [run], "part \(part) without \(cut)")
            }
            var changed = parts
            changed[part].insert(7, at: length / 2)
            try check(changed, lost: [run], "part \(part) with a byte more")
        }
    }

    @Test func recordsThatAreMissingWithTheirFramesAreLostAlone() throws {
        let (parts, places) = (try usual.parts(), try runParts())
        for first in 0..<4 {
            for last in first..<4 {
                let missing = places.filter { (first...last).contains($0.run) }.map(\.part)
                let left = parts.enumerated().filter { !missing.contains($0.offset) }.map(\.element)
                try check(left, lost: Array(first...last), "without runs \(first)...\(last)")
            }
        }
    }

    @Test func betweenRecordsAnythingMayStand() throws {
        let (parts, places) = (try usual.parts(), try runParts())
        for (index, place) in places.enumerated() where index == 0 || places[index - 1].run != place.run {
            for piece in [[UInt8](repeating: 0x5d, count: 100), parts[1], parts[2] + parts[3], [0]] {
                var changed = parts
                changed.insert(piece, at: place.part)
                try check(changed, lost: [], "something before part \(place.part)")
            }
        }
    }

    /// A record of an archive of the same id is not taken for the one in whose place it stands.
    @Test func aRecordOfAnotherArchiveIsNone() throws {
        var other = usual
        other.layers[0].pictures = ["xy", ".z"]
        let (ours, theirs) = (try usual.parts(), try other.parts())
        #expect(ours[1] == theirs[1])
        var mixed = ours
        (mixed[4], mixed[5]) = (theirs[4], theirs[5])
        try check(mixed, lost: [1], "a record and its frame")
        (mixed[4], mixed[5]) = (ours[4], theirs[5])
        try check(mixed, lost: [1], "a frame")
    }

    @Test func severalLossesAreOneEach() throws {
        var parts = try usual.parts()
        let places = try runParts()
        for run in [0, 2] { parts[places.first { $0.run == run }?.part ?? 0][60] ^= 1 }
        let found = try files.salvage(Array(parts.joined()))
        #expect(found.runs == [runs[1], runs[3]])
        #expect(found.losses == [loss(runs[0]), loss(runs[2])])
    }

    /// Cut anywhere behind the header: what stands before the cut is found, the rest is lost.
    @Test func ofAnArchiveThatIsCutShortTheRestIsLost() throws {
        let (parts, all) = (try usual.parts(), try usual.runs())
        let head = parts[0].count + parts[1].count
        let bytes = Array(parts.joined())
        for length in head..<bytes.count {
            let found = try files.salvage(Array(bytes[..<length]))
            var end = head
            let whole = all.prefix { run, frame in
                end += ArchiveRecord.overhead + run.serialized().count + frame.count
                return end <= length
            }
            #expect(found.runs == whole.map(\.run), "\(length)")
            let lost = found.losses.reduce(0) { $0 + $1.range.upperBound - $1.range.lowerBound }
            #expect(lost == UInt64((all.count - whole.count) << 20), "\(length)")
        }
    }

    @Test func aLostHeaderIsFoundInTheIndex() throws {
        let parts = try usual.parts()
        for change in [0, 1] {
            var changed = parts
            changed[change][8] ^= 1
            let found = try files.salvage(Array(changed.joined()))
            #expect(found.runs == runs && found.losses.isEmpty)
            changed[parts.count - 2][100] ^= 1
            #expect(throws: ArchiveError.self) { try files.salvage(Array(changed.joined())) }
            changed = parts
            changed[change][8] ^= 1
            changed[parts.count - 1][60] ^= 1
            #expect(throws: ArchiveError.self) { try files.salvage(Array(changed.joined())) }
        }
    }

    /// The index vouches for the end of each layer, wherever damage has moved it to.
    @Test func theIndexKnowsHowEachLayerEnds() throws {
        let parts = try usual.parts()
        let lengthened = Array(parts[..<3]) + [[1, 2, 3]] + Array(parts[3...])
        for pieces in [parts, lengthened] {
            let file = try files.file(Array(pieces.joined()))
            let reader = try ArchiveReader.salvaging(file)
            let anchors = try #require(reader.anchors(of: file))
            let sound = try ArchiveReader(ByteStream(files.file(usual.bytes)))
            var last: [Int: ContentDigest] = [:]
            while let run = try sound.next() {
                last[run.layer] = sound.previous
                try sound.skipFrame(of: run)
            }
            for (layer, digest) in last {
                #expect(anchors.fit(layer, digest) && !anchors.fit(layer, .ofNothing))
                #expect(anchors.digest(of: layer) == digest.description)
            }
        }
        var cut = parts
        cut.removeLast()
        let file = try files.file(Array(cut.joined()))
        #expect(try ArchiveReader.salvaging(file).anchors(of: file) == nil)
    }
}
