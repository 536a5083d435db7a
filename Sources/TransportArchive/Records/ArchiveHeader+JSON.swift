internal import JSON

/// The header as JSON, keys in the order of their bytes: the same header is always the same bytes.
extension ArchiveHeader {
    /// Its bytes in the archive.
    package func serialized() -> [UInt8] {
        JSONWriter.bytes { json in
            json.object { json in
                json.member("layers", layers) { json, layer in layer.write(to: &json) }
                json.member("options", options.write)
                if let parent { json.member("parent", parent.write) }
                json.member("version", version)
            }
        }
    }

    /// What `text` says; nothing of it is checked. Throws `JSONReader.Fault` where it is no header,
    /// and `notAnArchive` where it is one of another version.
    static func read(_ text: [UInt8]) throws -> ArchiveHeader {
        do {
            let found = try ArchiveHeader(text)
            guard found.version == version else { throw otherVersion(found.version) }
            return found
        } catch let fault as JSONReader.Fault {
            // What else another version has nobody knows.
            guard let found = try ArchiveHeader.version(of: text), found != version else { throw fault }
            throw otherVersion(found)
        }
    }

    private static func otherVersion(_ found: Int) -> ArchiveError {
        ArchiveError(
            .notAnArchive, "has format version \(found); this program reads version \(version)")
    }

    private static func version(of text: [UInt8]) throws -> Int? {
        var version: Int?
        try JSONReader.read(text[...]) { json in
            try json.object { key, json in
                if key == "version" { version = try json.integer() } else { try json.skip() }
            }
        }
        return version
    }

    private init(_ text: [UInt8]) throws {
        var version: Int?
        var options: Options?
        var layers: [Layer]?
        var parent: Parent?
        try JSONReader.read(text[...]) { json in
            try json.object { key, json in
                switch key {
                case "version": version = try json.integer()
                case "options": options = try Options(&json)
                case "layers":
                    layers = try json.array { try Layer(&$0) }
                case "parent": parent = try Parent(&json)
                default: try json.skip()
                }
            }
        }
        guard let version, let options, let layers else { throw JSONReader.Fault() }
        (self.version, self.options, self.layers, self.parent) = (version, options, layers, parent)
    }
}

extension ArchiveHeader.Options {
    fileprivate func write(to json: inout JSONWriter) {
        json.object { json in
            json.member("compression", compression)
            json.member("dedup", dedup)
            json.member("flatten", flatten)
            json.member("zeroRun", zeroRun)
        }
    }

    fileprivate init(_ json: inout JSONReader) throws {
        var compression: String?
        var (flatten, dedup): (Bool?, Bool?)
        var zeroRun: Int?
        try json.object { key, json in
            switch key {
            case "compression": compression = try json.string()
            case "dedup": dedup = try json.bool()
            case "flatten": flatten = try json.bool()
            case "zeroRun": zeroRun = try json.integer()
            default: try json.skip()
            }
        }
        guard let compression, let flatten, let zeroRun else { throw JSONReader.Fault() }
        (self.compression, self.flatten, self.zeroRun, self.dedup) = (compression, flatten, zeroRun, dedup)
    }
}

extension ArchiveHeader.Parent {
    fileprivate func write(to json: inout JSONWriter) {
        json.object { json in
            json.member("id", id)
            json.member("name", name)
            json.member("state", state)
        }
    }

    fileprivate init(_ json: inout JSONReader) throws {
        var (id, name, state): (String?, String?, String?)
        try json.object { key, json in
            switch key {
            case "id": id = try json.string()
            case "name": name = try json.string()
            case "state": state = try json.string()
            default: try json.skip()
            }
        }
        guard let id, let name, let state else { throw JSONReader.Fault() }
        (self.id, self.name, self.state) = (id, name, state)
    }
}

extension ArchiveHeader.Layer {
    fileprivate func write(to json: inout JSONWriter) {
        json.object { json in
            json.member("alignment", alignment)
            if let also { json.member("also", also) { json, name in json.string(name) } }
            json.member("backing", backing)
            json.member("group", group)
            json.member("image", image)
            json.member("layout", layout)
            json.member("link", link)
            json.member("mode", mode)
            json.member("mtime", mtime)
            json.member("name", name)
            json.member("owner", owner)
            json.member("same", same)
            json.member("size", size)
            json.member("with", with)
        }
    }

    fileprivate init(_ json: inout JSONReader) throws {
        var (name, layout, mtime, link): (String?, String?, String?, String?)
        var also: [String]?
        var size: UInt64?
        var (backing, same): (Int?, Int?)
        var (alignment, mode, owner, group): (UInt32?, UInt32?, UInt32?, UInt32?)
        var (image, with): (Bool?, Bool?)
        try json.object { key, json in
            switch key {
            case "alignment": alignment = try json.integer()
            case "also": also = try json.array { try $0.string() }
            case "backing": backing = try json.integer()
            case "group": group = try json.integer()
            case "image": image = try json.bool()
            case "layout": layout = try json.string()
            case "link": link = try json.string()
            case "mode": mode = try json.integer()
            case "mtime": mtime = try json.string()
            case "name": name = try json.string()
            case "owner": owner = try json.integer()
            case "same": same = try json.integer()
            case "size": size = try json.integer()
            case "with": with = try json.bool()
            default: try json.skip()
            }
        }
        guard let name, let layout, let size, let mtime, let image else { throw JSONReader.Fault() }
        (self.name, self.also, self.layout, self.size, self.mtime) = (name, also, layout, size, mtime)
        (self.backing, self.alignment, self.image) = (backing, alignment, image)
        (self.mode, self.owner, self.group) = (mode, owner, group)
        (self.same, self.with, self.link) = (same, with, link)
    }
}
