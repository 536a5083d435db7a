internal import DiskImages
internal import ImageFormats
internal import SystemPackage

@testable internal import Migration
@testable internal import Stages
@testable internal import TransportArchive

/// The input is an archive: listed, planned to be unpacked in every way, read from end to end,
/// sought in, salvaged. Nothing is restored.
enum ArchiveTarget {
    static func run(_ bytes: [UInt8]) throws {
        let file = try ImageFile(opening: try Scratch.write("archive.drover", bytes))
        let listing = try accepted { try ArchiveListing(file.path) }
        plan(file)
        let isSound = try accepted { try read(file) } != nil
        if isSound { try Finding.unless(listing != nil, "it is sound, and cannot be listed") }
        try accepted { try seek(in: file) }
        let salvaged = try accepted { try salvage(file) }
        if isSound {
            try Finding.unless(salvaged == 0, "it is sound, and \(salvaged ?? -1) parts of it are lost")
        }
    }

    /// Whether all of `bytes` can be read, and nothing else.
    static func isSound(_ bytes: [UInt8]) throws -> Bool {
        try accepted { try read(try ImageFile(opening: try Scratch.write("archive.drover", bytes))) } != nil
    }

    /// All of it, as `verify` and `unpack` read it.
    private static func read(_ file: ImageFile) throws {
        let reader = try ArchiveReader(ByteStream(file))
        let places = RecordPlaces(layers: reader.header.layers.count)
        let opener = try RecordOpener(reader.format, ArchiveFile(file, reader, scanned: places, nil))
        while let run = try reader.next() {
            places.add(reader)
            let opened = try content(of: run, reader, opener)
            if let lost = opened.lost.first { throw ArchiveError(.damaged, "\(lost.reason)") }
            try Finding.unless(
                opened.bytes.count == run.byteLength, "there are \(opened.bytes.count) bytes of content")
            try check(run, reader.header)
        }
        try Finding.unless(reader.isAtEnd, "it ends before its end")
    }

    private static func content(of run: RunRecord, _ reader: ArchiveReader, _ opener: RecordOpener) throws
        -> RecordOpener.Opened
    {
        let frame = try AlignedBuffer(capacity: FrameFormat.longest)
        try reader.readFrame(of: run, into: frame.bytes)
        return try opener.open(run, UnsafeRawBufferPointer(rebasing: frame.bytes[..<run.frameLength]))
    }

    /// What is planned of a record covers its stretch, and takes no more content than there is.
    private static func check(_ run: RunRecord, _ header: ArchiveHeader) throws {
        let layer = header.layers[run.layer]
        let isRaw = layer.layout == "raw"
        var planner = ChunkPlanner(
            RecordRuns(run, isRaw: isRaw), run.range, length: layer.guestLength,
            isRaw ? .everything(marks: false) : .above(depth: 1, backingLength: 0), segmentLength: 64 << 20,
            finished: [])
        var position = run.range.lowerBound
        while let next = try planner.next() {
            switch next {
            case .chunk(let chunk):
                try Finding.unless(
                    chunk.start == position, "the plan goes on at \(chunk.start), not at \(position)")
                position = chunk.start + UInt64(chunk.length)
                let fits = chunk.runs.allSatisfy {
                    Int($0.offset) + $0.length <= run.byteLength && $0.position + $0.length <= chunk.length
                }
                try Finding.unless(fits, "a chunk takes more than its record has")
            case .span(let span): position = span.start + span.length
            case .known(let stretch): position = stretch.range.upperBound
            }
        }
        try Finding.unless(position == run.range.upperBound, "the plan ends at \(position)")
    }

    private static func plan(_ file: ImageFile) {
        guard let reader = try? ArchiveReader(ByteStream(file)) else { return }
        let forms: [UnpackRequest.Form] =
            [.flattened(RawChoice()), .chains(layout: nil, alignment: nil)]
            + CowLayout.writable.map { .chains(layout: $0, alignment: 4096) }
        for form in forms {
            let request = UnpackRequest(
                archive: file.path, directory: Scratch.folder.appending("restored"), names: [], form: form)
            guard let plan = try? RestorePlan(reader, request) else { continue }
            if let found = try? reader.readIndex(of: file) { try? plan.checkSpace(found.layers) }
        }
    }

    /// The first record of every layer, by the index.
    private static func seek(in file: ImageFile) throws {
        let reader = try ArchiveReader(ByteStream(file))
        let index = try reader.readIndex(of: file).layers
        reader.hold(to: index)
        for layer in index.indices {
            try reader.seek(to: layer, index[layer])
            if !reader.isAtEnd, let run = try? reader.next() { try? reader.skipFrame(of: run) }
        }
    }

    /// How many parts are lost.
    private static func salvage(_ file: ImageFile) throws -> Int {
        let reader = try ArchiveReader.salvaging(file)
        let anchors = reader.anchors(of: file)
        let places = RecordPlaces(layers: reader.header.layers.count)
        let opener = try RecordOpener(reader.format, ArchiveFile(file, reader, scanned: places, nil))
        var lost = 0
        while true {
            switch try reader.nextSalvaging(isStopped: { false }) {
            case .end: return lost
            case .lost(let losses, _):
                let isWithin = losses.allSatisfy {
                    $0.range.upperBound <= reader.header.layers[$0.layer].guestLength
                }
                try Finding.unless(isWithin, "more is lost than there was")
                lost += 1
            case .run(let run):
                places.add(reader)
                _ = anchors?.fit(run.layer, run.contentDigest)
                _ = try accepted { try content(of: run, reader, opener) }
            }
        }
    }
}
