/// The order of the bytes of a number on disk.
package enum ByteOrder: Equatable, Sendable {
    case big, little
}

extension [UInt8] {
    /// The unsigned number of `T.bitWidth / 8` bytes at `offset`, or nil where the array ends
    /// before it does.
    package func number<T: FixedWidthInteger & UnsignedInteger>(
        _ type: T.Type = T.self, at offset: Int, _ order: ByteOrder
    ) -> T? {
        let width = T.bitWidth / 8
        guard offset >= 0, count >= width, offset <= count - width else { return nil }
        var value: T = 0
        for index in 0..<width {
            let position = order == .big ? offset + index : offset + width - 1 - index
            value = value << 8 | T(self[position])
        }
        return value
    }

    /// Stores `value` at `offset`, which must lie inside the array with all of the number's bytes.
    package mutating func store<T: FixedWidthInteger & UnsignedInteger>(
        _ value: T, at offset: Int, _ order: ByteOrder
    ) {
        let width = T.bitWidth / 8
        for index in 0..<width {
            let shift = order == .big ? 8 * (width - 1 - index) : 8 * index
            self[offset + index] = UInt8(truncatingIfNeeded: value >> T(shift))
        }
    }
}

/// `value` with all the digits of its width, as a magic number is written.
func hex(_ value: some FixedWidthInteger & UnsignedInteger) -> String {
    let digits = String(value, radix: 16)
    return "0x" + String(repeating: "0", count: type(of: value).bitWidth / 4 - digits.count) + digits
}
