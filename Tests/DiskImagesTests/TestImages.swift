import DiskImages
import ImageFormats
import SystemPackage
import TestSupport
import Testing

extension ChainOptions {
    /// Options without any restriction.
    static var usual: ChainOptions {
        get throws { ChainOptions(location: try BackingLocation()) }
    }

    /// The usual options, changed.
    static func usual(_ change: (inout ChainOptions) -> Void) throws -> ChainOptions {
        var options = try usual
        change(&options)
        return options
    }
}

extension TemporaryDirectory {
    /// Writes a raw image of `size` bytes, all `fill`.
    @discardableResult
    func raw(_ name: String, size: Int = 65_536, fill: UInt8 = 0x62, mtime: UInt32 = SparseFile.usualMtime)
        throws -> FilePath
    {
        try SparseFile.write([UInt8](repeating: fill, count: size), to: self(name), mtime: mtime)
        return self(name)
    }

    /// Writes an overlay with nothing allocated, after `change`.
    @discardableResult
    func cow(
        _ name: String, _ layout: CowLayout = .qemuV2, over backing: String, size: UInt64 = 65_536,
        change: (inout CowImageBuilder) -> Void = { _ in }
    ) throws -> FilePath {
        var image = CowImageBuilder(layout, backing: backing, size: size)
        change(&image)
        try image.write(to: self(name))
        return self(name)
    }
}

/// Runs `body`, which must throw a `DiskImageError`, and returns it.
func diskImageError(_ body: () throws -> Void, at location: SourceLocation = #_sourceLocation) throws
    -> DiskImageError
{
    try #require(
        #expect(throws: DiskImageError.self, sourceLocation: location, performing: body),
        sourceLocation: location)
}

extension ImageChain {
    /// Opens `path` with the usual options.
    static func open(_ path: FilePath) throws -> ImageChain { try open(path, .usual) }

    /// The files' names and formats, top first: `top.cow:qemu-v2 base.raw:raw`.
    var summary: String {
        layers.map { "\($0.path.lastComponent?.string ?? ""):\($0.layoutName)" }.joined(separator: " ")
    }

    /// Every extent, from the first to the last.
    var extents: [Extent] {
        get throws { try extents(from: BlockStatus(of: self)) }
    }

    func extents(from status: BlockStatus) throws -> [Extent] {
        var status = status
        var found: [Extent] = []
        while let extent = try status.next() { found.append(extent) }
        return found
    }

    /// What a guest reads, put together from the extents.
    var guestBytes: [UInt8] {
        get throws {
            var guest = [UInt8](repeating: 0, count: Int(guestLength))
            for extent in try extents {
                guard case .data(let offset) = extent.content else { continue }
                _ = try guest.withUnsafeMutableBytes {
                    try layers[extent.depth].file.readAvailable(
                        into: UnsafeMutableRawBufferPointer(
                            rebasing: $0[Int(extent.start)..<Int(extent.end)]), at: offset)
                }
            }
            return guest
        }
    }
}
