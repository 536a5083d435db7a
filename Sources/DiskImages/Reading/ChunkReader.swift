internal import CLinux
internal import Glibc

/// One stretch to read from one layer's file to one place of a buffer. Bytes.
package struct ReadRun: Equatable, Sendable {
    package let layer: Int
    /// Where it lies in the layer's file, or, where it is encoded, in the layer's own disk.
    package let offset: UInt64
    /// Whether the layer alone can say what is there.
    package let isEncoded: Bool
    /// Where it goes in the buffer.
    package let position: Int
    package var length: Int

    package init(layer: Int, offset: UInt64, isEncoded: Bool, position: Int, length: Int) {
        self.layer = layer
        self.offset = offset
        self.isEncoded = isEncoded
        self.position = position
        self.length = length
    }

    /// The bytes `range` of it.
    package func part(_ range: Range<Int>) -> ReadRun {
        ReadRun(
            layer: layer, offset: offset + UInt64(range.lowerBound), isEncoded: isEncoded,
            position: position + range.lowerBound, length: range.count)
    }

    /// The same, to go so many bytes further back in the buffer.
    package func moved(by distance: Int) -> ReadRun {
        ReadRun(
            layer: layer, offset: offset, isEncoded: isEncoded, position: position + distance, length: length)
    }
}

/// Reads the runs of a chunk, scattered over layers, with few system calls.
///
/// A fragmented overlay has a run every few sectors. Short gaps between the runs of one file are
/// read into a waste buffer, because one vectored call over a gap of a few pages costs less than
/// two calls; longer gaps are skipped.
package struct ChunkReader {
    /// The longest gap that is read over, in bytes.
    private static let longestGap = 16 << 10
    /// What one `preadv` takes (IOV_MAX).
    private static let mostPieces = 1024

    private let layers: [ImageLayer]
    private let waste: AlignedBuffer

    /// A reader of `layers`; throws where there is no memory.
    package init(_ layers: [ImageLayer]) throws {
        self.layers = layers
        waste = try AlignedBuffer(capacity: ChunkReader.longestGap)
    }

    /// Fills `buffer` from `runs`, which come in the buffer's order and do not overlap; what no run
    /// covers becomes zeros.
    package func read(_ runs: [ReadRun], into buffer: UnsafeMutableRawBufferPointer) throws {
        var covered = 0
        var deepest = 0
        for run in runs {
            if run.position > covered { memset(buffer.baseAddress! + covered, 0, run.position - covered) }
            covered = run.position + run.length
            deepest = max(deepest, run.layer)
        }
        if covered < buffer.count { memset(buffer.baseAddress! + covered, 0, buffer.count - covered) }
        guard !runs.isEmpty else { return }
        for layer in 0...deepest { try read(layer, of: runs, into: buffer) }
    }

    /// The file that has the bytes of `run` as they are; nil where they must be decoded.
    package func file(of run: ReadRun) -> ImageFile? { run.isEncoded ? nil : layers[run.layer].file }

    /// The part of a run that its file holds. A last sector may be partial: what it lacks becomes
    /// zeros.
    private func clip(_ run: ReadRun, _ buffer: UnsafeMutableRawBufferPointer) -> ReadRun? {
        let length = layers[run.layer].file.length
        let held = run.offset < length ? Int(min(UInt64(run.length), length - run.offset)) : 0
        if held < run.length { memset(buffer.baseAddress! + run.position + held, 0, run.length - held) }
        return held == 0
            ? nil
            : ReadRun(
                layer: run.layer, offset: run.offset, isEncoded: false, position: run.position, length: held)
    }

    /// Reads one layer's runs. What rises in the file as it does in the buffer is read together;
    /// what lies before it in the file is read apart.
    private func read(_ layer: Int, of runs: [ReadRun], into buffer: UnsafeMutableRawBufferPointer) throws {
        var pieces: [iovec] = []
        var start: UInt64 = 0
        var end: UInt64 = 0
        var position = 0
        for whole in runs where whole.layer == layer {
            guard !whole.isEncoded else {
                try decode(whole, into: buffer)
                continue
            }
            guard let run = clip(whole, buffer) else { continue }
            let gap =
                pieces.isEmpty ? 0 : run.offset >= end ? Int(clamping: run.offset - end) : Int.max
            if !pieces.isEmpty, gap > ChunkReader.longestGap || pieces.count + 2 > ChunkReader.mostPieces {
                try layers[layer].file.read(scatteredInto: &pieces, at: start)
                pieces.removeAll(keepingCapacity: true)
            }
            if pieces.isEmpty {
                start = run.offset
            } else if gap == 0, position == run.position {
                pieces[pieces.count - 1].iov_len += run.length
                (end, position) = (end + UInt64(run.length), position + run.length)
                continue
            } else if gap > 0 {
                pieces.append(iovec(iov_base: waste.bytes.baseAddress, iov_len: gap))
            }
            pieces.append(iovec(iov_base: buffer.baseAddress! + run.position, iov_len: run.length))
            (end, position) = (run.offset + UInt64(run.length), run.position + run.length)
        }
        if !pieces.isEmpty { try layers[layer].file.read(scatteredInto: &pieces, at: start) }
    }

    private func decode(_ run: ReadRun, into buffer: UnsafeMutableRawBufferPointer) throws {
        let layer = layers[run.layer]
        let place = run.position..<run.position + run.length
        try layer.content.decode(
            layer.file, at: run.offset, into: UnsafeMutableRawBufferPointer(rebasing: buffer[place]))
    }
}
