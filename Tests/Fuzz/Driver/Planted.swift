internal import ImageFormats

/// A bug that stands nowhere else, by which a build proves that it finds bugs: behind fields of a
/// header that only the coverage of Drover's own parser leads to, a byte is read that only
/// AddressSanitizer knows not to be there.
enum Planted {
    static let name = "planted"

    static func run(_ bytes: [UInt8]) -> CInt {
        guard let header = try? CowHeader.readings(of: bytes, fileLength: 1 << 40).first,
            header.layout == .umlV1
        else { return 0 }
        let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: 8)
        defer { memory.deallocate() }
        memory.initialize(repeating: 0, count: 8)
        return byte(at: memory + 8) == 0 ? 0 : -1
    }

    /// Out of the optimizer's sight, which would see that the byte is none.
    @inline(never) @_optimize(none)
    private static func byte(at place: UnsafePointer<UInt8>) -> UInt8 { place.pointee }
}
