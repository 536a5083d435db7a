import DiskImages
import SystemPackage
import TestSupport
import Testing

@testable import Manifests
@testable import Migration
@testable import Stages
@testable import TransportArchive

/// An archive of images that look like pictures, and what becomes of it. What the tests of archives
/// know of the calls is here.
struct Archives {
    let directory: TemporaryDirectory
    /// The images that are packed, by name.
    var images = ["top"]
    var compression = Compression.lz4(level: 1)
    var flatten = false
    var sharesContent = true
    var options = MoveOptions(workers: WorkerSlots(limit: 2))
    var policy = StartPolicy()
    /// Bytes of guest disk for each character of a picture.
    var unit = 1 << 20
    /// Bytes of archive, or of guest disk, that one checkpoint covers.
    var segmentLength: UInt64 = 1 << 20

    init(_ directory: TemporaryDirectory) { self.directory = directory }

    var archive: FilePath { directory("fleet.drover") }
    var bytes: [UInt8] { get throws { try FileChanges.bytes(of: archive) } }

    private func chainOptions(_ image: FilePath) throws -> ChainOptions {
        ChainOptions(location: try BackingLocation(), ignoreMtime: true)
    }

    @discardableResult
    func pack() async throws -> MoveResult {
        var request = PackRequest(
            archive: archive, images: images.map { directory($0) },
            options: ChainOptions(location: try BackingLocation(), ignoreMtime: true),
            compression: compression, flatten: flatten)
        (request.policy, request.segmentLength, request.sharesContent) = (
            policy, segmentLength, sharesContent
        )
        return try await Packing(request, options).run(options) { _ in }
    }

    private func request(_ folder: String, _ form: UnpackRequest.Form, _ names: [String]) -> UnpackRequest {
        var request = UnpackRequest(
            archive: archive, directory: directory(folder), names: names, form: form)
        (request.policy, request.segmentLength) = (policy, segmentLength)
        return request
    }

    /// Restores what is in the archive into `folder`.
    @discardableResult
    func unpack(
        into folder: String = "out", as form: UnpackRequest.Form = .chains(layout: nil, alignment: nil),
        names: [String] = []
    ) async throws -> UnpackResult {
        try await Unpacking(request(folder, form, names), stop: options.stop).run(options)
    }

    /// Restores what is intact of it.
    @discardableResult
    func salvage(into folder: String = "out", names: [String] = []) async throws -> UnpackResult {
        try await Salvaging(request(folder, .chains(layout: nil, alignment: nil), names)).run(options)
    }

    /// What is damaged in it, a line each, without the archive's name.
    func verify() async throws -> [String] {
        try await ArchiveVerification(archive).run(options).damage.map {
            $0.replacing("\(archive): ", with: "")
        }
    }

    /// What a guest sees of the image `name` in `folder`.
    func picture(_ name: String, in folder: String = "out") throws -> String {
        Picture(
            of: try ImageChain.open(directory(folder).pushing(FilePath(name)), chainOptions("")).guestBytes,
            unit: unit
        )
        .text
    }

    /// Where records and frames lie in the archive, in order.
    func records() throws -> [(run: RunRecord, offset: UInt64, frame: UInt64)] {
        let reader = try ArchiveReader(ByteStream(try ImageFile(opening: archive)))
        var found: [(RunRecord, UInt64, UInt64)] = []
        while true {
            let offset = reader.stream.offset
            guard let run = try reader.next() else { return found }
            found.append((run, offset, reader.stream.offset))
            if run.frameLength > 0 { try reader.skipFrame(of: run) }
        }
    }
}
