internal import DiskImages
internal import Linux
internal import SystemPackage

extension ImageOptions {
    /// Opens `image` with its whole chain and warns of what a user should know although it can be
    /// read.
    func open(_ image: FilePath, _ verbosity: VerbosityOptions, isSecond: Bool = false) throws
        -> ImageChain
    {
        var options = try chainOptions()
        options.isSecond = isSecond
        let chain = try ImageChain.open(image, options)
        for warning in chain.warnings { verbosity.warn(warning.plain) }
        return chain
    }
}
