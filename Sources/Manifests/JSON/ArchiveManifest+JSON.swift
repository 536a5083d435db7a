package import JSON

extension ArchiveManifest.Job: ManifestLine {
    package func write(_ json: inout JSONWriter) {
        json.member("archive", archive)
        json.member("consistent", consistent)
        json.member("manifest", manifest)
        json.member("record", record)
        json.member("replaces", replaces)
        json.member("segment", segment)
        json.member("sources", sources)
        json.member("target", target)
        json.member("time", time)
    }

    package init(_ json: inout JSONReader) throws {
        var archive: String?
        var consistent: Bool?
        var manifest: Int?
        var record: String?
        var replaces: ManifestJob.Replaced?
        var segment: UInt64?
        var sources: [ManifestJob.Source]?
        var target: String?
        var time: Double?
        try json.object { key, json in
            switch key {
            case "archive": archive = try json.string()
            case "consistent": consistent = try json.bool()
            case "manifest": manifest = try json.integer()
            case "record": record = try json.string()
            case "replaces": replaces = try ManifestJob.Replaced(&json)
            case "segment": segment = try json.integer()
            case "sources": sources = try json.array { try ManifestJob.Source(&$0) }
            case "target": target = try json.string()
            case "time": time = try json.double()
            default: try json.skip()
            }
        }
        guard let archive, let consistent, let manifest, let record, let segment, let sources, let target
        else { throw JSONReader.Fault() }
        self.archive = archive
        self.consistent = consistent
        self.manifest = manifest
        self.record = record
        self.replaces = replaces
        self.segment = segment
        self.sources = sources
        self.target = target
        self.time = time
    }
}

extension ArchiveManifest.Checkpoint: ManifestLine {
    package func write(_ json: inout JSONWriter) {
        json.member("length", length)
        json.member("record", record)
        json.member("sequence", sequence)
        json.member("time", time)
    }

    package init(_ json: inout JSONReader) throws {
        var length: UInt64?
        var record: String?
        var sequence: UInt64?
        var time: Double?
        try json.object { key, json in
            switch key {
            case "length": length = try json.integer()
            case "record": record = try json.string()
            case "sequence": sequence = try json.integer()
            case "time": time = try json.double()
            default: try json.skip()
            }
        }
        guard let length, let record, let sequence else { throw JSONReader.Fault() }
        self.length = length
        self.record = record
        self.sequence = sequence
        self.time = time
    }
}
