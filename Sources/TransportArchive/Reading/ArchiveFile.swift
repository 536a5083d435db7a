package import DiskImages
internal import FoundationEssentials
internal import Linux
internal import SystemPackage

/// An archive in a file, of which any part is read at any time, by any number of threads. What is
/// read is known by the index's digests; nothing else of the archive is looked at.
///
/// What it shares with its parent is read there: the archives of a line are opened together, once
/// something of them is asked for.
package final class ArchiveFile: Sendable {
    package let file: ImageFile
    package let header: ArchiveHeader
    package let id: ContentDigest
    package let index: ArchiveIndex
    package let anchors: ArchiveAnchors
    private let format: FrameFormat
    /// Where its parent may lie; nil where nobody is to ask.
    private let ancestors: AncestorSearch?
    private let opened = Locked(ArchiveFile?.none)
    /// Which archives of the line have the records of layers that are the parent's.
    private let storedLayers = Locked([Int: (ArchiveFile, Int)]())
    /// Where records lie that were come upon; nil looks into the tables.
    private let places: RecordPlaces?
    /// What is kept of it, and under which number.
    private let cache: ArchiveCache
    private let number: Int

    /// A run record that was found.
    struct StoredRun {
        fileprivate let place: ArchiveCache.Place
        /// Where its frame lies.
        fileprivate let frame: UInt64
        let run: RunRecord
        /// Where each data run begins in the content, in the runs' order.
        let positions: [Int]
    }

    /// Opens the archive; throws `badData` where its beginning or its end is not sound.
    package convenience init(_ file: ImageFile, _ ancestors: AncestorSearch? = AncestorSearch()) throws {
        let (reader, index) = try ArchiveFile.naming(file) {
            let reader = try ArchiveReader(ByteStream(file))
            return (reader, try reader.readIndex(of: file))
        }
        self.init(file, reader, index, ancestors)
    }

    /// The archive whose beginning `reader` has read, and whose `index` it found in `file`.
    package init(
        _ file: ImageFile, _ reader: ArchiveReader, _ index: ArchiveIndex,
        _ ancestors: AncestorSearch? = AncestorSearch()
    ) {
        (self.file, self.index, places) = (file, index, nil)
        (header, id, format) = (reader.header, reader.id, reader.format)
        anchors = ArchiveAnchors(index)
        self.ancestors = ancestors?.including(file)
        cache = ancestors?.cache ?? ArchiveCache()
        number = cache.newArchive()
    }

    /// The archive that `reader` goes through, as far as it has come: its index is not asked, and
    /// need not be there. `parent` is what it stands on, where that is known.
    package init(
        _ file: ImageFile, _ reader: ArchiveReader, scanned places: RecordPlaces,
        _ ancestors: AncestorSearch?, parent: ArchiveFile? = nil
    ) {
        if let parent { opened.withLock { $0 = parent } }
        (self.file, self.places) = (file, places)
        (header, id, format) = (reader.header, reader.id, reader.format)
        index = ArchiveIndex(layers: [])
        anchors = ArchiveAnchors(index)
        self.ancestors = ancestors?.including(file)
        cache = ancestors?.cache ?? parent?.cache ?? ArchiveCache()
        number = cache.newArchive()
    }

    /// The archive that this one stands on; nil where it stands alone. Throws `unavailable` where
    /// that is not found, `badData` where what was found under its name is another.
    package func parent() throws -> ArchiveFile? {
        guard let wanted = header.parent else { return nil }
        if let opened = opened.withLock(\.self) { return opened }
        guard let ancestors else {
            throw DiskImageError(
                .unavailable, file.path, "stands on the archive \(wanted.name), which is not looked at")
        }
        let found = try ancestors.find(wanted, of: self)
        return opened.withLock { opened in
            if opened == nil { opened = found }
            return opened
        }
    }

    /// The parent, where that was opened already.
    package var openedParent: ArchiveFile? { opened.withLock(\.self) }

    /// Fills `buffer` with what `layer` itself holds of its disk from `offset` on, wherever that is
    /// stored; where it holds nothing, zeros. Whole sectors before the disk's end.
    package func read(held layer: Int, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws {
        let (archive, layer) = try stored(layer)
        try archive.read(layer, at: offset, into: buffer)
    }

    /// Opens all that `layers` need of the archives that this one stands on; throws where one is
    /// missing or another.
    package func openAncestors(of layers: some Sequence<Int>) throws {
        let needed = layers.filter {
            header.layers[$0].same != nil
                || index.layers.indices.contains($0) && index.layers[$0].inherited > 0
        }
        guard !needed.isEmpty, let parent = try parent() else { return }
        for layer in needed {
            guard let same = header.layers[layer].same else { continue }
            guard parent.header.layers.indices.contains(same),
                parent.header.layers[same].guestLength == header.layers[layer].guestLength,
                parent.header.layers[same].isRaw == header.layers[layer].isRaw
            else {
                throw DiskImageError(
                    .badData, file.path,
                    "\(header.layers[layer].name) is to be layer \(same) of \(parent.file.path), which is none of its kind"
                )
            }
        }
        // Which layers changed ones refer to is not known before they are read.
        let isPart = needed.contains { header.layers[$0].same == nil }
        try parent.openAncestors(
            of: isPart ? Array(parent.header.layers.indices) : needed.compactMap { header.layers[$0].same })
    }

    /// The archive, of this one and those it stands on, that has the records of `layer`, and its
    /// number there.
    package func stored(_ layer: Int) throws -> (ArchiveFile, Int) {
        guard let same = header.layers[layer].same else { return (self, layer) }
        if let found = storedLayers.withLock({ $0[layer] }) { return found }
        try openAncestors(of: [layer])
        guard let parent = try parent() else { return (self, layer) }
        let found = try parent.stored(same)
        storedLayers.withLock { $0[layer] = found }
        return found
    }

    /// What is wrong with an archive's bytes is said with its name.
    private static func naming<Result>(_ file: ImageFile, _ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch let error as ArchiveError {
            throw DiskImageError(.badData, file.path, error.message)
        }
    }

    /// The record of `layer` that has the byte at `position`, which is before the layer's end.
    func run(of layer: Int, at position: UInt64) throws -> StoredRun {
        try ArchiveFile.naming(file) {
            let (place, entry) = try entry(of: layer, at: position)
            // What a table says of a place need not be true of its record, whoever asked for that
            // first.
            if let found = cache.record(at: place), found.run.range.contains(position) {
                return found
            }
            let stream = ByteStream(file)
            stream.seek(to: entry.offset)
            let record = try ArchiveReader.readRecord(stream, longest: ArchiveReader.longestRun)
            guard record.kind == .run, record.id == id, record.digest == entry.digest else {
                throw ArchiveError.damaged("there is another record than its table says", at: entry.offset)
            }
            let run = try RunRecord(parsing: record.body)
            guard run.layer == layer, run.range.lowerBound == entry.start, run.range.contains(position),
                run.range.upperBound <= header.layers[layer].recordedLength
            else {
                throw ArchiveError.damaged("there is a record of another place", at: entry.offset)
            }
            var length = 0
            let positions = run.runs.map { run in
                defer { length += run.isData ? Int(run.length) : 0 }
                return length
            }
            let found = StoredRun(place: place, frame: stream.offset, run: run, positions: positions)
            cache.keep(found, at: place)
            return found
        }
    }

    /// The entry of the record of `layer` that has the byte at `position`.
    private func entry(of layer: Int, at position: UInt64) throws -> (ArchiveCache.Place, RecordTable.Entry) {
        if let places {
            guard let (number, entry) = places.entry(of: layer, at: position) else {
                throw ArchiveError(.damaged, "the records of \(header.layers[layer].name) are lost")
            }
            return (place(layer, number), entry)
        }
        let count = Int(
            (index.layers[layer].records + UInt64(RecordTable.longest) - 1) / UInt64(RecordTable.longest))
        // The last table that begins at or before the place.
        var (low, high) = (0, count)
        while high - low > 1 {
            let middle = (low + high) / 2
            if try table(middle, of: layer).entries[0].start <= position {
                low = middle
            } else {
                high = middle
            }
        }
        guard count > 0, case let table = try table(low, of: layer), let entry = table.index(of: position)
        else {
            throw ArchiveError(.damaged, "its tables of records say nothing of \(header.layers[layer].name)")
        }
        return (place(layer, low * RecordTable.longest + entry), table.entries[entry])
    }

    private func table(_ number: Int, of layer: Int) throws -> RecordTable {
        let place = place(layer, number)
        if let found = cache.table(at: place) { return found }
        let entry = index.layers[layer]
        let (offset, overflow) = entry.tables.addingReportingOverflow(
            UInt64(number) * UInt64(RecordTable.recordLength(RecordTable.longest)))
        let first = number * RecordTable.longest
        let count = min(RecordTable.longest, Int(entry.records) - first)
        guard !overflow, offset < file.length else {
            throw ArchiveError(.damaged, "its index says what cannot be")
        }
        let stream = ByteStream(file)
        stream.seek(to: offset)
        let record = try ArchiveReader.readRecord(stream, longest: RecordTable.recordLength(count))
        guard record.kind == .table, record.id == id else {
            throw ArchiveError.damaged("there is no table of records", at: offset)
        }
        let table = try RecordTable(parsing: record.body)
        guard table.layer == layer, table.number == UInt64(first), table.entries.count == count else {
            throw ArchiveError.damaged("there is another table of records", at: offset)
        }
        cache.keep(table, at: place)
        return table
    }

    /// Fills `buffer` with what `layer` itself holds of its disk from `offset` on, whole sectors;
    /// where it holds nothing, zeros. `onlyData`: throws `badData` where that is not stored there.
    func read(
        _ layer: Int, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer, onlyData: Bool = false
    )
        throws
    {
        var done = 0
        while done < buffer.count {
            let position = offset + UInt64(done)
            let stored = try run(of: layer, at: position)
            let end = min(stored.run.range.upperBound, offset + UInt64(buffer.count))
            // The first run that ends behind the place.
            let runs = stored.run.runs
            var index = runs.firstIndex(endingBehind: position)
            var covered = position
            while covered < end {
                let run = index < runs.count ? runs[index] : nil
                let isHole = run.map { $0.start > covered } ?? true
                let stop = min(end, isHole ? run?.start ?? end : run!.end)
                let part = UnsafeMutableRawBufferPointer(
                    rebasing: buffer[Int(covered - offset)..<Int(stop - offset)])
                guard !onlyData || !isHole && run!.isData else {
                    throw DiskImageError(
                        .badData, file.path,
                        "sector \(covered / 512) of \(header.layers[layer].name) is not stored there")
                }
                if let run, !isHole, !run.isZero {
                    let skipped = covered - run.start
                    if run.isData {
                        let start = stored.positions[index] + Int(skipped)
                        try content(of: stored).copy(from: start, into: part)
                    } else {
                        try read(run.kind.moved(by: skipped), into: part)
                    }
                } else {
                    part.initializeMemory(as: UInt8.self, repeating: 0)
                }
                covered = stop
                if !isHole, stop == run!.end { index += 1 }
            }
            done = Int(covered - offset)
        }
    }

    /// The content of `stored`; its frame's digest was right.
    private func content(of stored: StoredRun) throws -> DecodedContent {
        try cache.content(at: stored.place) { buffer in
            try cache.withDecoder(format) { try decode(stored, with: $0, into: buffer) }
        }
    }

    private func decode(
        _ stored: StoredRun, with decoder: RecordDecoder, into buffer: UnsafeMutableRawBufferPointer
    ) throws {
        let run = stored.run
        let frame = UnsafeMutableRawBufferPointer(rebasing: decoder.frame.bytes[..<run.frameLength])
        try ArchiveFile.naming(file) {
            let count = try file.readAvailable(into: frame, at: stored.frame)
            do {
                try decoder.opener.open(
                    run, UnsafeRawBufferPointer(rebasing: frame[..<count]),
                    into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<run.contentLength]))
            } catch let error as ArchiveError {
                let loss = ArchiveReader.Loss(layer: run.layer, range: run.range)
                throw ArchiveError(error.kind, "\(header.describe(loss)): \(error)")
            }
        }
    }

    private func place(_ layer: Int, _ number: Int) -> ArchiveCache.Place {
        ArchiveCache.Place(archive: self.number, layer: layer, number: number)
    }
}

extension ArchiveFile: ReferenceSource {
    package func reads(_ kind: RunRecord.Kind) -> Bool {
        if case .inherited = kind { ancestors != nil || openedParent != nil } else { true }
    }

    package func read(_ kind: RunRecord.Kind, into buffer: UnsafeMutableRawBufferPointer) throws {
        switch kind {
        case .data, .zero: throw ArchiveError(.damaged, "there is no reference where one is read")
        case .reference(let place):
            try read(place.layer, at: place.start, into: buffer, onlyData: true)
        case .inherited(let place):
            guard let parent = try parent(), parent.header.layers.indices.contains(place.layer),
                place.start + UInt64(buffer.count) <= parent.header.layers[place.layer].guestLength
            else { throw DiskImageError(.badData, file.path, "refers to what its parent does not have") }
            try parent.read(held: place.layer, at: place.start, into: buffer)
        }
    }
}

extension [RunRecord.Run] {
    /// The first run that ends behind `position`, by its place; the number of runs where none does.
    func firstIndex(endingBehind position: UInt64) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if self[middle].end > position { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
