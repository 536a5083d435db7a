internal import ImageFormats

/// An image that is being written: guest offsets in, file offsets out. Many tasks may write at
/// once, each to its own ranges.
package protocol ImageSink: Sendable {
    var file: TargetFile { get }

    /// Makes a fresh file: header, full length, everything else a hole.
    func prepare() throws

    /// Writes `bytes` as the guest's bytes from `offset` on.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws

    /// Marks sectors as held by this image; `bitmap` is what `range`, whose start is a multiple of
    /// 4096 bytes, has for its sectors.
    func mark(_ bitmap: UnsafeRawBufferPointer, at offset: UInt64) throws

    /// Marks all sectors of `range`, which begins at a multiple of 4096 bytes, as held by this
    /// image.
    func markAll(_ range: Range<UInt64>) throws

    /// Makes `range`, which begins at a multiple of 4096 bytes, as it was after `prepare`.
    func clear(_ range: Range<UInt64>) throws

    /// Where guest offset `offset` lies in the file.
    func fileOffset(of offset: UInt64) -> UInt64
}

/// A raw image: the guest's bytes and nothing else, holes where nothing was written.
package struct RawSink: ImageSink {
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

    package func mark(_ bitmap: UnsafeRawBufferPointer, at offset: UInt64) {}
    package func markAll(_ range: Range<UInt64>) {}
    package func clear(_ range: Range<UInt64>) throws {
        guard range.lowerBound < length else { return }
        try file.clear(range.lowerBound..<min(range.upperBound, length))
    }

    package func fileOffset(of offset: UInt64) -> UInt64 { offset }
}
