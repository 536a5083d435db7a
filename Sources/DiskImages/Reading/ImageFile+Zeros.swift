extension ImageFile {
    /// Whether everything from `offset` on is zeros; holes are not read.
    package func isZero(from offset: UInt64) throws -> Bool {
        let buffer = try AlignedBuffer(capacity: 1 << 20)
        var position = offset
        while let start = try nextData(from: position), start < length {
            let count = Int(min(UInt64(buffer.bytes.count), length - start))
            let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<count])
            try read(into: bytes, at: start)
            guard ZeroScan.isZero(UnsafeRawBufferPointer(bytes)) else { return false }
            position = start + UInt64(count)
        }
        return true
    }
}
