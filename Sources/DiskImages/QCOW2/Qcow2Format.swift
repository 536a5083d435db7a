internal import ImageFormats
internal import Linux
internal import SystemPackage

/// The qcow2 format, versions 2 and 3.
package struct Qcow2Format: LayerFormat {
    package init() {}

    package var names: [String] { [ImageFormat.qcow2.name] }

    package func recognises(_ prefix: [UInt8]) -> Bool { Qcow2Header.isQcow2(prefix) }

    package func content(_ opening: FormatOpening) throws -> any LayerContent {
        do {
            return try Qcow2Content(Qcow2Format.header(opening), of: opening.file)
        } catch let error as FormatError {
            throw DiskImageError(
                .badData, opening.file.path,
                Qcow2Header.isQcow2(opening.prefix)
                    ? "is a qcow2 image, but \(error.description)" : Message(error.description))
        }
    }

    /// The header of the file. Throws `FormatError` where it has none.
    static func header(_ opening: FormatOpening) throws -> Qcow2Header {
        guard Qcow2Header.isQcow2(opening.prefix) else { return try Qcow2Header(opening.prefix) }
        return try Qcow2Header(opening.file.prefix(Qcow2Header.clusterLength(opening.prefix)))
    }
}
