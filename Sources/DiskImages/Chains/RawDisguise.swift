package import ImageFormats

/// What a file that is meant as raw bytes is taken for by whoever looks at them. A guest can write
/// any bytes to its disk.
package enum RawDisguise: Equatable, Sendable {
    /// A COW file; `sizes` are the guest disks that its header may speak of.
    case cow(sizes: [UInt64])
    case foreign(ForeignFormat)

    /// How many bytes of the beginning decide.
    package static let prefixLength = max(CowHeader.longestHeader, ForeignFormat.prefixLength)

    /// nil where a file of `fileLength` bytes that begins with `prefix` is taken for raw.
    package init?(_ prefix: [UInt8], fileLength: UInt64) {
        if CowHeader.isCow(prefix) {
            // A header that is none in any layout has no size.
            self = .cow(
                sizes: ((try? CowHeader.readings(of: prefix, fileLength: fileLength)) ?? []).map(\.size))
        } else if let format = ForeignFormat(recognising: prefix) {
            self = .foreign(format)
        } else {
            return nil
        }
    }
}
