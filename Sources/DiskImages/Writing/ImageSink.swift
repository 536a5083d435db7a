internal import ImageFormats

/// An image that is being written. Many tasks may write at once, each to its own ranges.
package protocol ImageSink: Sendable {
    var file: TargetFile { get }

    /// Makes a fresh file, which holds nothing of the disk yet.
    func prepare() throws

    /// Goes on with what an earlier run left: `gaps`, which begin at multiples of 1 MiB, become as
    /// they are in a fresh file; all else is kept.
    func resume(clearing gaps: [Range<UInt64>]) throws

    /// Takes the bytes of a stretch of the disk. Returns where in the file they lie, more or less;
    /// nil where nothing was written.
    func store(_ stretch: GuestStretch) throws -> Range<UInt64>?

    /// Sees to it that `range` is zeros, of which nothing is stored. Whatever begins as zeros has
    /// nothing to do.
    func clearZeros(_ range: Range<UInt64>) throws

    /// Shares the extents of `range`, of the disk and of `file`, which is this image's disk there;
    /// false, and nothing is done, where that cannot be.
    func share(_ range: Range<UInt64>, of file: ImageFile) throws -> Bool

    /// Takes over `range`, which begins at a multiple of 1 MiB, from `earlier`, an image that has
    /// everything at the same places: extents are shared, marks are copied. False, and nothing
    /// counts as written, where that cannot be.
    func adopt(_ range: Range<UInt64>, of earlier: ImageFile) throws -> Bool

    /// Marks all sectors of `range`, which begins at a multiple of 1 MiB, as held by this image,
    /// and zeros.
    func markAll(_ range: Range<UInt64>) throws

    /// Completes the file, all of whose disk is written, by this sink or another.
    func finish() throws
}

/// A stretch of a guest's disk whose bytes are there. It begins at a multiple of 1 MiB and is no
/// longer than that.
package struct GuestStretch {
    /// Where it begins in the disk, in bytes.
    package let start: UInt64
    package let bytes: UnsafeRawBufferPointer
    /// What of `bytes` is stored; the rest is zeros, or not held.
    package let data: [Range<Int>]
    /// Where files have parts of `bytes` that are long enough to be shared, in order.
    package let origins: [Origin]
    /// For each sector a bit that the image holds it; nil where it holds none, or has no bits.
    package let held: UnsafeRawBufferPointer?

    package init(
        start: UInt64, bytes: UnsafeRawBufferPointer, data: [Range<Int>], origins: [Origin] = [],
        held: UnsafeRawBufferPointer?
    ) {
        (self.start, self.bytes, self.data, self.origins, self.held) = (start, bytes, data, origins, held)
    }

    /// Bytes that a file has as they are, from `offset` on.
    package struct Origin {
        package let range: Range<Int>
        package let file: ImageFile
        package let offset: UInt64

        package init(_ range: Range<Int>, in file: ImageFile, at offset: UInt64) {
            (self.range, self.file, self.offset) = (range, file, offset)
        }
    }

    /// What is shorter than this is copied: sharing it takes longer.
    package static let shortestShared = 64 << 10

    /// The parts of `data`, each with the file that has it, if one has.
    func forEachPart(_ body: (Range<Int>, (file: ImageFile, offset: UInt64)?) throws -> Void) rethrows {
        var rest = origins[...]
        for range in data {
            var position = range.lowerBound
            while position < range.upperBound {
                while let first = rest.first, first.range.upperBound <= position { rest.removeFirst() }
                guard let origin = rest.first, origin.range.lowerBound < range.upperBound else {
                    try body(position..<range.upperBound, nil)
                    break
                }
                if origin.range.lowerBound > position {
                    try body(position..<origin.range.lowerBound, nil)
                    position = origin.range.lowerBound
                }
                let end = min(range.upperBound, origin.range.upperBound)
                try body(
                    position..<end, (origin.file, origin.offset + UInt64(position - origin.range.lowerBound)))
                position = end
            }
        }
    }
}

extension ImageSink {
    package func clearZeros(_ range: Range<UInt64>) {}

    package func share(_ range: Range<UInt64>, of file: ImageFile) throws -> Bool { false }

