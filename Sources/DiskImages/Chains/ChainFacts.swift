internal import ImageFormats
package import SystemPackage

/// What is remembered of a chain when its files are closed again.
package struct ChainFacts: Sendable {
    /// One file of the chain.
    package struct Layer: Sendable {
        package let path: FilePath
        package let identity: FileIdentity
        /// `raw` or the layout's name.
        package let layout: String
        package let isRaw: Bool
        /// How it is read, whatever its content looks like.
        package let format: ImageFormat
        /// Length of the layer's own disk in bytes.
        package let guestLength: UInt64
    }

    /// Top first.
    package let layers: [Layer]
    /// The guest disk's length in bytes.
    package let guestLength: UInt64

    /// The file at the end of `chain`, alone.
    package init(bottomOf chain: ChainFacts) {
        layers = [chain.bottom]
        guestLength = chain.bottom.guestLength
    }

    package init(_ chain: ImageChain) {
        layers = chain.layers.map { layer in
            Layer(
                path: layer.path, identity: layer.file.identity, layout: layer.layoutName,
                isRaw: layer.isRaw, format: layer.content.format, guestLength: layer.guestLength)
        }
        guestLength = chain.guestLength
    }

    package var bottom: Layer { layers[layers.count - 1] }
}
