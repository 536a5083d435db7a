internal import DiskImages
internal import Glibc
internal import Linux
internal import Manifests
internal import SystemPackage
internal import TransportArchive

/// What of a layer an incremental archive need not hold.
enum InheritedContent: Sendable {
    /// All of it is a layer of the parent: nothing is read.
    case whole(Int)
    /// What is equal at the same place of this layer of the parent.
    case equal(ArchiveFile, layer: Int)
}

/// The archive that an incremental one stands on, and which sources are known to be unchanged since
/// it was made: its manifest has their times.
struct ParentArchive: Sendable {
    let archive: ArchiveFile
    private let layers: [[UInt8]: Int]
    private let recorded: [UInt64: [ManifestJob.Source]]
    private let trustsTimes: Bool

    /// Opens `path` with all that it stands on. `trustsTimes`: what was not touched is not read.
    init(_ path: FilePath, _ ancestors: AncestorSearch, trustsTimes: Bool) throws {
        archive = try ArchiveFile(ImageFile(opening: path), ancestors)
        try archive.openAncestors(of: archive.header.layers.indices)
        layers = Dictionary(
            archive.header.layers.enumerated().flatMap { layer, described in
                described.names.map { (Array($0.utf8), layer) }
            }, uniquingKeysWith: { first, _ in first })
        self.trustsTimes = trustsTimes
        recorded = Dictionary(grouping: try ParentArchive.sources(of: archive, path), by: \.inode)
    }

    /// The sources as they were when the archive was made; none where its manifest is not there, or
    /// of another archive.
    private static func sources(of archive: ArchiveFile, _ path: FilePath) throws -> [ManifestJob.Source] {
        guard let manifest = try? ManifestFile.readArchive(of: path), let job = manifest.job, job.consistent,
            job.archive == archive.id.description, let completion = manifest.completion,
            completion.matches(archive.file.identity)
        else { return [] }
        return job.sources
    }

    /// How a header names it.
    var described: ArchiveHeader.Parent {
        get throws {
            ArchiveHeader.Parent(
                state: archive.index.state, id: archive.id.description,
                name: try resolved(archive.file.path).lastComponent?.string ?? "")
        }
    }

    /// The archives of the line, this one first.
    var line: [ArchiveFile] {
        var line = [archive]
        while let next = line[line.count - 1].openedParent { line.append(next) }
        return line
    }

    /// Whether every file of `chain` is known to hold what it held when the archive was made.
    func isUnchanged(_ chain: ImageChain, _ known: KnownFiles) throws -> Bool {
        guard trustsTimes else { return false }
        return try chain.layers.allSatisfy { layer in
            guard let recorded = recorded[layer.file.identity.inode], layer.content.archived == nil else {
                return false
            }
            let now = try known.facts(of: layer).recorded
            return recorded.contains { now.isProven(by: $0) }
        }
    }

    /// How many raw layers of so many bytes it has.
    func rawLayers(size: UInt64) -> Int { archive.header.layers.count { $0.isRaw && $0.size == size } }

    /// What need not be stored of a layer that is called `name`.
    func content(of layer: PlannedLayer, called name: String, isFlattened: Bool, _ known: KnownFiles) throws
        -> InheritedContent?
    {
        guard let index = layers[Array(name.utf8)] else { return nil }
        let described = archive.header.layers[index]
        guard described.isRaw == layer.source.isRaw else { return nil }
        if described.layout == layer.format.layout, described.alignment == layer.format.alignment,
            described.size == layer.size, archive.header.options.flatten == isFlattened,
            described.mtime == layer.source.chain.top.mtime.description,
            try isUnchanged(layer.source.chain, known)
        {
            return .whole(index)
        }
        return .equal(archive, layer: index)
    }
}

/// Finds what a chunk has in common with the same place of the parent. One for each worker.
struct ParentComparison {
    private let buffer: AlignedBuffer

    /// Throws where there is no memory.
    init() throws { buffer = try AlignedBuffer(capacity: RunRecord.longestContent) }

    /// `runs`, of whose data what `layer` of `archive` holds at the same place became references to
    /// it; `bytes` are those of the data.
    func inherit(
        _ runs: [RunRecord.Run], _ bytes: UnsafeRawBufferPointer, from archive: ArchiveFile, _ layer: Int
    ) throws -> [RunRecord.Run] {
        var result: [RunRecord.Run] = []
        var offset = 0
        for run in runs {
            guard run.isData else {
                result.append(run)
                continue
            }
            defer { offset += Int(run.length) }
            let end = min(run.end, archive.header.layers[layer].guestLength)
            guard end > run.start else {
                result.append(run)
                continue
            }
            let theirs = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<Int(end - run.start)])
            try archive.read(held: layer, at: run.start, into: theirs)
            var position = run.start
            while position < run.end {
                // Whole blocks, and what lies before the first and behind the last.
                let stop = min((position / SharedContent.block + 1) * SharedContent.block, run.end)
                let place = Int(position - run.start)..<Int(stop - run.start)
                let isEqual =
                    stop <= end
                    && memcmp(
                        bytes.baseAddress! + offset + place.lowerBound,
                        theirs.baseAddress! + place.lowerBound, place.count) == 0
                result.append(
                    seamless: RunRecord.Run(
                        start: position, end: stop,
                        kind: isEqual ? .inherited(RunRecord.Place(layer: layer, start: position)) : .data))
                position = stop
            }
        }
        return result
    }
}
