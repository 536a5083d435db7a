package import DiskImages
package import ImageFormats

extension ImageLayer {
    /// The header of a COW file; nil of any other.
    package var header: CowHeader? { (content as? CowContent)?.header }
}