    package func adopt(_ range: Range<UInt64>, of earlier: ImageFile) throws -> Bool { false }

    package func finish() throws {}
}

/// An image in which every sector has a place that is known beforehand: guest offsets in, file
/// offsets out.
package protocol PlacedSink: ImageSink {
    /// Writes `bytes` as the guest's bytes from `offset` on.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws

    /// As above, of bytes that `file` has from `origin` on: it may share them.
    func write(
        _ bytes: UnsafeRawBufferPointer, at offset: UInt64, from file: ImageFile, _ origin: UInt64) throws

    /// Marks sectors as held by this image; `bitmap` is what the disk has for its sectors from
    /// `offset` on, a multiple of 4096 bytes.
    func mark(_ bitmap: UnsafeRawBufferPointer, at offset: UInt64) throws

    /// Makes `range`, which begins at a multiple of 4096 bytes, as it was after `prepare`.
    func clear(_ range: Range<UInt64>) throws

    /// Where guest offset `offset` lies in the file.
    func fileOffset(of offset: UInt64) -> UInt64
}

extension PlacedSink {
    package func resume(clearing gaps: [Range<UInt64>]) throws { for gap in gaps { try clear(gap) } }

    package func write(
        _ bytes: UnsafeRawBufferPointer, at offset: UInt64, from source: ImageFile, _ origin: UInt64
    ) throws { try write(bytes, at: offset) }

    package func store(_ stretch: GuestStretch) throws -> Range<UInt64>? {
        guard !stretch.origins.isEmpty else {
            for range in stretch.data {
                try write(
                    UnsafeRawBufferPointer(rebasing: stretch.bytes[range]),
                    at: stretch.start + UInt64(range.lowerBound))
            }
            return try mark(stretch)
        }
        try stretch.forEachPart { range, origin in
            let bytes = UnsafeRawBufferPointer(rebasing: stretch.bytes[range])
            let place = stretch.start + UInt64(range.lowerBound)
            guard let origin else { return try write(bytes, at: place) }
            try write(bytes, at: place, from: origin.file, origin.offset)
        }
        return try mark(stretch)
    }

    private func mark(_ stretch: GuestStretch) throws -> Range<UInt64>? {
        if let held = stretch.held { try mark(held, at: stretch.start) }
        guard !stretch.data.isEmpty else { return nil }
        let start = fileOffset(of: stretch.start)
        return start..<start + UInt64(stretch.bytes.count)
    }
}

/// A raw image: the guest's bytes and nothing else, holes where nothing was written.
package struct RawSink: PlacedSink {
    package let file: TargetFile
    private let length: UInt64

    /// A raw image of `length` bytes in `file`.
    package init(file: TargetFile, length: UInt64) {
        self.file = file
        self.length = length
    }

    package func prepare() throws { try file.reset(length: length) }

    /// A file may end within its last sector; what a guest sees behind that is zeros.
    package func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws {
        guard offset < length else { return }
        try file.write(
            UnsafeRawBufferPointer(rebasing: bytes.prefix(Int(min(UInt64(bytes.count), length - offset)))),
            at: offset)
    }

    package func write(
        _ bytes: UnsafeRawBufferPointer, at offset: UInt64, from source: ImageFile, _ origin: UInt64
    ) throws {
        guard offset + UInt64(bytes.count) <= length else { return try write(bytes, at: offset) }
        try file.writeOrShare(bytes, at: offset, from: source, origin)
    }

    package func share(_ range: Range<UInt64>, of source: ImageFile) throws -> Bool {
        let end = min(range.upperBound, length, source.length)
        return try range.lowerBound >= end || file.share(range.lowerBound..<end, of: source)
    }

    package func adopt(_ range: Range<UInt64>, of earlier: ImageFile) throws -> Bool {
        try share(range, of: earlier)
    }

    package func mark(_ bitmap: UnsafeRawBufferPointer, at offset: UInt64) {}
    package func markAll(_ range: Range<UInt64>) {}
    package func clear(_ range: Range<UInt64>) throws {
        guard range.lowerBound < length else { return }
        try file.clear(range.lowerBound..<min(range.upperBound, length))
    }

    package func fileOffset(of offset: UInt64) -> UInt64 { offset }
}
