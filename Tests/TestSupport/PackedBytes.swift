/// Bytes put together field by field, as a C compiler lays out a struct.
package struct PackedBytes {
    package private(set) var bytes: [UInt8] = []
    private let isLittleEndian: Bool

    package init(isLittleEndian: Bool = false) { self.isLittleEndian = isLittleEndian }

    package mutating func append(_ value: UInt32) { append(UInt64(value), width: 4) }

    package mutating func append(_ value: UInt64) { append(value, width: 8) }

    /// A field of text, `length` bytes long: the text, a NUL, then `garbage` as far as it reaches,
    /// then zeros. A text that fills the field has no NUL.
    package mutating func append(_ text: [UInt8], garbage: [UInt8] = [], length: Int) {
        let field = (text + [0] + garbage).prefix(length)
        bytes += field + [UInt8](repeating: 0, count: length - field.count)
    }

    private mutating func append(_ value: UInt64, width: Int) {
        let little = (0..<width).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
        bytes += isLittleEndian ? little : little.reversed()
    }
}
