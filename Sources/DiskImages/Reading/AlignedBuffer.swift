internal import CLinux
internal import SystemPackage

/// A block of memory on a page boundary, of a size fixed for its life; freed with its owner.
///
/// One owner uses it at a time: the pipeline hands it from stage to stage and never shares it. That
/// is why it may cross tasks.
package final class AlignedBuffer: @unchecked Sendable {
    package let bytes: UnsafeMutableRawBufferPointer

    /// `capacity` bytes of zeros, at least one; throws where there is no memory for them.
    package init(capacity: Int) throws {
        guard let pointer = clinux_map(capacity) else {
            throw DiskImageError.system("memory", "no \(capacity) bytes for a buffer")
        }
        bytes = UnsafeMutableRawBufferPointer(start: pointer, count: capacity)
    }

    deinit { clinux_unmap(bytes.baseAddress, bytes.count) }
}
