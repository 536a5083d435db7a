internal import DiskImages
internal import ImageFormats
internal import Stages
internal import SystemPackage

@testable internal import Migration

/// The input is a chain of up to four files, called `0` to `3`; the first is opened. All of it is
/// mapped, and read where it is not too long.
///
/// | size | meaning |
/// |------|---------|
/// | 1    | the files less one; + 4: the mtime of backing files counts |
/// | 8    | of each file, little-endian: bytes of content in 2, and length of the file in 6 |
/// |      | the contents, one after the other; the last file has the rest |
enum ChainTarget {
    static let mtime = 1_000_000
    private static let mostExtents = 4096
    private static let window: UInt64 = 64 << 10

    static func run(_ bytes: [UInt8]) throws {
        guard let first = bytes.first else { return }
        let count = Int(first & 3) + 1
        guard bytes.count > 1 + 8 * count else { return }
        var rest = bytes[(1 + 8 * count)...]
        for index in 0..<count {
            let field = bytes[(1 + 8 * index)..<(9 + 8 * index)].reversed().reduce(UInt64(0)) {
                $0 << 8 | UInt64($1)
            }
            let content = index == count - 1 ? rest : rest.prefix(Int(field & 0xffff))
            rest = rest.dropFirst(content.count)
            _ = try Scratch.write("\(index)", Array(content), length: field >> 16, mtime: mtime)
        }
        let options = ChainOptions(
            location: try BackingLocation(confinement: [Scratch.folder]), ignoreMtime: first & 4 == 0)
        let top = Scratch.folder.appending("0")
        let examined = try accepted { try ImageChain.examine(top, options) }
        _ = try accepted { try examined?.layers.map { try $0.allocatedBytes() } }
        guard let chain = try accepted({ try ImageChain.open(top, options) }) else { return }
        try Finding.unless(
            examined?.problems.isEmpty == true,
            "a chain is opened that has problems: \(examined?.problems ?? [])")
        // ClusterTarget's, and nothing that the reference reads.
        guard !chain.layers.contains(where: { $0.formatName == ImageFormat.qcow2.name }) else { return }
        try read(chain)
        try plan(chain)
    }

    /// Extents follow one another to the end, and hold what the layers' bits say.
    private static func read(_ chain: ImageChain) throws {
        var status = BlockStatus(of: chain)
        let reader = try ChunkReader(chain.layers)
        let buffer = try AlignedBuffer(capacity: Int(window))
        var position: UInt64 = 0
        for _ in 0..<mostExtents {
            guard let extent = try status.next() else {
                try Finding.unless(
                    position == chain.guestLength,
                    "the block status ends at \(position) of \(chain.guestLength)")
                break
            }
            try Finding.unless(
                extent.start == position && extent.length > 0,
                "an extent begins at \(extent.start), not at \(position)")
            position = extent.end
            let part = extent.clipped(to: extent.start..<min(extent.end, extent.start + window))
            var runs: [ReadRun] = []
            if case .data(let offset) = part.content {
                runs = [
                    ReadRun(
                        layer: part.depth, offset: offset, isEncoded: false, position: 0,
                        length: Int(part.length))
                ]
            }
            let found = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<Int(part.length)])
            try reader.read(runs, into: found)
            for sector in stride(from: 0, to: found.count, by: 512) where chain.guestLength <= 16 * window {
                let expected = try ReferenceReader.sector(at: part.start + UInt64(sector), of: chain)
                try Finding.unless(
                    found[sector..<sector + 512].elementsEqual(expected),
                    "sector \(part.start / 512) is read wrong")
            }
        }
        guard chain.guestLength <= 16 * window else { return }
        let comparison = DiskComparison(chain, chain, length: chain.guestLength)
        let isSame = wait {
            let options = MoveOptions(workers: WorkerSlots(limit: 1))
            return try await comparison.firstDifference(named: "a", options) == nil
        }
        try Finding.unless(isSame == true, "a chain differs from itself")
    }

    /// A plan covers the disk without gaps.
    private static func plan(_ chain: ImageChain) throws {
        for holding in [
            CopyScope.everything(marks: true),
            .above(depth: 1, backingLength: chain.layers.last?.guestLength ?? 0),
        ] {
            var planner = ChunkPlanner(chain, holding, segmentLength: 64 << 20)
            var position: UInt64 = 0
            for _ in 0..<256 {
                guard let next = try planner.next() else {
                    try Finding.unless(
                        position == chain.guestLength, "the plan ends at \(position) of \(chain.guestLength)")
                    break
                }
                let (start, length) =
                    switch next {
                    case .chunk(let chunk): (chunk.start, UInt64(chunk.length))
                    case .span(let span): (span.start, span.length)
                    case .known(let stretch):
                        (stretch.range.lowerBound, stretch.range.upperBound - stretch.range.lowerBound)
                    }
                try Finding.unless(
                    start == position && length > 0, "the plan goes on at \(start), not at \(position)")
                position = start + length
            }
        }
    }
}

/// Sectors read as slowly and plainly as can be.
enum ReferenceReader {
    static func sector(at position: UInt64, of chain: ImageChain) throws -> [UInt8] {
        for layer in chain.layers {
            guard position < layer.guestLength else { break }
            guard let geometry = (layer.content as? CowContent)?.header.geometry else {
                return try bytes(of: layer.file, at: position)
            }
            let sector = position / 512
            guard sector < geometry.mappedSectorCount else { continue }
            let byte = try bytes(of: layer.file, at: geometry.bitmapOffset + sector / 8)[0]
            if byte >> UInt8(sector % 8) & 1 == 1 {
                return try bytes(of: layer.file, at: geometry.dataOffset + position)
            }
        }
        return [UInt8](repeating: 0, count: 512)
    }

    /// 512 bytes; zeros behind the file's end.
    private static func bytes(of file: ImageFile, at offset: UInt64) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 512)
        _ = try bytes.withUnsafeMutableBytes { try file.readAvailable(into: $0, at: offset) }
        return bytes
    }
}
