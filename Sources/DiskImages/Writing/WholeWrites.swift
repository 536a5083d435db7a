internal import Glibc
internal import Linux
internal import SystemPackage

/// Writes all of `bytes` at `offset` of the file of `descriptor`, which is called `path` in
/// messages; a write that was cut short or interrupted goes on. Throws `DiskImageError` where the
/// kernel refuses, or takes nothing.
func writeWhole(
    _ bytes: UnsafeRawBufferPointer, to descriptor: CInt, at offset: UInt64, of path: FilePath
) throws {
    var done = 0
    while done < bytes.count {
        let count = pwrite(
            descriptor, bytes.baseAddress! + done, bytes.count - done, off_t(offset) + off_t(done))
        if count > 0 {
            done += count
        } else if count == 0 {
            throw DiskImageError(.io, path, "writing at offset \(offset) wrote nothing")
        } else if errno != EINTR {
            throw DiskImageError.system(path, "writing \(bytes.count) bytes at offset \(offset)")
        }
    }
}

/// Writes zeros to `range`, where no file system makes them without data: `write` gets pieces of
/// it, with their offsets, in order.
func writeZeros(_ range: Range<UInt64>, by write: (UnsafeRawBufferPointer, UInt64) throws -> Void) rethrows {
    let zeros = [UInt8](repeating: 0, count: 1 << 20)
    var position = range.lowerBound
    while position < range.upperBound {
        let count = Int(min(UInt64(zeros.count), range.upperBound - position))
        try zeros.withUnsafeBytes { try write(UnsafeRawBufferPointer(rebasing: $0[..<count]), position) }
        position += UInt64(count)
    }
}
