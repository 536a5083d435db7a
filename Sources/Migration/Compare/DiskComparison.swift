package import DiskImages
internal import Glibc
internal import ImageFormats
internal import Linux
internal import Stages

/// Two guests' disks held against one another: what they show, not what their files are. What a
/// disk lacks at its end reads as zeros.
///
/// Only what may differ is read: not what both are known to be zeros in, and not what both take
/// from one place of one file.
package struct DiskComparison: Sendable {
    /// Bytes of guest disk that a worker takes at a time.
    private static let windowLength: UInt64 = 4 << 20
    /// Bytes of it that are read and compared at once: both sides stay in the processor's cache.
    private static let pieceLength: UInt64 = 256 << 10
    /// A stretch of this length that need not be compared ends the window: going on behind it is
    /// cheaper than filling it with zeros.
    private static let longestSkipInWindow: UInt64 = 64 << 10

    private let a: GuestReader
    private let b: GuestReader
    private let length: UInt64

    /// Of the first `length` bytes of both disks.
    package init(_ a: ImageChain, _ b: ImageChain, length: UInt64) {
        (self.a, self.b, self.length) = (GuestReader(a), GuestReader(b), length)
    }

    /// Where the first sector that differs begins; nil where there is none. `name` is what the
    /// progress calls it, where it is not a part of a whole.
    ///
    /// Throws `stopped` where a stop was requested before the end.
    package func firstDifference(named name: String, _ options: MoveOptions) async throws -> UInt64? {
        let progress = options.progress.isPart ? Progress(isShown: false) : options.progress
        options.passCache((a.chain.layers + b.chain.layers).map(\.file))
        progress.begin(Progress.Snapshot(name: name, length: length))
        let first = Locked(UInt64?.none)
        do {
            try await compareSideBySide(first, progress, options)
        } catch is Shortage {
            // Threads only help.
            progress.begin(Progress.Snapshot(name: name, length: length))
            try compareAlone(first, progress, options)
        }
        if let first = first.withLock(\.self) { return first }
        guard !options.stop.isRequested else {
            throw MigrationError(.stopped, "\(name): stopped by a signal (run the same command again)")
        }
        return nil
    }

    private func compareSideBySide(_ first: Locked<UInt64?>, _ progress: Progress, _ options: MoveOptions)
        async throws
    {
        let windows = BoundedChannel<Range<UInt64>>(limit: 4 * options.workers.limit)
        try await stages { group in
            try group.addStage { try await plan(into: windows, first, progress, options) }
            try group.addStage {
                try await Workers.work(options.workers) {
                    let worker = try Worker(a, b)
                    while let window = try await windows.receive() {
                        try worker.compare(window, first, progress)
                    }
                }
            }
        }
    }

    /// The same on this thread.
    private func compareAlone(_ first: Locked<UInt64?>, _ progress: Progress, _ options: MoveOptions) throws {
        var (inA, inB) = (a.extents(in: 0..<length), b.extents(in: 0..<length))
        let worker = try Worker(a, b)
        var position: UInt64 = 0
        while position < length, !options.stop.isRequested, first.withLock({ $0 == nil }) {
            let start = position
            let window = try window(at: &position, &inA, &inB)
            progress.add(covered: position - start - (window.upperBound - window.lowerBound))
            try worker.compare(window, first, progress)
        }
    }

    /// Hands out what must be compared, in the disk's order, until the first difference is found.
    private func plan(
        into windows: BoundedChannel<Range<UInt64>>, _ first: Locked<UInt64?>, _ progress: Progress,
        _ options: MoveOptions
    ) async throws {
        var (inA, inB) = (a.extents(in: 0..<length), b.extents(in: 0..<length))
        var position: UInt64 = 0
        while position < length, !options.stop.isRequested, first.withLock({ $0 == nil }) {
            let start = position
            let window = try window(at: &position, &inA, &inB)
            progress.add(covered: position - start - (window.upperBound - window.lowerBound))
            guard !window.isEmpty else { continue }
            try options.rate?.wait(for: 2 * Int(window.upperBound - window.lowerBound), options.stop)
            try await windows.send(window)
        }
        windows.finish()
    }

    /// Walks on to the end of the next window that may differ; it is empty where there is none up
    /// to there.
    private func window(at position: inout UInt64, _ inA: inout GuestExtents, _ inB: inout GuestExtents)
        throws -> Range<UInt64>
    {
        var start = position
        var isOpen = false
        while let extentA = try inA.extent(at: position, upTo: length),
            let extentB = try inB.extent(at: position, upTo: length)
        {
            let end = min(extentA.end, extentB.end)
            let limit = start + DiskComparison.windowLength
            guard !isOpen || position < limit else { break }
            if a.isSame(extentA, as: extentB, of: b) {
                if isOpen, end - position >= DiskComparison.longestSkipInWindow { break }
                position = isOpen ? min(end, limit) : end
                if !isOpen { start = position }
            } else {
                isOpen = true
                position = min(end, limit)
            }
        }
        return start..<position
    }

    /// What reads both sides and holds them against each other.
    private struct Worker {
        private let a: GuestReader
        private let b: GuestReader
        private let inA: AlignedBuffer
        private let inB: AlignedBuffer

        init(_ a: GuestReader, _ b: GuestReader) throws {
            (self.a, self.b) = (a, b)
            inA = try AlignedBuffer(capacity: Int(DiskComparison.pieceLength))
            inB = try AlignedBuffer(capacity: Int(DiskComparison.pieceLength))
        }

        /// Compares `window`, as long as no difference before it is found.
        func compare(_ window: Range<UInt64>, _ first: Locked<UInt64?>, _ progress: Progress) throws {
            for start in stride(
                from: window.lowerBound, to: window.upperBound, by: Int(DiskComparison.pieceLength))
            {
                // Behind a difference that was found, none is the first.
                if first.withLock({ $0.map { $0 < start } }) == true { return }
                let count = Int(min(window.upperBound - start, DiskComparison.pieceLength))
                let bytesA = UnsafeMutableRawBufferPointer(rebasing: inA.bytes[..<count])
                let bytesB = UnsafeMutableRawBufferPointer(rebasing: inB.bytes[..<count])
                try a.read(at: start, into: bytesA)
                try b.read(at: start, into: bytesB)
                progress.add(covered: UInt64(count), read: 2 * count)
                guard let index = DiskComparison.firstDifferingSector(bytesA, bytesB) else { continue }
                let offset = start + UInt64(index)
                first.withLock { $0 = min($0 ?? .max, offset) }
                return
            }
        }
    }

    private static func firstDifferingSector(
        _ a: UnsafeMutableRawBufferPointer, _ b: UnsafeMutableRawBufferPointer
    ) -> Int? {
        guard let firstA = a.baseAddress, let firstB = b.baseAddress, memcmp(firstA, firstB, a.count) != 0
        else { return nil }
        return stride(from: 0, to: a.count, by: Int(sectorSize)).first {
            memcmp(firstA + $0, firstB + $0, min(Int(sectorSize), a.count - $0)) != 0
        }
    }
}
