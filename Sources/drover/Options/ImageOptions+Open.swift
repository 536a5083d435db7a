internal import DiskImages
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
            if let warning = layer.content.warning { verbosity.warn("\(layer.path): \(warning)") }
        }
        return chain
    }
}
