package import DiskImages
internal import Glibc
package import ImageFormats
package import SystemPackage

/// A disk as a line of text, a character for each `unit` bytes: a letter is data filled with that
/// letter, `0` is zeros that were written, `.` is a hole, and in an overlay `-` is what it leaves
/// to its backing file, so that there `.` is a set bit over a hole.
package struct Picture {
    package let characters: [UInt8]
    package let unit: Int

    package init(_ text: String, unit: Int = 1 << 20) {
        characters = Array(text.utf8)
        self.unit = unit
    }

    /// Draws what a guest reads: zeros are `.`, a unit that is not all one byte is `?`.
    package init(of bytes: [UInt8], unit: Int = 1 << 20) {
        characters = bytes.withUnsafeBytes { bytes in
            stride(from: 0, to: bytes.count, by: unit).map { start in
                let piece = UnsafeRawBufferPointer(rebasing: bytes[start..<min(start + unit, bytes.count)])
                let rest = UnsafeRawBufferPointer(rebasing: piece.dropFirst())
                guard let first = piece.first, let place = piece.baseAddress,
                    // All bytes are equal where each is what the one before it is.
                    rest.baseAddress.map({ memcmp(place, $0, rest.count) == 0 }) ?? true
                else { return UInt8(ascii: "?") }
                return first == 0 ? UInt8(ascii: ".") : first
            }
        }
        self.unit = unit
    }

    package var text: String { String(decoding: characters, as: UTF8.self) }
    package var length: UInt64 { UInt64(characters.count * unit) }

    /// Where data stands, and its bytes; zeros that were written are data.
    fileprivate var data: [(offset: Int, bytes: [UInt8])] {
        characters.enumerated().compactMap { index, character in
            guard character != UInt8(ascii: "."), character != UInt8(ascii: "-") else { return nil }
            return (
                index * unit, [UInt8](repeating: character == UInt8(ascii: "0") ? 0 : character, count: unit)
            )
        }
    }
}

extension TemporaryDirectory {
    /// Writes a raw image that looks like `picture`.
    @discardableResult
    package func raw(_ name: String, _ picture: String, unit: Int = 1 << 20) throws -> FilePath {
        let picture = Picture(picture, unit: unit)
        var file = SparseFile()
        for (offset, bytes) in picture.data { file.put(bytes, at: UInt64(offset)) }
        try file.write(to: self(name), length: picture.length)
        return self(name)
    }

    /// Writes an overlay of `backing` that looks like `picture`; an empty `backing` is none.
    @discardableResult
    package func cow(
        _ name: String, _ layout: CowLayout = .qemuV2, over backing: String, _ picture: String,
        unit: Int = 1 << 20,
        change: (inout CowImageBuilder) -> Void = { _ in }
    ) throws -> FilePath {
        let picture = Picture(picture, unit: unit)
        var image = CowImageBuilder(layout, backing: backing, size: picture.length)
        for (index, character) in picture.characters.enumerated() where character != UInt8(ascii: "-") {
            let sectors = UInt64(index * unit / 512)..<UInt64((index + 1) * unit / 512)
            let content: CowImageBuilder.Sector =
                character == UInt8(ascii: ".")
                ? .hole
                : .data([UInt8](repeating: character == UInt8(ascii: "0") ? 0 : character, count: 512))
            for sector in sectors { image.allocated[sector] = content }
        }
        change(&image)
        try image.write(to: self(name))
        return self(name)
    }

    /// The picture of what a guest reads from the image `name`.
    package func picture(of name: String, unit: Int = 1 << 20) throws -> String {
        Picture(
            of: try ImageChain.open(self(name), ChainOptions(location: try BackingLocation())).guestBytes,
            unit: unit
        ).text
    }
}

extension ImageChain {
    /// What a guest reads, put together from the extents.
    package var guestBytes: [UInt8] {
        get throws {
            var guest = [UInt8](repeating: 0, count: Int(guestLength))
            var status = BlockStatus(of: self)
            while let extent = try status.next() {
                let layer = layers[extent.depth]
                try guest.withUnsafeMutableBytes {
                    let bytes = UnsafeMutableRawBufferPointer(
                        rebasing: $0[Int(extent.start)..<Int(extent.end)])
                    switch extent.content {
                    case .data(let offset): _ = try layer.file.readAvailable(into: bytes, at: offset)
                    case .encoded(let offset): try layer.content.decode(layer.file, at: offset, into: bytes)
                    case .zero, .absent: break
                    }
                }
            }
            return guest
        }
    }
}
