package import JSON

extension ManifestSegment: ManifestLine {
    package func write(_ json: inout JSONWriter) {
        json.member("chunks", chunks)
        json.member("count", count)
        json.member("digest", digest)
        json.member("kind", kind)
        json.member("lost", lost)
        json.member("read", read)
        json.member("record", record)
        json.member("start", start)
        json.member("time", time)
    }

    package init(_ json: inout JSONReader) throws {
        var chunks: String?
        var count: UInt64?
        var digest: String?
        var kind: String?
        var lost: [LostSectors]?
        var read: UInt64?
        var record: String?
        var start: UInt64?
        var time: Double?
        try json.object { key, json in
            switch key {
            case "chunks": chunks = try json.string()
            case "count": count = try json.integer()
            case "digest": digest = try json.string()
            case "kind": kind = try json.string()
            case "lost": lost = try json.array { try LostSectors(&$0) }
            case "read": read = try json.integer()
            case "record": record = try json.string()
            case "start": start = try json.integer()
            case "time": time = try json.double()
            default: try json.skip()
            }
        }
        guard let count, let digest, let kind, let record, let start else { throw JSONReader.Fault() }
        self.chunks = chunks
        self.count = count
        self.digest = digest
        self.kind = kind
        self.lost = lost
        self.read = read
        self.record = record
        self.start = start
        self.time = time
    }
}

extension LostSectors: ManifestLine {
    package func write(_ json: inout JSONWriter) {
        json.member("count", count)
        json.member("start", start)
    }

    package init(_ json: inout JSONReader) throws {
        var count: UInt64?
        var start: UInt64?
        try json.object { key, json in
            switch key {
            case "count": count = try json.integer()
            case "start": start = try json.integer()
            default: try json.skip()
            }
        }
        guard let count, let start else { throw JSONReader.Fault() }
        self.count = count
        self.start = start
    }
}

extension ManifestCompletion: ManifestLine {
    package func write(_ json: inout JSONWriter) {
        json.member("digest", digest)
        json.member("header", header)
        json.member("held", held)
        json.member("lost", lost)
        json.member("mtime", mtime)
        json.member("named", named)
        json.member("record", record)
        json.member("size", size)
        json.member("time", time)
    }

    package init(_ json: inout JSONReader) throws {
        var digest: String?
        var header: String?
        var held: Bool?
        var lost: [LostSectors]?
        var mtime: String?
        var named: Named?
        var record: String?
        var size: UInt64?
        var time: Double?
        try json.object { key, json in
            switch key {
            case "digest": digest = try json.string()
            case "header": header = try json.string()
            case "held": held = try json.bool()
            case "lost": lost = try json.array { try LostSectors(&$0) }
            case "mtime": mtime = try json.string()
            case "named": named = try Named(&json)
            case "record": record = try json.string()
            case "size": size = try json.integer()
            case "time": time = try json.double()
            default: try json.skip()
            }
        }
        guard let digest, let mtime, let record, let size else { throw JSONReader.Fault() }
        self.digest = digest
        self.header = header
        self.held = held
        self.lost = lost
        self.mtime = mtime
        self.named = named
        self.record = record
        self.size = size
        self.time = time
    }
}

extension ManifestCompletion.Named: ManifestLine {
    package func write(_ json: inout JSONWriter) {
        json.member("ctime", ctime)
        json.member("inode", inode)
    }

    package init(_ json: inout JSONReader) throws {
        var ctime: String?
        var inode: UInt64?
        try json.object { key, json in
            switch key {
            case "ctime": ctime = try json.string()
            case "inode": inode = try json.integer()
            default: try json.skip()
            }
        }
        guard let ctime, let inode else { throw JSONReader.Fault() }
        self.ctime = ctime
        self.inode = inode
    }
}

extension ManifestFamily: ManifestLine {
    package func write(_ json: inout JSONWriter) {
        json.member("members", members)
        json.member("record", record)
        json.member("time", time)
    }

    package init(_ json: inout JSONReader) throws {
        var members: [Member]?
        var record: String?
        var time: Double?
        try json.object { key, json in
            switch key {
            case "members": members = try json.array { try Member(&$0) }
            case "record": record = try json.string()
            case "time": time = try json.double()
            default: try json.skip()
            }
        }
        guard let members, let record else { throw JSONReader.Fault() }
        self.members = members
        self.record = record
        self.time = time
    }
}

extension ManifestFamily.Member: ManifestLine {
    package func write(_ json: inout JSONWriter) {
        json.member("digest", digest)
        json.member("target", target)
    }

    package init(_ json: inout JSONReader) throws {
        var digest: String?
        var target: String?
        try json.object { key, json in
            switch key {
            case "digest": digest = try json.string()
            case "target": target = try json.string()
            default: try json.skip()
            }
        }
        guard let digest, let target else { throw JSONReader.Fault() }
        self.digest = digest
        self.target = target
    }
}

extension ManifestFailure: ManifestLine {
    package func write(_ json: inout JSONWriter) {
        json.member("failure", failure)
        json.member("record", record)
        json.member("time", time)
    }

    package init(_ json: inout JSONReader) throws {
        var failure: String?
        var record: String?
        var time: Double?
        try json.object { key, json in
            switch key {
            case "failure": failure = try json.string()
            case "record": record = try json.string()
            case "time": time = try json.double()
            default: try json.skip()
            }
        }
        guard let failure, let record else { throw JSONReader.Fault() }
        self.failure = failure
        self.record = record
        self.time = time
    }
}
