internal import ImageFormats
internal import Linux
internal import SystemPackage

/// The COW format, all of its layouts. They are told apart as `Documentation/cow-formats.md` says.
package struct CowFormat: LayerFormat {
    package init() {}

    package var names: [String] { [ImageFormat.cow.name] + CowLayout.allCases.map(\.rawValue) }

    package func recognises(_ prefix: [UInt8]) -> Bool { CowHeader.isCow(prefix) }

    package func content(_ opening: FormatOpening) throws -> any LayerContent {
        let layout = opening.asked.flatMap { CowLayout(rawValue: $0.name) }
        return CowContent(try CowFormat.header(opening, layout))
    }

    package func references(_ opening: FormatOpening) throws -> [BackingClause] {
        try CowFormat.readings(opening).compactMap { CowContent($0).backing }
    }

    /// The headers that the file may be said to begin with, at least one.
    static func readings(_ opening: FormatOpening, _ layout: CowLayout? = nil) throws -> [CowHeader] {
        try readings(of: opening.file, opening.prefix, layout)
    }

    private static func readings(of file: ImageFile, _ prefix: [UInt8], _ layout: CowLayout?) throws
        -> [CowHeader]
    {
        do throws(FormatError) {
            return try CowHeader.readings(of: prefix, fileLength: file.length, layout: layout)
        } catch {
            throw DiskImageError.format(error, file.path)
        }
    }

    /// The one header that fits; where several layouts do, the one whose size is the backing
    /// file's.
    private static func header(_ opening: FormatOpening, _ layout: CowLayout?) throws -> CowHeader {
        let readings = try readings(opening, layout)
        if readings.count == 1 { return readings[0] }
        let fitting = readings.filter { backingSizes(of: $0, opening).contains($0.size) }
        if fitting.count == 1 { return fitting[0] }
        let names = readings.map(\.layout.rawValue).joined(separator: ", ")
        throw DiskImageError(
            .badData, opening.file.path,
            "its header fits more than one layout: \(names) (choose with \(opening.choice(nil)))")
    }

    /// The sizes that the backing file of a possible header may be said to have: its length, and
    /// its guest disk's where it is a COW file.
    private static func backingSizes(of header: CowHeader, _ opening: FormatOpening) -> [UInt64] {
        let location = opening.options.location
        guard !header.backingPath.isEmpty,
            let place = try? location.locate(FilePath(bytes: header.backingPath), from: opening.file.path),
            let file = try? location.open(place)
        else { return [] }
        let guests = (try? readings(of: file, file.prefix(CowHeader.longestHeader), nil))?.map(\.size) ?? []
        return [file.length] + guests
    }
}
