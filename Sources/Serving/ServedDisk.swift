internal import DiskImages
internal import ImageFormats
internal import Linux

/// A guest's disk that is served: read-only, by any number of threads at once, at any byte.
package final class ServedDisk: Sendable {
    /// The most extents of one answer; whoever wants more asks again.
    private static let mostExtents = 65_536

    private let guest: GuestReader
    /// Whether the files may change unseen: in an archive every byte has its digest.
    private let isChecked: Bool

    /// `isChecked`: what was read of files that changed since they were opened is an error.
    init(_ chain: ImageChain, isChecked: Bool) { (guest, self.isChecked) = (GuestReader(chain), isChecked) }

    /// Length in bytes, whole sectors.
    package var length: UInt64 { guest.length }

    /// The format of the image itself, as it is called on the command line.
    package var formatName: String { guest.chain.top.layoutName }

    /// Fills `buffer` with the disk's bytes from `offset` on, all of them before its end.
    package func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws {
        var position = offset
        let end = offset + UInt64(buffer.count)
        while position < end {
            let skipped = position % sectorSize
            let isWhole = skipped == 0 && end - position >= sectorSize
            let stop = isWhole ? end / sectorSize * sectorSize : min(end, position - skipped + sectorSize)
            let part = UnsafeMutableRawBufferPointer(
                rebasing: buffer[Int(position - offset)..<Int(stop - offset)])
            if isWhole {
                try guest.read(at: position, into: part)
            } else {
                try read(sectorAt: position - skipped, from: Int(skipped), into: part)
            }
            position = stop
        }
        if isChecked { try guest.chain.checkUnchanged() }
    }

    /// A part of a sector.
    private func read(sectorAt start: UInt64, from skipped: Int, into part: UnsafeMutableRawBufferPointer)
        throws
    {
        try withUnsafeTemporaryAllocation(byteCount: Int(sectorSize), alignment: 16) { sector in
            try guest.read(at: start, into: sector)
            part.copyMemory(from: UnsafeRawBufferPointer(rebasing: sector[skipped..<skipped + part.count]))
        }
    }

    /// Calls `body` with what lies in `range`, from its beginning on and without gaps, until that
    /// ends, there was enough, or `body` returns false. Extents that follow one another are alike
    /// only where they are not `isZero`.
    package func extents(
        in range: Range<UInt64>, _ body: (_ range: Range<UInt64>, _ isZero: Bool) throws -> Bool
    ) throws {
        let end = min(length, (range.upperBound + sectorSize - 1) / sectorSize * sectorSize)
        var extents = guest.extents(in: range.lowerBound / sectorSize * sectorSize..<end)
        for _ in 0..<ServedDisk.mostExtents {
            guard let extent = try extents.next() else { break }
            let clipped = max(extent.start, range.lowerBound)..<min(extent.end, range.upperBound)
            guard try body(clipped, extent.isZero) else { break }
        }
        if isChecked { try guest.chain.checkUnchanged() }
    }
}
