internal import DiskImages
internal import ImageFormats
internal import Linux

extension Choice {
    /// What is written is `format`.
    static func written(_ format: ImageFormat) -> Choice { .targetFormat(format.name) }
    /// What is written has `layout`.
    static func layout(_ layout: CowLayout) -> Choice { .layout(layout.rawValue) }
}
