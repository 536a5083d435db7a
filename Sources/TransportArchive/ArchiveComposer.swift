package import DiskImages

/// Puts an archive's records in order: numbers them, chains their digests and keeps the index. It
/// makes bytes and writes nothing.
package struct ArchiveComposer: Sendable {
    private let headerBytes: [UInt8]
    package private(set) var sequence: UInt64 = 0
    package private(set) var id = ContentDigest(high: 0, low: 0)
    /// The digest of the last record.
    package private(set) var previous = ContentDigest(high: 0, low: 0)
    /// Bytes composed so far: where the next record begins.
    package private(set) var offset: UInt64 = 0
    /// Where a record begins: a layer, and bytes of its disk.
    package struct Place: Equatable, Sendable {
        package let layer: Int
        package let position: UInt64
    }

    /// Where the last run record ended.
    package private(set) var place = Place(layer: 0, position: 0)
    private var index = ArchiveIndex(layers: [])
    /// The records of each layer, where they lie.
    private var entries: [[RecordTable.Entry]] = []
    /// What each layer holds.
    private var digests: [LayerDigest]
    private let header: ArchiveHeader
    /// What the parent's index says of its layers; nothing of an archive that stands alone.
    private let inherited: [ArchiveIndex.Layer]
    private let format: FrameFormat

    /// `inherited` is what the parent's index says of its layers, if it has one.
    package init(_ header: ArchiveHeader, inheriting inherited: [ArchiveIndex.Layer] = []) throws {
        (self.header, self.inherited) = (header, inherited)
        digests = header.layers.map { _ in LayerDigest() }
        headerBytes = header.serialized()
        format = FrameFormat(compression: header.options.compression)
        guard headerBytes.count <= ArchiveHeader.longest, header.nameCount <= ArchiveHeader.mostLayers else {
            throw ArchiveError(
                .notAnArchive,
                "one archive cannot hold \(header.nameCount) files; expected \(ArchiveHeader.mostLayers) at most (pack several archives)"
            )
        }
    }

    /// The archive's beginning.
    package mutating func begin() -> [UInt8] {
        offset = UInt64(format.empty.count)
        let bytes = format.empty + record(.header, headerBytes)
        id = previous
        return bytes
    }

    /// A run record; `run.frameLength` bytes of frame are to follow it.
    package mutating func run(_ run: RunRecord) -> [UInt8] {
        while index.layers.count <= run.layer { beginLayer() }
        let start = offset
        let bytes = record(.run, run.serialized())
        entries[run.layer].append(
            RecordTable.Entry(offset: start, start: run.range.lowerBound, digest: previous))
        index.layers[run.layer].add(run, recordLength: bytes.count)
        offset += UInt64(run.frameLength)
        place = Place(layer: run.layer, position: run.range.upperBound)
        return bytes
    }

    /// What the next stretch of `layer` holds, in the disk's order.
    package mutating func add(_ windows: [LayerDigest.Entry], of layer: Int) {
        for entry in windows { digests[layer].add(entry) }
    }

    /// The archive's end.
    package mutating func finish() throws -> [UInt8] {
        while index.layers.count < header.layers.count { beginLayer() }
        index.last = previous.description
        let held = try zip(header.layers, digests).map { layer, digest in
            guard let same = layer.same else { return digest.value }
            guard inherited.indices.contains(same), let digest = ContentDigest(hex: inherited[same].digest)
            else {
                throw ArchiveError(.damaged, "stands on an archive that does not have \(layer.name)")
            }
            return digest
        }
        for (layer, digest) in held.enumerated() {
            index.layers[layer].digest = digest.description
            guard let same = header.layers[layer].same else { continue }
            index.layers[layer].inherited = inherited[same].held
            index.layers[layer].zeros = inherited[same].zeros
        }
        index.state = ArchiveState.digest(of: header.layers, holding: held).description
        var tables: [UInt8] = []
        for layer in entries.indices {
            index.layers[layer].tables = offset
            for table in RecordTable.tables(of: layer, entries[layer]) {
                tables += record(.table, table.serialized())
            }
        }
        let indexOffset = offset
        let bytes = tables + record(.index, index.serialized(with: headerBytes))
        let length = offset + UInt64(ArchiveTrailer.recordLength)
        return bytes + record(.trailer, ArchiveTrailer(indexOffset: indexOffset, length: length).serialized())
    }

    private mutating func beginLayer() {
        entries.append([])
        index.layers.append(
            ArchiveIndex.Layer(offset: offset, sequence: sequence, previous: previous.description))
    }

    private mutating func record(_ kind: ArchiveRecord.Kind, _ body: [UInt8]) -> [UInt8] {
        let (bytes, digest) = ArchiveRecord.serialize(
            kind, sequence: sequence, id: id, previous: previous, body: body)
        sequence += 1
        previous = digest
        offset += UInt64(bytes.count)
        return bytes
    }
}

extension ArchiveIndex.Layer {
    /// Counts a record and its frame.
    mutating func add(_ run: RunRecord, recordLength: Int) {
        length += UInt64(recordLength + run.frameLength)
        records += 1
        data += UInt64(run.contentLength)
        zeros += run.zeroLength
        shared += run.sharedLength
        inherited += run.inheritedLength
        stored += UInt64(run.frameLength)
    }
}
