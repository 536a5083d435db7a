internal import DiskImages
internal import ImageFormats
internal import SystemPackage

extension ImageOptions {
    /// Opens `image` with its whole chain and warns of what a user should know although it can be
    /// read.
    func open(_ image: FilePath, _ verbosity: VerbosityOptions, formatOption: String = "-f") throws
        -> ImageChain
    {
        var options = try chainOptions(for: image)
        options.formatOption = formatOption
        let chain = try ImageChain.open(image, options)
        for layer in chain.layers {
            if let warning = layer.warning { verbosity.warn("\(layer.path): \(warning)") }
        }
        return chain
    }
}

extension ImageLayer {
    /// What does not keep Drover from reading the layer, but others.
    var warning: String? {
        guard let header, header.isPastUMLLimit else { return nil }
        return "header and bitmap pass 2^31 bytes, and User-Mode Linux cannot open such an image"
    }
}
