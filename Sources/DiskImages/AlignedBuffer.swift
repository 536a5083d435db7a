internal import Glibc
internal import SystemPackage

/// A block of memory on a page boundary, of a size fixed for its life; freed with its owner.
///
/// One owner uses it at a time: the pipeline hands it from stage to stage and never shares it. That is why it may cross tasks.
package final class AlignedBuffer: @unchecked Sendable {
    package let bytes: UnsafeMutableRawBufferPointer

    /// `capacity` bytes of zeros; throws where there is no memory for them.
    package init(capacity: Int) throws {
        var pointer: UnsafeMutableRawPointer?
        guard posix_memalign(&pointer, 4096, capacity) == 0, let pointer else {
            throw DiskImageError(.io, "memory", "no \(capacity) bytes for a buffer")
        }
        bytes = UnsafeMutableRawBufferPointer(start: pointer, count: capacity)
        memset(pointer, 0, capacity)
    }

    deinit { free(bytes.baseAddress) }
}
