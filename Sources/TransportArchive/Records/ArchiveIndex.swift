package import DiskImages
internal import JSON

/// Where each layer lies in the archive: the body of the `I` record, behind a copy of the header
/// that outlives damage to the first.
///
/// | offset | size | meaning |
/// |--------|------|---------|
/// | 0      | 4    | n: bytes of the header |
/// | 4      | n    | the header, as in the first record |
/// | 4 + n  |      | JSON: `{"last":"…","layers":[{…},…]}`, an entry a layer |
package struct ArchiveIndex: Equatable, Sendable {
    /// What the archive has of one layer.
    package struct Layer: Equatable, Sendable {
        /// Where its first record begins, and how many bytes its records and frames take.
        package var offset: UInt64
        package var length: UInt64
        /// The sequence number of its first record, and how many there are.
        package var sequence: UInt64
        package var records: UInt64
        /// The digest of the record before its first, which that one carries.
        package var previous: String
        /// Bytes of guest disk that are data, and that are allocated zeros.
        package var data: UInt64
        package var zeros: UInt64
        /// Bytes of guest disk that lie in earlier layers, and in the parent.
        package var shared: UInt64
        package var inherited: UInt64
        /// Bytes that its frames take.
        package var stored: UInt64
        /// What it holds, however it is stored: `LayerDigest`, in hexadecimal.
        package var digest = ""

        /// Bytes of guest disk that are data, wherever they lie.
        package var held: UInt64 { data &+ shared &+ inherited }
        /// Where the first table of its records begins, or would.
        package var tables: UInt64

        package init(offset: UInt64, sequence: UInt64, previous: String) {
            self.offset = offset
            self.sequence = sequence
            self.previous = previous
            (length, records, data, zeros, stored, tables) = (0, 0, 0, 0, 0, 0)
            (shared, inherited) = (0, 0)
        }
    }

    package var layers: [Layer]
    /// The digest of the last run record; the header's where there is none.
    package var last: String
    /// What the archive holds: `ArchiveState`, in hexadecimal.
    package var state = ""

    package init(layers: [Layer], last: String = "") { (self.layers, self.last) = (layers, last) }

    /// The same, but for what only those know who decoded everything.
    func asFound(in index: ArchiveIndex, of header: ArchiveHeader) -> ArchiveIndex {
        var found = self
        found.state = index.state
        for (number, layer) in index.layers.enumerated() where number < found.layers.count {
            found.layers[number].digest = layer.digest
            guard header.layers[number].same != nil else { continue }
            (found.layers[number].inherited, found.layers[number].zeros) = (layer.inherited, layer.zeros)
        }
        return found
    }

    /// The record's body.
    package func serialized(with header: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(number: UInt32(header.count))
        return bytes + header + json
    }

    /// Parses a body whose digest was right; returns the copy of the header too.
    package static func parse(_ bytes: [UInt8]) throws -> (index: ArchiveIndex, header: [UInt8]) {
        let fault = ArchiveError(.damaged, "its index is no index")
        guard let count: UInt32 = bytes.littleEndian(at: 0), Int(count) <= bytes.count - 4 else {
            throw fault
        }
        let json = Array(bytes[(4 + Int(count))...])
        try JSONBounds.check(json, "index")
        do {
            return (try ArchiveIndex(json: json), Array(bytes[4..<4 + Int(count)]))
        } catch is JSONReader.Fault {
            throw fault
        }
    }
}

/// What the index vouches for: the digest that the last record of each layer must have.
package struct ArchiveAnchors: Equatable, Sendable {
    private let digests: [String]

    package init(_ index: ArchiveIndex) {
        digests = index.layers.dropFirst().map(\.previous) + [index.last]
    }

    /// The digest that the last record of `layer` must have.
    package func digest(of layer: Int) -> String { digests[layer] }

    /// Whether a layer's records may end with `digest`: records of another archive, however well
    /// they fit, do not.
    package func fit(_ layer: Int, _ digest: ContentDigest) -> Bool { digests[layer] == digest.description }
}

/// The end of an archive: the body of the `T` record, which always has the same length.
///
/// | offset | size | meaning |
/// |--------|------|---------|
/// | 0      | 8    | where the index record begins |
/// | 8      | 8    | the archive's length in bytes, this record and all |
package struct ArchiveTrailer: Equatable, Sendable {
    package static let recordLength = ArchiveRecord.overhead + 16

    package let indexOffset: UInt64
    package let length: UInt64

    package init(indexOffset: UInt64, length: UInt64) {
        self.indexOffset = indexOffset
        self.length = length
    }

    package func serialized() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(number: indexOffset)
        bytes.append(number: length)
        return bytes
    }

    package init(parsing bytes: [UInt8]) throws {
        guard bytes.count == 16, let offset: UInt64 = bytes.littleEndian(at: 0),
            let length: UInt64 = bytes.littleEndian(at: 8)
        else {
            throw ArchiveError(.damaged, "its trailer is no trailer")
        }
        self.init(indexOffset: offset, length: length)
    }
}
