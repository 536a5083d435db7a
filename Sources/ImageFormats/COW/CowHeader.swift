/// The header of a COW file: what it says, apart from how a layout stores it.
package struct CowHeader: Equatable, Sendable {
    /// "OOOM" in big-endian bytes.
    package static let magic: UInt32 = 0x4f4f_4f4d
    /// The length of the longest header; reading so many bytes is enough to parse any.
    package static let longestHeader = 4136
    /// The alignment that UML and `uml_mkcow` use.
    package static let usualAlignment: UInt32 = 4096

    package let layout: CowLayout
    /// Big in every layout but `uml-v1`, which follows its writer's host.
    package let byteOrder: ByteOrder
    /// The backing file's path as bytes, without NUL; empty where there is no backing file (QEMU
    /// layouts only).
    package let backingPath: [UInt8]
    /// The backing file's modification time in seconds; 0 in a QEMU layout means unknown.
    package let mtime: UInt32
    /// The guest disk's size in bytes, as it stands in the header: not always a whole number of
    /// sectors.
    package let size: UInt64
    /// V3 alone: bitmap and data begin at multiples of it.
    package let alignment: UInt32
    package let geometry: CowGeometry

    /// A header whose numbers are known to be possible. Throws `FormatError` where they are not.
    package init(
        layout: CowLayout, byteOrder: ByteOrder = .big, backingPath: [UInt8], mtime: UInt32, size: UInt64,
        alignment: UInt32 = CowHeader.usualAlignment
    ) throws(FormatError) {
        let fields = layout.fields
        if layout.isUML {
            guard size > 0 else {
                throw .field("size", at: fields.size, is: size, expected: "a disk larger than 0 bytes")
            }
            guard !backingPath.isEmpty else {
                throw .field(
                    "backing path", at: fields.path, is: "empty",
                    expected: "a path (UML always names a backing file)")
            }
        }
        guard backingPath.count < fields.pathLength, !backingPath.contains(0) else {
            throw .field(
                "backing path", at: fields.path, is: "longer than its buffer",
                expected: "at most \(layout.longestPath) bytes before a NUL")
        }
        if let place = fields.alignment {
            guard alignment.nonzeroBitCount == 1, alignment <= 1 << 30 else {
                throw .field(
                    "alignment", at: place, is: alignment, expected: "a power of two up to 1073741824")
            }
        }
        self.layout = layout
        self.byteOrder = byteOrder
        self.backingPath = backingPath
        self.mtime = mtime
        self.size = size
        self.alignment = alignment
        geometry = try CowGeometry(layout: layout, size: size, alignment: alignment)
    }

    /// The length of a whole file with this header; that of a disk of size 0 is the header's own.
    package var fullLength: UInt64 {
        geometry.guestLength == 0 ? geometry.bitmapOffset : geometry.dataOffset + geometry.guestLength
    }

    /// What to tell a user of a header that `isPastUMLLimit`.
    package static let pastUMLLimit =
        "header and bitmap pass 2^31 bytes, and User-Mode Linux cannot open such an image"

    /// Header and bitmap reach past 2^31 bytes: UML keeps the data offset in an int, so it cannot
    /// open such a file.
    package var isPastUMLLimit: Bool { geometry.dataOffset > UInt64(Int32.max) }
}
