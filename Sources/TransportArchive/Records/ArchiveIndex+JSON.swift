internal import JSON

/// The index as JSON, keys in the order of their bytes.
extension ArchiveIndex {
    /// Its bytes behind the header's.
    var json: [UInt8] {
        JSONWriter.bytes { json in
            json.object { json in
                json.member("last", last)
                json.member("layers", layers) { json, layer in layer.write(to: &json) }
                json.member("state", state)
            }
        }
    }

    /// What `text` says. Throws `JSONReader.Fault` where it is no index.
    init(json text: [UInt8]) throws {
        var layers: [Layer]?
        var (last, state): (String?, String?)
        try JSONReader.read(text[...]) { json in
            try json.object { key, json in
                switch key {
                case "last": last = try json.string()
                case "layers":
                    layers = try json.array { try Layer(&$0) }
                case "state": state = try json.string()
                default: try json.skip()
                }
            }
        }
        guard let layers, let last, let state else { throw JSONReader.Fault() }
        self.init(layers: layers, last: last)
        self.state = state
    }
}

extension ArchiveIndex.Layer {
    fileprivate func write(to json: inout JSONWriter) {
        json.object { json in
            json.member("data", data)
            json.member("digest", digest)
            json.member("inherited", inherited)
            json.member("length", length)
            json.member("offset", offset)
            json.member("previous", previous)
            json.member("records", records)
            json.member("sequence", sequence)
            json.member("shared", shared)
            json.member("stored", stored)
            json.member("tables", tables)
            json.member("zeros", zeros)
        }
    }

    fileprivate init(_ json: inout JSONReader) throws {
        var (previous, digest): (String?, String?)
        var (offset, length, sequence, records): (UInt64?, UInt64?, UInt64?, UInt64?)
        var (data, zeros, shared, inherited): (UInt64?, UInt64?, UInt64?, UInt64?)
        var (stored, tables): (UInt64?, UInt64?)
        try json.object { key, json in
            switch key {
            case "data": data = try json.integer()
            case "digest": digest = try json.string()
            case "inherited": inherited = try json.integer()
            case "length": length = try json.integer()
            case "offset": offset = try json.integer()
            case "previous": previous = try json.string()
            case "records": records = try json.integer()
            case "sequence": sequence = try json.integer()
            case "shared": shared = try json.integer()
            case "stored": stored = try json.integer()
            case "tables": tables = try json.integer()
            case "zeros": zeros = try json.integer()
            default: try json.skip()
            }
        }
        guard let previous, let digest, let offset, let length, let sequence, let records, let data,
            let zeros, let shared, let inherited, let stored, let tables
        else { throw JSONReader.Fault() }
        self.init(offset: offset, sequence: sequence, previous: previous)
        (self.length, self.records, self.data, self.zeros) = (length, records, data, zeros)
        (self.shared, self.inherited, self.stored, self.tables) = (shared, inherited, stored, tables)
        self.digest = digest
    }
}
