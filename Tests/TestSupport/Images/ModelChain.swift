package import SystemPackage

/// What a chain of images means, sector by sector, with nothing clever in it: what Drover's extents
/// are compared with.
package struct ModelChain {
    /// One file of the chain.
    package struct Layer {
        package var path: FilePath
        /// The disk's size in bytes.
        package var size: UInt64
        /// Where sector 0 lies in the file.
        package var dataOffset: UInt64
        /// Sectors that the layer answers for; nil is all it has, as in a raw file.
        package var held: Set<UInt64>?
        /// What was written into the file, up to 512 bytes a sector; the rest is hole.
        package var written: [UInt64: [UInt8]]
        /// For people: layout, size and backing file.
        package var description: String

        package var sectorCount: UInt64 { (size + 511) / 512 }
    }

    /// What one sector is.
    package struct Sector: Equatable {
        package var depth: Int
        package var isPresent: Bool
        /// Where it lies in the layer's file, if it is present.
        package var offset: UInt64?
        /// Whether bytes were written there, zeros or not.
        package var isWritten: Bool
        /// 512 bytes.
        package var bytes: [UInt8]
    }

    /// The top layer first.
    package var layers: [Layer]

    package init(layers: [Layer]) { self.layers = layers }

    package var path: FilePath { layers[0].path }
    package var sectorCount: UInt64 { layers[0].sectorCount }

    /// Asks one layer after the other.
    package func sector(_ number: UInt64) -> Sector {
        let zeros = [UInt8](repeating: 0, count: 512)
        var asked = 0
        for (depth, layer) in layers.enumerated() {
            guard number < layer.sectorCount else { break }
            asked = depth
            guard layer.held?.contains(number) ?? true else { continue }
            let bytes = layer.written[number]
            return Sector(
                depth: depth, isPresent: true, offset: layer.dataOffset + 512 * number,
                isWritten: bytes != nil,
                bytes: Array(((bytes ?? []) + zeros).prefix(512)))
        }
        return Sector(depth: asked, isPresent: false, offset: nil, isWritten: false, bytes: zeros)
    }

    /// Everything a guest reads, whole sectors.
    package var guestBytes: [UInt8] { (0..<sectorCount).flatMap { sector($0).bytes } }
}

extension ModelChain: CustomStringConvertible {
    package var description: String { layers.map(\.description).joined(separator: " → ") }
}
