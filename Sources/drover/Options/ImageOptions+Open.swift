internal import DiskImages
internal import SystemPackage

extension ImageOptions {
    /// Opens `image` with its whole chain and warns of what a user should know although it can be
    /// read.
    func open(_ image: FilePath, _ verbosity: VerbosityOptions, isSecond: Bool = false) throws
        -> ImageChain
    {
        var options = try chainOptions(for: image)
        options.isSecond = isSecond
        let chain = try ImageChain.open(image, options)
        for layer in chain.layers {
            if let warning = layer.content.warning { verbosity.warn("\(layer.path): \(warning)") }
        }
        return chain
    }
}
