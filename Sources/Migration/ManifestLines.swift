internal import FoundationEssentials
internal import SystemPackage

/// The lines of a manifest: JSON objects with a key `record`, each ended by a newline.
enum ManifestLines {
    /// How a manifest's first record begins: keys are sorted.
    private static let beginnings = [#"{"consistent":"#, #"{"archive":"#, #"{"failure":"#].map { Array($0.utf8) }

    private struct Kind: Decodable {
        let record: String
    }

    /// Whether `bytes` begin as a manifest does, or are none: a file that begins otherwise is something else and is left alone.
    static func isManifest(_ bytes: [UInt8]) -> Bool {
        beginnings.contains { bytes.prefix($0.count).elementsEqual($0.prefix(bytes.count)) }
    }

    /// Whether the first record is that of an archive.
    static func isOfArchive(_ bytes: [UInt8]) -> Bool { bytes.starts(with: #"{"archive":"#.utf8) }

    /// `bytes` without the rest of an older manifest: blanks behind the first record say that it was being written over.
    static func whole(_ bytes: [UInt8]) -> ArraySlice<UInt8> {
        guard let first = bytes.firstIndex(of: 0x0a), first + 1 < bytes.count, bytes[first + 1] == 0x20 else { return bytes[...] }
        return bytes[...first]
    }

    /// Whether the last whole line is a failure.
    static func endsWithFailure(_ bytes: [UInt8]) -> Bool {
        guard let end = whole(bytes).lastIndex(of: 0x0a) else { return false }
        return lengthBeforeFailure(bytes) <= end
    }

    /// The length of the whole lines, without a failure at their end.
    static func lengthBeforeFailure(_ bytes: [UInt8]) -> Int {
        let bytes = whole(bytes)
        guard let end = bytes.lastIndex(of: 0x0a) else { return 0 }
        let start = bytes[..<end].lastIndex(of: 0x0a).map { $0 + 1 } ?? 0
        return bytes[start..<end].starts(with: #"{"failure":"#.utf8) ? start : end + 1
    }

    /// As `parse`, but of a manifest whose last record says that the target is complete, or why it failed, only the first and that one.
    static func parseEnds(_ bytes: [UInt8], _ path: FilePath, _ take: (String, Data, JSONDecoder) throws -> Void) throws {
        if isManifest(bytes), let first = bytes.firstIndex(of: 0x0a), let completion = completion(bytes) {
            _ = try parse(Array(bytes[...first] + completion), path, take)
        } else {
            _ = try parse(bytes, path, take)
        }
    }

    /// The last line, where it says that the target is complete, whatever kind of manifest it ends.
    static func completion(_ bytes: [UInt8]) -> ArraySlice<UInt8>? {
        let bytes = whole(bytes)
        guard bytes.last == 0x0a, let last = bytes.dropLast().lastIndex(of: 0x0a) else { return nil }
        let line = bytes[(last + 1)...]
        return (try? JSONDecoder().decode(Kind.self, from: Data(line)))?.record == "complete" ? line : nil
    }

    /// Hands each whole line with its kind to `take`; returns the length of the whole lines, behind which a torn one may stand, or what is left of an
    /// older manifest.
    /// Throws `badData` naming the line.
    static func parse(_ bytes: [UInt8], _ path: FilePath, _ take: (String, Data, JSONDecoder) throws -> Void) throws -> Int {
        guard isManifest(bytes) else {
            throw MigrationError(.badData, "\(path): is no manifest of Drover's (move it away)")
        }
        let bytes = whole(bytes)
        let decoder = JSONDecoder()
        var line = 0
        var start = 0
        while let end = bytes[start...].firstIndex(of: 0x0a) {
            line += 1
            do {
                let data = Data(bytes[start..<end])
                try take(try decoder.decode(Kind.self, from: data).record, data, decoder)
            } catch {
                let reason = (error as? MigrationError)?.description ?? "it is no record"
                throw MigrationError(.badData, "\(path): line \(line) is damaged: \(reason) (--restart forgets the checkpoint)")
            }
            start = end + 1
        }
        return start
    }
}
