internal import DiskImages
internal import Glibc
internal import ImageFormats
internal import Linux

/// Where one guest's disk shows other bytes than another one, and which; what a disk lacks at its
/// end reads as zeros. Only what may differ is read.
struct DiskDifference {
    private static let pieceLength: UInt64 = 256 << 10

    private let old: GuestReader?
    private let new: GuestReader?
    private let inOld: AlignedBuffer
    private let inNew: AlignedBuffer

    /// Of `new` against `old`; nil stands for a disk of zeros.
    init(of new: GuestReader?, against old: GuestReader?) throws {
        (self.old, self.new) = (old, new)
        inOld = try AlignedBuffer(capacity: Int(DiskDifference.pieceLength))
        inNew = try AlignedBuffer(capacity: Int(DiskDifference.pieceLength))
    }

    /// Calls `body` with every run of sectors in `range`, whole sectors, that differ, in order, and
    /// the old bytes.
    func forEach(in range: Range<UInt64>, _ body: (UInt64, UnsafeRawBufferPointer) throws -> Void) throws {
        var oldExtents = old?.extents(in: range)
        var newExtents = new?.extents(in: range)
        var position = range.lowerBound
        while position < range.upperBound {
            let a = try oldExtents?.extent(at: position, upTo: range.upperBound)
            let b = try newExtents?.extent(at: position, upTo: range.upperBound)
            var end = min(a?.end ?? range.upperBound, b?.end ?? range.upperBound)
            if !isSame(a, b) {
                end = min(end, position + DiskDifference.pieceLength)
                try compare(position..<end, body)
            }
            position = end
        }
    }

    private func isSame(_ a: Extent?, _ b: Extent?) -> Bool {
        guard let old, let new else { return (a?.isZero ?? true) && (b?.isZero ?? true) }
        return old.isSame(a, as: b, of: new)
    }

    private func compare(_ range: Range<UInt64>, _ body: (UInt64, UnsafeRawBufferPointer) throws -> Void)
        throws
    {
        let count = Int(range.upperBound - range.lowerBound)
        let a = try read(old, range.lowerBound, inOld, count)
        let b = try read(new, range.lowerBound, inNew, count)
        let sector = Int(sectorSize)
        var start = 0
        while start < count {
            guard memcmp(a.baseAddress! + start, b.baseAddress! + start, sector) != 0 else {
                start += sector
                continue
            }
            var end = start + sector
            while end < count, memcmp(a.baseAddress! + end, b.baseAddress! + end, sector) != 0 {
                end += sector
            }
            try body(range.lowerBound + UInt64(start), UnsafeRawBufferPointer(rebasing: a[start..<end]))
            start = end
        }
    }

    private func read(_ guest: GuestReader?, _ position: UInt64, _ buffer: AlignedBuffer, _ count: Int) throws
        -> UnsafeRawBufferPointer
    {
        let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<count])
        if let guest {
            try guest.read(at: position, into: bytes)
        } else {
            memset(bytes.baseAddress!, 0, count)
        }
        return UnsafeRawBufferPointer(bytes)
    }
}
