internal import DiskImages
internal import ImageFormats
internal import SystemPackage

/// The input is a qcow2 file: its header, its map, and what a guest reads where it is not too long.
enum ClusterTarget {
    private static let mostExtents = 4096
    private static let window: UInt64 = 64 << 10

    static func run(_ bytes: [UInt8]) throws {
        _ = try accepted { try Qcow2Header(Array(bytes.prefix(1 << 21))) }
        _ = try Scratch.write("0", bytes, length: UInt64(bytes.count), mtime: 1)
        let options = ChainOptions(
            format: .qcow2, location: try BackingLocation(confinement: [Scratch.folder]))
        guard let chain = try accepted({ try ImageChain.examine(Scratch.folder.appending("0"), options) })
        else { return }
        let guest = GuestReader(chain)
        let buffer = try AlignedBuffer(capacity: Int(window))
        var extents = guest.extents(in: 0..<chain.guestLength)
        var position: UInt64 = 0
        for _ in 0..<mostExtents {
            guard let extent = try accepted({ try extents.next() }) ?? nil else { return }
            try Finding.unless(
                extent.start == position && extent.length > 0,
                "an extent begins at \(extent.start), not at \(position)")
            position = extent.end
            let count = Int(min(extent.length, window))
            _ = try accepted {
                try guest.read(
                    at: extent.start, into: UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<count]))
            }
        }
    }
}
