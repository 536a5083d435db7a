import DiskImages
import SystemPackage
import TestSupport

@testable import TransportArchive

/// Archives as files, read to their end.
struct ArchiveFiles {
    private let directory: TemporaryDirectory
    private let path: FilePath

    init() throws {
        directory = try TemporaryDirectory()
        path = directory("archive")
    }

    /// A small archive with all that there is: a base of two records, an overlay with data, zeros
    /// and what it leaves to the base, and a disk of nothing.
    static let usual = ComposedArchive([
        ComposedArchive.Layer("base", ["ab", ".c"]) { $0.isImage = false },
        ComposedArchive.Layer("e", []) { $0.names.append("f") },
        ComposedArchive.Layer("vm/top", ["-d0", ""], "qemu-v2", over: 0),
    ])

    func file(_ bytes: [UInt8]) throws -> ImageFile {
        try SparseFile.write(bytes, to: path)
        return try ImageFile(opening: path)
    }

    /// All records of `bytes`, each with a frame that is what it says.
    func read(_ bytes: [UInt8]) throws -> [RunRecord] {
        try rest(of: ArchiveReader(ByteStream(file(bytes))))
    }

    func rest(of reader: ArchiveReader) throws -> [RunRecord] {
        var runs: [RunRecord] = []
        while let run = try reader.next() {
            runs.append(run)
            try check(run, reader)
        }
        return runs
    }

    private func check(_ run: RunRecord, _ reader: ArchiveReader) throws {
        guard run.frameLength > 0 else { return }
        var frame = [UInt8](repeating: 0, count: run.frameLength)
        try frame.withUnsafeMutableBytes { try reader.readFrame(of: run, into: $0) }
        guard ContentDigest(of: frame) == run.frameDigest else {
            throw ArchiveError(.damaged, "a frame is another one")
        }
    }

    /// What is found of an archive in spite of damage, and what is lost.
    func salvage(_ bytes: [UInt8]) throws -> (runs: [RunRecord], losses: [ArchiveReader.Loss]) {
        let reader = try ArchiveReader.salvaging(file(bytes))
        var runs: [RunRecord] = []
        var lost: [ArchiveReader.Loss] = []
        while true {
            switch try reader.nextSalvaging(isStopped: { false }) {
            case .end: return (runs, lost)
            case .lost(let losses, _): lost += losses
            case .run(let run):
                do {
                    try check(run, reader)
                    runs.append(run)
                } catch is ArchiveError {
                    lost.append(ArchiveReader.Loss(layer: run.layer, range: run.range))
                }
            }
        }
    }
}
