internal import CLinux
internal import Glibc
internal import Linux
internal import SystemPackage

/// Extents that a target shares with its sources instead of copying them, on file systems that can
/// (XFS, btrfs). Whole blocks at whole blocks; whatever cannot be shared is copied.
struct ExtentSharing {
    /// A block's length in bytes; 0 where nothing can be shared.
    let blockLength: UInt64
    /// Sources that were refused: it is not asked again.
    private var refused: Set<FileID> = []
    /// Bytes that are shared by now.
    private(set) var shared: UInt64 = 0

    /// Into the file of `descriptor`.
    init(_ descriptor: CInt) {
        let length = clinux_block_length(descriptor)
        blockLength = length >= 512 && length <= 1 << 20 && length.nonzeroBitCount == 1 ? UInt64(length) : 0
    }

    /// The part of `length` bytes, at `offset` of a source and `place` of the target, that is whole
    /// blocks in both; nil where there is none. Bytes from `offset` on.
    func blocks(_ length: UInt64, from offset: UInt64, to place: UInt64) -> Range<UInt64>? {
        guard blockLength > 0, offset % blockLength == place % blockLength else { return nil }
        let skipped = (blockLength - offset % blockLength) % blockLength
        guard length > skipped else { return nil }
        let whole = (length - skipped) / blockLength * blockLength
        return whole > 0 ? skipped..<skipped + whole : nil
    }

    /// False once a source was refused, where nothing was ever shared.
    var isWorthwhile: Bool { blockLength > 0 && (shared > 0 || refused.isEmpty) }

    func isRefused(_ source: FileIdentity) -> Bool { refused.contains(FileID(source)) }
    mutating func refuse(_ source: FileIdentity) { refused.insert(FileID(source)) }
    mutating func add(_ length: UInt64) { shared += length }
}

extension ImageFile {
    /// Lets the file of `descriptor` share `length` bytes from `offset` on, at `place`. 0 or errno.
    func share(_ offset: UInt64, _ length: UInt64, with descriptor: CInt, at place: UInt64) -> Errno? {
        let result = withDescriptor {
            clinux_share($0, off_t(offset), off_t(length), descriptor, off_t(place))
        }
        return result == 0 ? nil : .current
    }
}

extension ImageFile {
    /// Whether a file in `folder` could share this one's first block. Nothing is left behind.
    package func canBeShared(in folder: Folder) throws -> Bool {
        let descriptor = clinux_open_unnamed(folder.descriptor)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        guard let blocks = ExtentSharing(descriptor).blocks(length, from: 0, to: 0) else { return false }
        return share(0, min(blocks.upperBound, 64 << 10), with: descriptor, at: 0) == nil
    }
}
