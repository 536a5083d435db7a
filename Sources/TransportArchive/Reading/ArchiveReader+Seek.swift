package import DiskImages

extension ArchiveReader {
    /// The index of a file, found from its end. Throws `damaged` where trailer or index are not
    /// sound or of another archive.
    package func readIndex(of file: ImageFile) throws -> ArchiveIndex {
        let (record, index) = try ArchiveReader.findIndex(of: file)
        guard record.id == id, index.index.layers.count == header.layers.count else {
            throw ArchiveError(.damaged, "its index is of another archive")
        }
        guard index.header == headerBytes else {
            throw ArchiveError(.damaged, "its index is of another archive")
        }
        let isPossible = zip(index.index.layers, header.layers).allSatisfy { entry, layer in
            entry.offset <= file.length && entry.length <= file.length - entry.offset
                && entry.stored <= entry.length
                && entry.sequence < 1 << 62 && entry.data <= layer.guestLength
                && entry.zeros <= layer.guestLength
                && entry.shared <= layer.guestLength && entry.inherited <= layer.guestLength
                && entry.tables <= file.length
                && entry.records <= file.length / UInt64(ArchiveRecord.overhead)
        }
        guard isPossible else { throw ArchiveError(.damaged, "its index says what cannot be") }
        return index.index
    }

    /// An archive of a file whose beginning may be damaged: the header's copy in the index does as
    /// well.
    package static func salvaging(_ file: ImageFile) throws -> ArchiveReader {
        do {
            return try ArchiveReader(ByteStream(file))
        } catch let error as ArchiveError {
            guard let (record, found) = try? findIndex(of: file),
                let header = try? ArchiveHeader(parsing: found.header)
            else {
                throw error
            }
            let stream = ByteStream(file)
            stream.seek(to: UInt64(FrameFormat(compression: header.options.compression).empty.count))
            return ArchiveReader(stream, header: header, headerBytes: found.header, id: record.id)
        }
    }

    /// What the index says of the ends of layers, where it is left; it is found from the file's
    /// end, wherever damage has moved it to.
    package func anchors(of file: ImageFile) -> ArchiveAnchors? {
        guard let (record, found) = try? ArchiveReader.findIndex(of: file, isMoved: true), record.id == id,
            found.index.layers.count == header.layers.count
        else { return nil }
        return ArchiveAnchors(found.index)
    }

    private static func findIndex(of file: ImageFile, isMoved: Bool = false) throws -> (
        record: ArchiveRecord, (index: ArchiveIndex, header: [UInt8])
    ) {
        let length = UInt64(ArchiveTrailer.recordLength)
        guard file.length > length else { throw ArchiveError.cut(at: file.length) }
        let stream = ByteStream(file)
        stream.seek(to: file.length - length)
        let record: ArchiveRecord
        do {
            record = try readRecord(stream, longest: ArchiveTrailer.recordLength)
        } catch is ArchiveError {
            throw ArchiveError.cut(at: file.length)
        }
        let trailer = try ArchiveTrailer(parsing: record.body)
        guard record.kind == .trailer, trailer.length == file.length || isMoved,
            trailer.indexOffset < trailer.length,
            trailer.length - trailer.indexOffset <= file.length
        else { throw ArchiveError(.damaged, "its trailer is not true") }
        stream.seek(to: file.length - (trailer.length - trailer.indexOffset))
        let index = try readRecord(stream, longest: longestIndex)
        guard index.kind == .index, index.digest == record.previous, index.id == record.id else {
            throw ArchiveError(.damaged, "its index is not the one that its trailer names")
        }
        return (index, try ArchiveIndex.parse(index.body))
    }

    /// A stretch of a layer that is lost.
    package struct Loss: Equatable, Sendable {
        package let layer: Int
        package let range: Range<UInt64>

        package init(layer: Int, range: Range<UInt64>) {
            self.layer = layer
            self.range = range
        }
    }

    /// What `nextSalvaging` came upon.
    package enum Salvage: Equatable, Sendable {
        case run(RunRecord)
        /// A part was lost, for the reason given.
        case lost([Loss], ArchiveError)
        case end
    }

