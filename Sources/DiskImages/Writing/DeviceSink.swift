/// A raw image on a block device that has other bytes already: zeros are discarded or written, and
/// what lies behind the disk's end stays as it is.
package struct DeviceSink: ImageSink {
    package let file: TargetFile

    /// On the device that `file` is.
    package init(file: TargetFile) { self.file = file }

    package func prepare() {}

    /// What is not stored yet will be, zeros too.
    package func resume(clearing gaps: [Range<UInt64>]) {}

    package func store(_ stretch: GuestStretch) throws -> Range<UInt64>? {
        var position = 0
        for range in stretch.data + [stretch.bytes.count..<stretch.bytes.count] {
            try file.clear(stretch.start + UInt64(position)..<stretch.start + UInt64(range.lowerBound))
            try file.write(
                UnsafeRawBufferPointer(rebasing: stretch.bytes[range]),
                at: stretch.start + UInt64(range.lowerBound))
            position = range.upperBound
        }
        return stretch.start..<stretch.start + UInt64(stretch.bytes.count)
    }

    package func clearZeros(_ range: Range<UInt64>) throws { try file.clear(range) }
    package func markAll(_ range: Range<UInt64>) {}
}
