internal import ArgumentParser
internal import DiskImages
internal import ImageFormats
internal import Linux
internal import Migration
internal import PipelineFiles
internal import SystemPackage

/// `drover measure`: the room that a conversion would take.
struct Measure: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "measure",
        abstract: "Say how much room a conversion would take.",
        discussion: """
            Prints the bytes that a target takes at most where zeros known from bitmaps and holes are left out (required), and those it would \
            take without any holes (fully allocated). No data is read: zeros in it, which convert skips as well, count as data.

            For example: drover measure -O cow -o layout=qemu-v2 guests/web-01.cow
            """)

    @OptionGroup var target: TargetOptions
    @OptionGroup var outputOptions: OutputOptions
    @OptionGroup var verbosity: VerbosityOptions
    @OptionGroup(title: "Image options") var imageOptions: ImageOptions
    @Argument(help: "The image.", completion: .file(), transform: FilePath.init(argument:)) var image:
        FilePath

    /// What is printed; the keys are those of `qemu-img measure`.
    private struct Room: Encodable {
        /// Bytes for data that is not known to be zero, header and bitmap.
        let required: UInt64
        /// Bytes for the whole disk, header and bitmap.
        let fullyAllocated: UInt64
    }

    func run() throws {
        let chain = try imageOptions.open(image, verbosity)
        let room = try target.format == .qcow2 ? qcow2Room(for: chain) : plainRoom(for: chain)
        var output = Output()
        switch outputOptions.output {
        case .human:
            try output.line("required size: \(room.required)")
            try output.line("fully allocated size: \(room.fullyAllocated)")
        case .json: try output.json(room)
        }
        try output.finish()
    }

    private func plainRoom(for chain: ImageChain) throws -> Room {
        let dataOffset = try dataOffset(of: chain.top)
        return Room(
            required: dataOffset + (try chain.dataLength()), fullyAllocated: dataOffset + chain.guestLength)
    }

    /// Without compression, whose success nobody knows beforehand.
    private func qcow2Room(for chain: ImageChain) throws -> Room {
        let header: Qcow2Header
        do throws(FormatError) {
            header = try Qcow2Header(
                writing: chain.guestLength,
                clusterBits: target.formatOptions.clusterBits ?? Qcow2Header.usualClusterBits,
                compression: nil)
        } catch {
            throw DiskImageError(.badData, chain.top.path, "\(error)")
        }
        func count(_ length: UInt64) throws -> UInt64 { try chain.countUnits(of: length) }
        // Zeros are found by blocks of 4 KiB.
        let unit = max(header.clusterLength, 4096)
        let all = (chain.guestLength + header.clusterLength - 1) / header.clusterLength
        return Room(
            required: header.fileLength(
                storing: try count(unit) * (unit / header.clusterLength), tables: try count(header.l2Reach)),
            fullyAllocated: header.fileLength(storing: all, tables: header.l1Count))
    }

    /// Where the data of a target for a disk like `source` would begin.
    private func dataOffset(of source: ImageLayer) throws -> UInt64 {
        guard target.format == .cow else { return 0 }
        let layout = target.formatOptions.layout ?? .umlV3
        do throws(FormatError) {
            let header = try CowHeader(
                layout: layout, backingPath: layout.isUML ? Array("/".utf8) : [], mtime: 0, size: source.size,
                alignment: target.formatOptions.alignment ?? CowHeader.usualAlignment)
            if header.isPastUMLLimit {
                verbosity.warn(
                    "\(source.path): header and bitmap would pass 2^31 bytes, and no such image is written")
            }
            return header.geometry.dataOffset
        } catch {
            throw DiskImageError(.badData, source.path, "as \(layout.rawValue): \(error)")
        }
    }
}

extension ImageChain {
    /// How many pieces of the disk, each of `length` bytes, are not known to be zero.
    fileprivate func countUnits(of length: UInt64) throws -> UInt64 {
        var status = BlockStatus(of: self)
        var (total, next): (UInt64, UInt64) = (0, 0)
        while let extent = try status.next() {
            guard !extent.isZero else { continue }
            let first = max(extent.start / length, next)
            let end = (extent.end - 1) / length + 1
            if end > first { total += end - first }
            next = max(next, end)
        }
        return total
    }

    /// Bytes of the guest disk that are not known to be zero.
    fileprivate func dataLength() throws -> UInt64 {
        var status = BlockStatus(of: self)
        var total: UInt64 = 0
        while let extent = try status.next() { total += extent.isZero ? 0 : extent.length }
        return total
    }
}
