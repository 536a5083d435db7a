package import ImageFormats

/// What `-o` and a pipeline's `options` say of a target in some format.
package struct FormatOptions: Equatable, Sendable {
    /// An option that cannot be meant; the text is the end of a line.
    package struct Fault: Error, Equatable, CustomStringConvertible {
        package let description: String
    }

    package var layout: CowLayout?
    /// Where bitmap and data begin, in bytes: multiples of it. V3 alone has one.
    package var alignment: UInt32?

    /// Of qcow2: a cluster's length is 2 to this power bytes.
    package var clusterBits: Int?
    /// Of qcow2: how clusters are compressed; nil stores them as they are.
    package var compression: Qcow2Compression?

    package init() {}

    /// `KEY=VALUE` with commas between.
    package init(text: String) throws(Fault) {
        for item in text.split(separator: ",", omittingEmptySubsequences: false) {
            let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map {
                String($0)
            }
            let value = parts.count == 2 ? parts[1] : ""
            switch parts[0] {
            case "layout": try setLayout(value)
            case "alignment": try setAlignment(value)
            case "cluster_size": try setClusterSize(value)
            case "compression": try setCompression(value)
            default:
                throw Fault(
                    description:
                        "'\(item)' is no option (there are layout=NAME and alignment=BYTES of cow, cluster_size=BYTES and compression=zlib or zstd of qcow2)"
                )
            }
        }
        try check()
    }

    package mutating func setLayout(_ name: String) throws(Fault) {
        guard let layout = CowLayout(rawValue: name), CowLayout.writable.contains(layout) else {
            let layouts = CowLayout.writable.map(\.rawValue).joined(separator: ", ")
            throw Fault(description: "layout '\(name)' is not written (layouts that are: \(layouts))")
        }
        self.layout = layout
    }

    package mutating func setAlignment(_ size: String) throws(Fault) {
        guard let bytes = ByteSize(text: size)?.bytes, let alignment = UInt32(exactly: bytes),
            bytes.nonzeroBitCount == 1,
            (512...1 << 20).contains(bytes)
        else {
            throw Fault(description: "alignment '\(size)' is no power of two from 512 to 1M (4096 is usual)")
        }
        self.alignment = alignment
    }

    package mutating func setClusterSize(_ size: String) throws(Fault) {
        guard let bytes = ByteSize(text: size)?.bytes, bytes.nonzeroBitCount == 1,
            (512...1 << 20).contains(bytes)
        else {
            throw Fault(
                description: "cluster_size '\(size)' is no power of two from 512 to 1M (65536 is usual)")
        }
        clusterBits = bytes.trailingZeroBitCount
    }

    package mutating func setCompression(_ name: String) throws(Fault) {
        guard let compression = Qcow2Compression(rawValue: name) else {
            throw Fault(description: "compression '\(name)' is not written (zlib and zstd are)")
        }
        self.compression = compression
    }

    /// Throws where an option is of another format than `format`.
    package func check(for format: TargetFormatName) throws(Fault) {
        let others: [(isThere: Bool, option: String, format: TargetFormatName)] = [
            (layout != nil, "layout", .cow), (alignment != nil, "alignment", .cow),
            (clusterBits != nil, "cluster_size", .qcow2), (compression != nil, "compression", .qcow2),
        ]
        guard let other = others.first(where: { $0.isThere && $0.format != format }) else { return }
        throw Fault(
            description:
                "\(other.option) is an option of \(other.format.name), and the target is \(format.name)")
    }

    /// Throws where the options do not fit together.
    package func check() throws(Fault) {
        if alignment != nil, let layout, layout != .umlV3 {
            throw Fault(description: "\(layout.rawValue) has no alignment (uml-v3 has one)")
        }
    }
}
