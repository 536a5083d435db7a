package import DiskImages
internal import Glibc
internal import ImageFormats

/// The digest of what a layer holds, which does not depend on how an archive stores it: not on
/// cuts, references, compression, or whether zeros were left out.
///
/// A disk is looked at in windows of 1 MiB. Those that hold something have an entry; of a window of
/// a COW layer that is wholly zeros and wholly held, one entry stands for all that follow one
/// another. The digest is of the entries in their order, each with the digest before it: 16 bytes,
/// at first zeros; the first window's number (8) and the number of windows (8), little-endian; the
/// window's digest (16).
package struct LayerDigest: Equatable, Sendable {
    /// Bytes of a disk in a window.
    package static let window: UInt64 = 1 << 20

    /// Windows that follow one another.
    package struct Entry: Equatable, Sendable {
        /// The first window's number on the disk, and how many windows there are.
        package let first: UInt64
        package var count: UInt64 = 1
        /// What the window holds; `heldZeros` of windows that are wholly zeros.
        package let digest: ContentDigest

        /// The digest of windows that are zeros from their beginning to their end, and held.
        static let heldZeros = ContentDigest(high: 0, low: 0)
    }

    private var chained = ContentDigest(high: 0, low: 0)
    /// Zeros that may go on.
    private var open: Entry?

    /// Nothing is held yet.
    package init() {}

    /// Adds what lies behind all that was added.
    package mutating func add(_ entry: Entry) {
        if let last = open, last.first + last.count == entry.first, entry.digest == Entry.heldZeros {
            open?.count += entry.count
            return
        }
        close()
        if entry.digest == Entry.heldZeros { open = entry } else { chain(entry) }
    }

    /// Adds a window of a raw layer's disk, all of its bytes.
    package mutating func add(rawWindow number: UInt64, _ bytes: UnsafeRawBufferPointer) {
        guard !ZeroScan.isZero(bytes) else { return }
        add(Entry(first: number, digest: ContentDigest(of: bytes)))
    }

    /// The digest of what was added.
    package var value: ContentDigest {
        var whole = self
        whole.close()
        return whole.chained
    }

    private mutating func close() {
        if let entry = open { chain(entry) }
        open = nil
    }

    private mutating func chain(_ entry: Entry) {
        var bytes = chained.bytes
        bytes.append(number: entry.first)
        bytes.append(number: entry.count)
        chained = ContentDigest(of: bytes + entry.digest.bytes)
    }
}

