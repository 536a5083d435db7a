internal import DiskImages
internal import Glibc
internal import SystemPackage

@testable internal import Migration
@testable internal import Stages
@testable internal import TransportArchive

/// The input is an archive: verified, restored, salvaged and flattened by the pipelines that the
/// commands run, to files in memory.
enum UnpackTarget {
    /// Larger disks are left to `ArchiveTarget`.
    private static let longest: UInt64 = 16 << 20

    static func run(_ bytes: [UInt8]) throws {
        let archive = try Scratch.write("archive.drover", bytes)
        guard let header = try? ArchiveReader.salvaging(try ImageFile(opening: archive)).header,
            header.layers.count <= 16,
            header.layers.allSatisfy({ $0.size <= longest && ($0.alignment ?? 0) <= 1 << 20 })
        else { return }
        let names = Scratch.names
        let verified = wait { try await verify(archive) }
        for form in [UnpackRequest.Form.chains(layout: nil, alignment: nil), .flattened(RawChoice())] {
            let directory = Scratch.folder.appending("restored")
            var request = UnpackRequest(archive: archive, directory: directory, names: [], form: form)
            request.segmentLength = 1 << 20
            let isFlattened = request.isFlattened
            let isRestored = wait { [request] in try await restore(request) } == true
            Scratch.remove(directory)
            try Finding.unless(
                Scratch.names == names, "something is restored beside the folder that was named")
            // Flattened, only what the images need is read.
            try Finding.unless(
                !isRestored || verified == true || isFlattened,
                "a damaged archive is restored as if it were sound")
        }
    }

    private static var options: MoveOptions { MoveOptions(workers: WorkerSlots(limit: 1)) }

    private static func verify(_ archive: FilePath) async throws -> Bool {
        let verification = ArchiveVerification(archive)
        return try await verification.run(options).damage.isEmpty
    }

    private static func restore(_ request: UnpackRequest) async throws -> Bool {
        let unpacking = try Unpacking(request, stop: StopFlag())
        return try await unpacking.run(options).damage.isEmpty
    }
}
