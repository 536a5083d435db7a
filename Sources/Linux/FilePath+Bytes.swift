internal import Glibc
package import SystemPackage

extension FilePath {
    /// A path of arbitrary bytes without NUL, as it stands in a header.
    package init(bytes: [UInt8]) {
        self = (bytes.map { CChar(bitPattern: $0) } + [0]).withUnsafeBufferPointer {
            FilePath(platformString: $0.baseAddress!)
        }
    }

    /// The path's bytes without NUL.
    package var pathBytes: [UInt8] {
        withPlatformString { Array(UnsafeRawBufferPointer(start: $0, count: strlen($0))) }
    }

    /// The path with `suffix` at the end of its last component.
    package func withSuffix(_ suffix: String) -> FilePath { FilePath(bytes: pathBytes + Array(suffix.utf8)) }
}