/// Digests the windows of a layer's records. One for each worker.
///
/// A window's digest is XXH3 of its bytes: in a raw layer of all of them, up to the disk's end, and
/// a window of zeros has no entry; in a COW layer of the sectors that it holds, one behind the
/// other, and behind them a bit for each sector of the window, as a COW file's bitmap has them.
package struct WindowDigester {
    private let scratch: AlignedBuffer

    /// Throws where there is no memory.
    package init() throws { scratch = try AlignedBuffer(capacity: Int(LayerDigest.window)) }

    /// The entries of the windows of `run`, of which `bytes` are the data and references, one
    /// behind the other; of a layer that is raw or not, whose disk has `length` bytes.
    package func entries(
        of run: RunRecord, _ bytes: UnsafeRawBufferPointer, isRaw: Bool, length: UInt64
    ) -> [LayerDigest.Entry] {
        var entries: [LayerDigest.Entry] = []
        var walk = Walk(runs: run.runs, bytes: bytes)
        while let run = walk.run {
            let number = walk.position / LayerDigest.window
            let start = number * LayerDigest.window
            let end = min(start + LayerDigest.window, length)
            if run.isZero, isRaw || walk.position == start && run.end >= end {
                let whole =
                    run.end >= length ? (run.end - 1) / LayerDigest.window + 1 : run.end / LayerDigest.window
                let stop = isRaw ? run.end : min(whole * LayerDigest.window, run.end)
                if !isRaw {
                    entries.append(
                        LayerDigest.Entry(
                            first: number, count: whole - number, digest: LayerDigest.Entry.heldZeros))
                }
                walk.advance(to: stop)
                continue
            }
            let digest =
                isRaw ? wholeDigest(start..<end, &walk) : heldDigest(start..<end, &walk)
            if let digest { entries.append(LayerDigest.Entry(first: number, digest: digest)) }
        }
        return entries
    }

    /// Runs, and where among them and in their bytes one is.
    private struct Walk {
        let runs: [RunRecord.Run]
        let bytes: UnsafeRawBufferPointer
        private var index = 0
        private var offset = 0
        private(set) var position: UInt64

        init(runs: [RunRecord.Run], bytes: UnsafeRawBufferPointer) {
            (self.runs, self.bytes) = (runs, bytes)
            position = runs.first?.start ?? 0
        }

        /// The run at `position`; nil behind the last.
        var run: RunRecord.Run? { index < runs.count ? runs[index] : nil }

        mutating func advance(to place: UInt64) {
            if !runs[index].isZero { offset += Int(place - position) }
            position = place
            guard place >= runs[index].end else { return }
            index += 1
            if let run { position = run.start }
        }

        /// The next piece that lies before `end`: where, and its bytes; none of zeros.
        mutating func piece(before end: UInt64) -> (range: Range<UInt64>, bytes: UnsafeRawBufferPointer?)? {
            guard let run, position < end else { return nil }
            let range = position..<min(run.end, end)
            let count = Int(range.upperBound - range.lowerBound)
            let piece = run.isZero ? nil : UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
            advance(to: range.upperBound)
            return (range, piece)
        }
    }

    /// The digest of a raw layer's window; nil of zeros.
    private func wholeDigest(_ window: Range<UInt64>, _ walk: inout Walk) -> ContentDigest? {
        let whole = UnsafeMutableRawBufferPointer(
            rebasing: scratch.bytes[..<Int(window.upperBound - window.lowerBound)])
        var covered = 0
        while let (range, bytes) = walk.piece(before: window.upperBound) {
            if let bytes, bytes.count == whole.count {
                return ZeroScan.isZero(bytes) ? nil : ContentDigest(of: bytes)
            }
            let start = Int(range.lowerBound - window.lowerBound)
            memset(whole.baseAddress! + covered, 0, start - covered)
            covered = start + Int(range.upperBound - range.lowerBound)
            if let bytes {
                memcpy(whole.baseAddress! + start, bytes.baseAddress!, bytes.count)
            } else {
                memset(whole.baseAddress! + start, 0, covered - start)
            }
        }
        memset(whole.baseAddress! + covered, 0, whole.count - covered)
        let bytes = UnsafeRawBufferPointer(whole)
        return ZeroScan.isZero(bytes) ? nil : ContentDigest(of: bytes)
    }

    /// The digest of a COW layer's window, of which something is held.
    private func heldDigest(_ window: Range<UInt64>, _ walk: inout Walk) -> ContentDigest {
        let sectors = Int((window.upperBound - window.lowerBound) / sectorSize)
        var bitmap = [UInt8](repeating: 0, count: (sectors + 7) / 8)
        var held = UnsafeRawBufferPointer(start: nil, count: 0)
        var count = 0
        func gather() {
            guard held.baseAddress != nil, held.baseAddress != UnsafeRawPointer(scratch.bytes.baseAddress!)
            else { return }
            memcpy(scratch.bytes.baseAddress!, held.baseAddress!, held.count)
        }
        while let (range, bytes) = walk.piece(before: window.upperBound) {
            let sectors = range.lowerBound / sectorSize..<range.upperBound / sectorSize
            bitmap.withUnsafeMutableBytes {
                let first = window.lowerBound / sectorSize
                CowBitmap.set(Int(sectors.lowerBound - first)..<Int(sectors.upperBound - first), in: $0)
            }
            let length = Int(range.upperBound - range.lowerBound)
            if let bytes, count == 0 {
                held = bytes
            } else if let bytes, held.baseAddress.map({ $0 + held.count }) == bytes.baseAddress {
                held = UnsafeRawBufferPointer(start: held.baseAddress, count: held.count + bytes.count)
            } else {
                // Zeros among the data: what is held is put together.
                gather()
                let place = scratch.bytes.baseAddress! + count
                if let bytes { memcpy(place, bytes.baseAddress!, length) } else { memset(place, 0, length) }
                held = UnsafeRawBufferPointer(rebasing: scratch.bytes[..<(count + length)])
            }
            count += length
        }
        if count == sectors * Int(sectorSize), ZeroScan.isZero(held) { return LayerDigest.Entry.heldZeros }
        return bitmap.withUnsafeBytes { ContentDigest(of: held, $0) }
    }
}

/// What an archive holds, however it is stored: archives of one state stand in for one another.
package enum ArchiveState {
    /// The digest of `layers`, which hold what `digests` say. Of each layer, one behind the other
    /// and a NUL behind each: the number of its names and those, layout, size, alignment, mtime,
    /// mode, owner, group, backing, image, with, link, and its digest; numbers in decimal, what is
    /// absent empty; image and with 1 or 0.
    package static func digest(of layers: [ArchiveHeader.Layer], holding digests: [ContentDigest])
        -> ContentDigest
    {
        var bytes: [UInt8] = []
        func add(_ text: String) {
            bytes += text.utf8
            bytes.append(0)
        }
        func add(_ number: (some BinaryInteger)?) { add(number.map { String($0) } ?? "") }
        for (layer, digest) in zip(layers, digests) {
            add(layer.names.count)
            for name in layer.names { add(name) }
            add(layer.layout)
            add(layer.size)
            add(layer.alignment)
            add(layer.mtime)
            add(layer.mode)
            add(layer.owner)
            add(layer.group)
            add(layer.backing)
            add(layer.image ? "1" : "0")
            add(layer.isCompanion ? "1" : "0")
            add(layer.link ?? "")
            add(digest.description)
        }
        return ContentDigest(of: bytes)
    }
}
