package import JSON

/// A line of a manifest: a JSON object, keys in the order of their bytes, so that the same record is
/// always the same bytes.
package protocol ManifestLine: Sendable {
    /// Writes the members of the object.
    func write(_ json: inout JSONWriter)
    /// Reads the object; members that it does not know are passed over. Throws `JSONReader.Fault`
    /// where one is missing, or not of its kind.
    init(_ json: inout JSONReader) throws
}

extension ManifestLine {
    /// Its bytes in the file, with the newline.
    package var line: [UInt8] { JSONWriter.bytes { $0.object(write) } + [0x0a] }

    /// What `line` says, with or without its newline.
    package init(_ line: ArraySlice<UInt8>) throws { self = try JSONReader.read(line) { try Self(&$0) } }
}

extension JSONWriter {
    /// A member of an object, an object; none where `value` is nil.
    mutating func member(_ key: StaticString, _ value: (some ManifestLine)?) {
        if let value { member(key) { $0.object(value.write) } }
    }

    /// A member of an object, an array of objects; none where `values` is nil.
    mutating func member(_ key: StaticString, _ values: [some ManifestLine]?) {
        if let values { member(key, values) { json, value in json.object(value.write) } }
    }
}
