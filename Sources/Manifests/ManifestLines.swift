internal import JSON
internal import Linux
package import SystemPackage

/// The lines of a manifest: JSON objects with a key `record`, each ended by a newline.
///
/// A new job is appended behind what was recorded before, so that no older line ever follows it;
/// the last job counts, and the records from its line on. What an earlier job completed stays the
/// proof of the file that it made, until the later one is complete.
package enum ManifestLines {
    /// How the first record of a job begins: keys are sorted.
    private static let jobs = [#"{"consistent":"#, #"{"archive":"#].map { Array($0.utf8) }
    private static let failure = Array(#"{"failure":"#.utf8)
    /// So many zeros at the start of a file are a block of it that never reached the disk.
    private static let lostBlock = 512

    /// Whether `bytes` begin as a manifest does, or are none: a file that begins otherwise is
    /// something else and is left alone.
    package static func isManifest(_ bytes: ArraySlice<UInt8>) -> Bool {
        (jobs + [failure]).contains { bytes.prefix($0.count).elementsEqual($0.prefix(bytes.count)) }
            || hasLostItsStart(bytes)
    }

    private static func hasLostItsStart(_ bytes: ArraySlice<UInt8>) -> Bool {
        bytes.count >= lostBlock && bytes.prefix(lostBlock).allSatisfy { $0 == 0 }
    }

    /// Whether the last job is that of an archive.
    package static func isOfArchive(_ bytes: [UInt8]) -> Bool { current(bytes[...]).starts(with: jobs[1]) }

    /// `bytes` without the rest of an older manifest: blanks behind the first record say that it
    /// was being written over, as was done once.
    package static func whole(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        guard let first = bytes.firstIndex(of: 0x0a), first + 1 < bytes.count, bytes[first + 1] == 0x20 else {
            return bytes
        }
        return bytes[...first]
    }

    /// The records of the last job: from its line to the end. Everything, where there is no job. A
    /// job whose own line is damaged was never begun, and one that begins as the job before it,
    /// byte for byte with its time, is a copy of that, which counts when it is whole.
    package static func current(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        let last = lastJob(of: whole(bytes))
        let before = lastJob(of: bytes[..<last.startIndex])
        return isTornCopy(last, of: before) ? before : last
    }

    private static func lastJob(of bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var end = bytes.endIndex
        for line in Backwards(bytes) where jobs.contains(where: line.starts) {
            if record(line) != nil { return bytes[line.startIndex..<end] }
            end = line.startIndex
        }
        return bytes[..<end]
    }

    private static func isTornCopy(_ copy: ArraySlice<UInt8>, of original: ArraySlice<UInt8>) -> Bool {
        guard let end = copy.firstIndex(of: 0x0a), original.starts(with: copy[...end]) else { return false }
        return !isWhole(copy) && isWhole(original)
    }

    private static func isWhole(_ job: ArraySlice<UInt8>) -> Bool {
        completion(of: job) != nil && Backwards(job).allSatisfy { record($0) != nil }
    }

    /// The length of everything up to the last record that says that a target is complete: what is
    /// behind it proves nothing of a file that has its name.
    package static func lengthOfProof(_ bytes: [UInt8]) -> Int {
        Backwards(whole(bytes[...])).first { record($0) == "complete" }?.endIndex ?? 0
    }

    /// Whether the last whole line is a failure.
    package static func endsWithFailure(_ bytes: [UInt8]) -> Bool {
        guard let end = whole(bytes[...]).lastIndex(of: 0x0a) else { return false }
        return lengthBeforeFailure(bytes) <= end
    }

    /// The length of the whole lines, without a failure at their end.
    package static func lengthBeforeFailure(_ bytes: [UInt8]) -> Int {
        guard let last = lastLine(whole(bytes[...])) else { return 0 }
        return last.starts(with: failure) ? last.startIndex : last.endIndex
    }

    /// As `parse`, but of a job whose last record says that the target is complete, only its first,
    /// that one and its family.
    package static func parseEnds(
        _ bytes: [UInt8], _ path: FilePath, _ take: (String, ArraySlice<UInt8>) throws -> Void
    ) throws {
        let current = current(bytes[...])
        if isManifest(bytes[...]), let first = current.firstIndex(of: 0x0a),
            let completion = completion(of: current)
        {
            _ = try parse(current[...first] + current[completion.startIndex...], path, take)
        } else {
            _ = try parse(bytes[...], path, take)
        }
    }

    /// The last whole line of the last job but its family, where it says that the target is
    /// complete, whatever kind of job it ends. A torn line behind it is a later job that was never
    /// begun.
    package static func completion(_ bytes: [UInt8]) -> ArraySlice<UInt8>? {
        completion(of: current(bytes[...]))
    }

    private static func completion(of current: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard let line = Backwards(current).first(where: { record($0) != "family" }),
            line.startIndex > current.startIndex
        else {
            return nil
        }
        return record(line) == "complete" ? line : nil
    }

    /// Hands each whole line of the last job with its kind to `take`; returns where its sound lines
    /// lie. Before them stand earlier jobs, behind them may stand a torn line.
    ///
    /// Records are appended one after the other and synced now and then: after a power cut, a later
    /// one may be there where an earlier one is not. What is sound up to the first that is none
    /// counts. Of a complete job nothing can be missing so: there, and where a record says what it
    /// cannot, `badData` is thrown, naming the line.
    package static func parse(
        _ bytes: ArraySlice<UInt8>, _ path: FilePath, _ take: (String, ArraySlice<UInt8>) throws -> Void
    ) throws
        -> Range<Int>
    {
        guard isManifest(bytes) else {
            throw ManifestError("\(path): is no manifest of Drover's (move it away)")
        }
        let current = current(bytes)
        let isComplete = completion(of: current) != nil
        var start = current.startIndex
        func damaged(_ reason: String) -> ManifestError {
            let line = bytes[..<start].count { $0 == 0x0a } + 1
            return ManifestError(
                "\(path): line \(line) is damaged: \(reason) (\(.restart) forgets the checkpoint)")
        }
        while let end = current[start...].firstIndex(of: 0x0a) {
            guard let kind = record(current[start...end]) else {
                guard isComplete else { break }
                throw damaged("it is no record")
            }
            do {
                try take(kind, current[start..<end])
            } catch {
                throw damaged((error as? ManifestError)?.description ?? "it is no record")
            }
            start = end + 1
        }
        return current.startIndex..<start
    }

    /// What kind of record a line is; nil where it is none.
    private static func record(_ line: ArraySlice<UInt8>) -> String? {
        var kind: String?
        let whole: ()? = try? JSONReader.read(line) { json in
            try json.object { key, json in
                if key == "record" { kind = try json.string() } else { try json.skip() }
            }
        }
        return whole == nil ? nil : kind
    }

    private static func lastLine(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        var lines = Backwards(bytes)
        return lines.next()
    }

    /// The whole lines of `bytes` with their newlines, the last one first.
    private struct Backwards: Sequence, IteratorProtocol {
        private var rest: ArraySlice<UInt8>

        init(_ bytes: ArraySlice<UInt8>) {
            rest = bytes[..<(bytes.lastIndex(of: 0x0a).map { $0 + 1 } ?? bytes.startIndex)]
        }

        mutating func next() -> ArraySlice<UInt8>? {
            guard !rest.isEmpty else { return nil }
            let start = rest.dropLast().lastIndex(of: 0x0a).map { $0 + 1 } ?? rest.startIndex
            defer { rest = rest[..<start] }
            return rest[start...]
        }
    }
}