    /// As `next`, but goes on behind damage, at the next record that is sound and of this archive.
    /// Files only.
    ///
    /// `isStopped` is asked while a long stretch is searched; the search ends as if nothing were
    /// found when it is true.
    package func nextSalvaging(isStopped: () -> Bool) throws -> Salvage {
        if isOver { return .end }
        let start = stream.offset
        do {
            return try next().map { .run($0) } ?? .end
        } catch let error as ArchiveError {
            guard !isAtEnd, let found = try findRecord(from: soundEnd(start), isStopped) else {
                let losses = losses(to: header.layers.count, 0)
                (layer, position) = (header.layers.count, 0)
                isOver = true
                return .lost(losses, error)
            }
            defer { stream.seek(to: found.offset) }
            // Of what was left out nothing was counted: the index cannot be held against it any
            // more.
            forgetSeen()
            let losses = losses(to: found.run.layer, found.run.range.lowerBound)
            (layer, position, sequence, previous) = (
                found.run.layer, found.run.range.lowerBound, found.record.sequence, found.record.previous
            )
            return .lost(losses, error)
        }
    }

    /// What lies between the expected place and another one behind it.
    package func losses(to lastLayer: Int, _ end: UInt64) -> [Loss] {
        var losses: [Loss] = []
        var (layer, position) = (layer, position)
        while layer < lastLayer {
            if position < header.layers[layer].recordedLength {
                losses.append(Loss(layer: layer, range: position..<header.layers[layer].recordedLength))
            }
            (layer, position) = (layer + 1, 0)
        }
        if position < end { losses.append(Loss(layer: layer, range: position..<end)) }
        return losses
    }

    /// Where what is sound ends, with nothing sound at `start`: behind the last record, and behind
    /// its frame too where that is what it should be. One that lost bytes reaches into the record
    /// behind it, or past that.
    private func soundEnd(_ start: UInt64) throws -> UInt64 {
        guard let (run, end) = last, run.frameLength > 0, let file = stream.file else { return start }
        let stream = ByteStream(file)
        stream.seek(to: end)
        return ContentDigest(of: try stream.read(run.frameLength)) == run.frameDigest ? start : end
    }

    /// The first sound run record of this archive from `offset` on that lies behind the expected
    /// place.
    private func findRecord(from offset: UInt64, _ isStopped: () -> Bool) throws -> (
        record: ArchiveRecord, run: RunRecord, offset: UInt64
    )? {
        guard let file = stream.file else { return nil }
        let step = 1 << 20
        var buffer = [UInt8](repeating: 0, count: step + ArchiveRecord.prefixLength)
        var start = offset
        while start < file.length, !isStopped() {
            let count = try buffer.withUnsafeMutableBytes { try file.readAvailable(into: $0, at: start) }
            for place in 0..<min(step, count)
            where buffer[place] == 0x5d && looksLikeRecord(buffer, at: place, count) {
                if let found = try? record(at: start + UInt64(place)) { return found }
            }
            start += UInt64(step)
        }
        return nil
    }

    private func looksLikeRecord(_ bytes: [UInt8], at place: Int, _ count: Int) -> Bool {
        place + 12 <= count && bytes.littleEndian(UInt32.self, at: place) == ArchiveRecord.magic
            && bytes[place + 8..<place + 12].elementsEqual(ArchiveRecord.tag)
    }

    private func record(at offset: UInt64) throws -> (record: ArchiveRecord, run: RunRecord, offset: UInt64)?
    {
        stream.seek(to: offset)
        let record = try ArchiveReader.readRecord(stream, longest: ArchiveReader.longestRun)
        guard record.kind == .run, record.id == id, record.sequence >= sequence else { return nil }
        // In the expected one's turn, it is that or of another archive.
        guard record.sequence > sequence || record.previous == previous else { return nil }
        let run = try RunRecord(parsing: record.body)
        try checkShape(of: run, at: offset)
        guard (run.layer, run.range.lowerBound) >= (layer, position) else { return nil }
        return (record, run, offset)
    }
}

extension ArchiveHeader {
    /// A loss in words: the image, by all its names, and its sectors.
    package func describe(_ loss: ArchiveReader.Loss) -> String {
        "\(layers[loss.layer].names.joined(separator: ", ")): sectors \(loss.range.lowerBound / 512) to \(loss.range.upperBound / 512 - 1) are damaged"
    }
}
