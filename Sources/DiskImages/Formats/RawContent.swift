internal import ImageFormats
internal import Linux

/// A raw image: the guest's bytes and nothing else.
package struct RawContent: LayerContent {
    package let size: UInt64

    /// Of a file of `size` bytes.
    package init(size: UInt64) { self.size = size }

    package var formatName: String { ImageFormat.raw.name }
    package var format: ImageFormat { .raw }
    package var restored: FormatDescription { FormatDescription(format: formatName, layout: formatName) }
    package var isRaw: Bool { true }

    package func cursor(over file: ImageFile) -> any LayerCursor { RawCursor(stored: StoredData(file)) }
}

/// Walks through a raw image's holes.
struct RawCursor: LayerCursor {
    var stored: StoredData

    mutating func answer(at position: UInt64, upTo end: UInt64) throws -> (Extent.Content, end: UInt64) {
        try stored.answer(at: position, upTo: end, storedAt: position)
    }
}

/// The format that takes every file for what it is: bytes.
package struct RawFormat: LayerFormat {
    package init() {}

    package var names: [String] { [ImageFormat.raw.name] }

    package func recognises(_ prefix: [UInt8]) -> Bool { true }

    /// Throws where a file that nobody said to be raw begins as an image of another program.
    package func content(_ opening: FormatOpening) throws -> any LayerContent {
        let file = opening.file
        if opening.asked == nil,
            let foreign = try ForeignFormat(recognising: opening.prefix, end: end(of: file))
        {
            let choice = opening.choice(ImageFormat.raw.name)
            throw DiskImageError(
                .badData, file.path,
                "is \(foreign.name), which Drover does not read (\(foreign.advice); \(choice) takes its bytes as they are)"
            )
        }
        return RawContent(size: file.length)
    }

    /// The last bytes of `file`, in which some formats have their magic number.
    private func end(of file: ImageFile) throws -> [UInt8] {
        guard file.length > UInt64(ForeignFormat.endLength) else { return [] }
        var bytes = [UInt8](repeating: 0, count: ForeignFormat.endLength)
        try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: file.length - UInt64($0.count)) }
        return bytes
    }
}
