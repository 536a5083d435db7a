package import DiskImages
internal import Glibc
internal import ImageFormats
internal import Linux
internal import Stages

/// A guest's disk as raw bytes to standard output, front to back: nothing is recorded, and nothing
/// can be gone on with.
///
///     extents ─► pieces, in order, each with a buffer ─► workers read ─► writer, in order
///
/// At most `readAhead` pieces of `pieceLength` bytes wait to be written.
package struct DiskStream: Sendable {
    private static let pieceLength: UInt64 = 1 << 20
    private static let readAhead = 8

    private let chain: ImageChain
    private let guest: GuestReader

    package init(of chain: ImageChain) {
        self.chain = chain
        guest = GuestReader(chain)
    }

    /// A part of the disk: bytes in a buffer, or zeros of any length.
    private struct Piece: Sendable {
        let number: Int
        let range: Range<UInt64>
        let buffer: AlignedBuffer?

        var length: Int { Int(range.upperBound - range.lowerBound) }
    }

    /// Writes the whole disk. Throws `stopped` where a stop was requested before the end, `badData`
    /// where a file changed meanwhile: what was written then is no disk.
    package func write(named name: String, _ options: MoveOptions) async throws {
        options.passCache(chain.layers.map(\.file))
        options.progress.begin(Progress.Snapshot(name: name, length: chain.guestLength))
        let isConsistent = try chain.layers.allSatisfy { try $0.file.user() == nil }
        let pipe = PipeWriter { [stop = options.stop] in stop.isRequested }
        let buffers = try await BufferPool(
            count: DiskStream.readAhead, capacity: Int(DiskStream.pieceLength))
        let planned = BoundedChannel<Piece>(limit: DiskStream.readAhead)
        let read = BoundedChannel<Piece>(limit: DiskStream.readAhead * 2)
        let written = Locked(UInt64(0))
        try await stages { group in
            try group.addStage { try await plan(into: planned, buffers, options) }
            try group.addStage {
                try await Workers.work(options.workers) {
                    while let piece = try await planned.receive() {
                        if let buffer = piece.buffer {
                            try guest.read(
                                at: piece.range.lowerBound,
                                into: UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<piece.length]))
                        }
                        try await read.send(piece)
                    }
                }
                read.finish()
            }
            try group.addStage {
                let end = try await write(read, to: pipe, buffers, options.progress)
                written.withLock { $0 = end }
            }
        }
        guard written.withLock(\.self) == chain.guestLength else {
            throw MigrationError(.stopped, "\(name): stopped by a signal (run the same command again)")
        }
        if isConsistent {
            try chain.checkUnchanged()
            try chain.checkUnused()
        }
    }

    private func plan(
        into planned: BoundedChannel<Piece>, _ buffers: BufferPool, _ options: MoveOptions
    ) async throws {
        var extents = guest.extents(in: 0..<chain.guestLength)
        var position: UInt64 = 0
        var number = 0
        while !options.stop.isRequested,
            let extent = try extents.extent(at: position, upTo: chain.guestLength)
        {
            var end = extent.end
            var buffer: AlignedBuffer?
            // Short zeros go with the data around them.
            if !extent.isZero || extent.length < DiskStream.pieceLength {
                end = min(
                    (position / DiskStream.pieceLength + 1) * DiskStream.pieceLength, chain.guestLength)
                try options.rate?.wait(for: Int(end - position), options.stop)
                if options.stop.isRequested { break }
                buffer = try await buffers.take()
            }
            try await planned.send(Piece(number: number, range: position..<end, buffer: buffer))
            (position, number) = (end, number + 1)
        }
        planned.finish()
    }

    /// Returns where in the disk it ended.
    private func write(
        _ read: BoundedChannel<Piece>, to pipe: PipeWriter, _ buffers: BufferPool, _ progress: Progress
    ) async throws -> UInt64 {
        let zeros = try AlignedBuffer(capacity: Int(DiskStream.pieceLength))
        memset(zeros.bytes.baseAddress!, 0, zeros.bytes.count)
        var waiting: [Int: Piece] = [:]
        var next = 0
        var end: UInt64 = 0
        while let piece = try await read.receive() {
            waiting[piece.number] = piece
            while let piece = waiting.removeValue(forKey: next) {
                if let buffer = piece.buffer {
                    try pipe.write(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<piece.length]))
                    try await buffers.give(buffer)
                } else {
                    try write(zeros, piece.range, to: pipe)
                }
                progress.add(covered: UInt64(piece.length), written: piece.length)
                (next, end) = (next + 1, piece.range.upperBound)
            }
        }
        return end
    }

    private func write(_ zeros: AlignedBuffer, _ range: Range<UInt64>, to pipe: PipeWriter) throws {
        var position = range.lowerBound
        while position < range.upperBound {
            let count = Int(min(UInt64(zeros.bytes.count), range.upperBound - position))
            try pipe.write(UnsafeRawBufferPointer(rebasing: zeros.bytes[..<count]))
            position += UInt64(count)
        }
    }
}
