/// How much there may be in an archive's JSON: what is made of it takes many times its memory, and
/// one name of it is three bytes long.
enum JSONBounds {
    /// Room for so many marks of structure for each of the layers that an archive may have; they
    /// have 25 in the index; in the header 23, and 3 more with further names.
    private static let most = 32 * ArchiveHeader.mostLayers

    /// Throws `damaged` where `bytes` hold more than an archive with as many layers as are allowed.
    static func check(_ bytes: [UInt8], _ what: String) throws {
        var count = 0
        var isInText = false
        var isEscaped = false
        for byte in bytes {
            if isEscaped {
                isEscaped = false
            } else if isInText {
                isEscaped = byte == UInt8(ascii: "\\")
                isInText = byte != UInt8(ascii: "\"")
            } else {
                switch byte {
                case UInt8(ascii: "\""): isInText = true
                case UInt8(ascii: ","), UInt8(ascii: ":"), UInt8(ascii: "["), UInt8(ascii: "{"): count += 1
                default: break
                }
            }
        }
        guard count <= most else {
            throw ArchiveError(
                .damaged, "its \(what) holds more than \(ArchiveHeader.mostLayers) layers need")
        }
    }
}
