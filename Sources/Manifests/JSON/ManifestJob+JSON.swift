package import JSON

extension ManifestJob: ManifestLine {
    package func write(_ json: inout JSONWriter) {
        json.member("consistent", consistent)
        json.member("manifest", manifest)
        json.member("options", options)
        json.member("record", record)
        json.member("replaces", replaces)
        json.member("sources", sources)
        json.member("target", target)
        json.member("time", time)
    }

    package init(_ json: inout JSONReader) throws {
        var consistent: Bool?
        var manifest: Int?
        var options: Options?
        var record: String?
        var replaces: Replaced?
        var sources: [Source]?
        var target: Target?
        var time: Double?
        try json.object { key, json in
            switch key {
            case "consistent": consistent = try json.bool()
            case "manifest": manifest = try json.integer()
            case "options": options = try Options(&json)
            case "record": record = try json.string()
            case "replaces": replaces = try Replaced(&json)
            case "sources": sources = try json.array { try Source(&$0) }
            case "target": target = try Target(&json)
            case "time": time = try json.double()
            default: try json.skip()
            }
        }
        guard let consistent, let manifest, let options, let record, let sources, let target else {
            throw JSONReader.Fault()
        }
        self.consistent = consistent
        self.manifest = manifest
        self.options = options
        self.record = record
        self.replaces = replaces
        self.sources = sources
        self.target = target
        self.time = time
    }
}

extension ManifestJob.Source: ManifestLine {
    package func write(_ json: inout JSONWriter) {
        json.member("ctime", ctime)
        json.member("device", device)
        json.member("digest", digest)
        json.member("inode", inode)
        json.member("layout", layout)
        json.member("mtime", mtime)
        json.member("path", path)
        json.member("size", size)
    }

    package init(_ json: inout JSONReader) throws {
        var ctime: String?
        var device: Bool?
        var digest: String?
        var inode: UInt64?
        var layout: String?
        var mtime: String?
        var path: String?
        var size: UInt64?
        try json.object { key, json in
            switch key {
            case "ctime": ctime = try json.string()
            case "device": device = try json.bool()
            case "digest": digest = try json.string()
            case "inode": inode = try json.integer()
            case "layout": layout = try json.string()
            case "mtime": mtime = try json.string()
            case "path": path = try json.string()
            case "size": size = try json.integer()
            default: try json.skip()
            }
        }
        guard let inode, let layout, let mtime, let path, let size else { throw JSONReader.Fault() }
        self.ctime = ctime
        self.device = device
        self.digest = digest
        self.inode = inode
        self.layout = layout
        self.mtime = mtime
        self.path = path
        self.size = size
    }
}

extension ManifestJob.Options: ManifestLine {
    package func write(_ json: inout JSONWriter) {
        json.member("alignment", alignment)
        json.member("backing", backing)
        json.member("backingName", backingName)
        json.member("base", base)
        json.member("compression", compression)
        json.member("depth", depth)
        json.member("diff", diff)
        json.member("format", format)
        json.member("layout", layout)
        json.member("salvaged", salvaged)
        json.member("segment", segment)
        json.member("zeroRun", zeroRun)
    }

    package init(_ json: inout JSONReader) throws {
        var alignment: UInt32?
        var backing: ManifestJob.Source?
        var backingName: String?
        var base: Bool?
        var compression: String?
        var depth: Int?
        var diff: Bool?
        var format: String?
        var layout: String?
        var salvaged: Bool?
        var segment: UInt64?
        var zeroRun: Int?
        try json.object { key, json in
            switch key {
            case "alignment": alignment = try json.integer()
            case "backing": backing = try ManifestJob.Source(&json)
            case "backingName": backingName = try json.string()
            case "base": base = try json.bool()
            case "compression": compression = try json.string()
            case "depth": depth = try json.integer()
            case "diff": diff = try json.bool()
            case "format": format = try json.string()
            case "layout": layout = try json.string()
            case "salvaged": salvaged = try json.bool()
            case "segment": segment = try json.integer()
            case "zeroRun": zeroRun = try json.integer()
            default: try json.skip()
            }
        }
        guard let format, let layout, let segment, let zeroRun else { throw JSONReader.Fault() }
        self.alignment = alignment
        self.backing = backing
        self.backingName = backingName
        self.base = base
        self.compression = compression
        self.depth = depth
        self.diff = diff
        self.format = format
        self.layout = layout
        self.salvaged = salvaged
        self.segment = segment
        self.zeroRun = zeroRun
    }
}

extension ManifestJob.Target: ManifestLine {
    package func write(_ json: inout JSONWriter) {
        json.member("length", length)
        json.member("path", path)
        json.member("size", size)
    }

    package init(_ json: inout JSONReader) throws {
        var length: UInt64?
        var path: String?
        var size: UInt64?
        try json.object { key, json in
            switch key {
            case "length": length = try json.integer()
            case "path": path = try json.string()
            case "size": size = try json.integer()
            default: try json.skip()
            }
        }
        guard let length, let path else { throw JSONReader.Fault() }
        self.length = length
        self.path = path
        self.size = size
    }
}

extension ManifestJob.Replaced: ManifestLine {
    package func write(_ json: inout JSONWriter) {
        json.member("mtime", mtime)
        json.member("size", size)
    }

    package init(_ json: inout JSONReader) throws {
        var mtime: String?
        var size: UInt64?
        try json.object { key, json in
            switch key {
            case "mtime": mtime = try json.string()
            case "size": size = try json.integer()
            default: try json.skip()
            }
        }
        guard let mtime, let size else { throw JSONReader.Fault() }
        self.mtime = mtime
        self.size = size
    }
}
