internal import ImageFormats

/// The input is the beginning of a COW file: every reading of it, as a file of its length and as
/// one of any length, with zeros behind it; and bits of a bitmap.
enum HeaderTarget {
    private static let lengths: [UInt64] = [4136, 1 << 20, 1 << 44, UInt64(Int64.max)]

    static func run(_ bytes: [UInt8]) throws {
        let prefix = Array(bytes.prefix(CowHeader.longestHeader))
        _ = CowHeader.isCow(prefix)
        _ = ForeignFormat(recognising: prefix)
        try read(prefix, length: UInt64(bytes.count))
        let padded = prefix + [UInt8](repeating: 0, count: CowHeader.longestHeader - prefix.count)
        for length in lengths { try read(padded, length: length) }
        try checkBits(of: bytes)
    }

    private static func read(_ prefix: [UInt8], length: UInt64) throws {
        for layout in [nil] + CowLayout.allCases.map(Optional.some) {
            for header in try accepted({
                try CowHeader.readings(of: prefix, fileLength: length, layout: layout)
            }) ?? [] {
                try check(header, length)
            }
        }
    }

    /// Where bitmap and data lie is within the file, and the header that is written is the one that
    /// was read.
    private static func check(_ header: CowHeader, _ length: UInt64) throws {
        let geometry = header.geometry
        try Finding.unless(
            geometry.bitmapOffset + geometry.bitmapLength <= min(length, geometry.dataOffset),
            "the bitmap lies elsewhere")
        try Finding.unless(
            geometry.guestLength >= header.size && geometry.guestLength - header.size < 512,
            "the disk has another length")
        try Finding.unless(
            geometry.mappedSectorCount <= geometry.sectorCount, "there are more bits than sectors")
        try Finding.unless(
            geometry.dataOffset + geometry.guestLength <= UInt64(Int64.max), "the data passes 2^63")
        let again = try accepted {
            try CowHeader.readings(of: header.serialized(), fileLength: length, layout: header.layout)
        }
        try Finding.unless(again?.first == header, "\(header) is read back as \(String(describing: again))")
    }

    /// Runs of equal bits, held against the bits one by one.
    private static func checkBits(of bytes: [UInt8]) throws {
        guard bytes.count >= 3 else { return }
        let bits = bytes.count * 8
        let start = Int(bytes[0]) % bits
        let end = start + 1 + Int(bytes[1]) * 7 % (bits - start)
        let run = bytes.withUnsafeBytes { CowBitmap.run(in: $0, from: start, to: end) }
        let bit = { (place: Int) in bytes[place / 8] >> UInt8(place % 8) & 1 == 1 }
        try Finding.unless(
            run.length >= 1 && start + run.length <= end,
            "a run of \(run.length) bits from \(start) to \(end)")
        try Finding.unless(
            (start..<start + run.length).allSatisfy { bit($0) == run.isSet },
            "a run of bits that are not equal")
        try Finding.unless(
            start + run.length == end || bit(start + run.length) != run.isSet, "a run that ends early")
    }
}
