package import DiskImages
package import SystemPackage
package import TransportArchive

/// An archive that is put together record by record, so that it may also say what no image ever
/// was. Its layers are pictures of sectors, a record a picture.
package struct ComposedArchive: Sendable {
    package struct Layer: Sendable {
        package var names: [String]
        package var format: FormatDescription
        package var backing: Int?
        package var isImage = true
        package var mtime = "1700000000.000000000"
        /// Bytes; nil is as many chunks as there are pictures.
        package var size: UInt64?
        /// A picture of each chunk's first sectors: a letter is data, `0` zeros that are held,
        /// anything else is not held, nor is what no picture reaches. The last one's record goes on
        /// to the disk's end.
        package var pictures: [String]

        /// Raw, or an overlay in `layout`.
        package init(
            _ name: String, _ pictures: [String] = ["a"], _ layout: String = "raw", over backing: Int? = nil,
            change: (inout Layer) -> Void = { _ in }
        ) {
            (names, self.pictures, self.backing) = ([name], pictures, backing)
            format = FormatDescription(format: layout == "raw" ? "raw" : "cow", layout: layout)
            change(&self)
        }

        package var length: UInt64 { size ?? UInt64(pictures.count * RunRecord.longestContent) }
    }

    package var layers: [Layer]
    package var compression = Compression.lz4(level: 1)
    /// What is written in place of each record, with the frame of the true one.
    package var alter: @Sendable (RunRecord) -> RunRecord = { $0 }

    package init(_ layers: [Layer]) { self.layers = layers }

    package var header: ArchiveHeader {
        ArchiveHeader(
            options: ArchiveHeader.Options(
                compression: compression.description, flatten: false, zeroRun: 4096),
            layers: layers.map {
                ArchiveHeader.Layer(
                    names: $0.names, format: $0.format, size: $0.length, mtime: $0.mtime,
                    backing: $0.backing, isImage: $0.isImage)
            })
    }

    /// Every run record with its frame, as they stand in the archive.
    package func runs() throws -> [(run: RunRecord, frame: [UInt8])] {
        let compressor = try FrameCompressor(compression)
        var runs: [(RunRecord, [UInt8])] = []
        for (index, layer) in layers.enumerated() {
            let end = (layer.length + 511) / 512 * 512
            for (number, picture) in layer.pictures.enumerated() where end > 0 {
                let start = UInt64(number * RunRecord.longestContent)
                let isLast = number == layer.pictures.count - 1
                runs.append(
                    try ComposedArchive.run(
                        index, start..<(isLast ? end : start + UInt64(RunRecord.longestContent)), picture,
                        compressor))
            }
        }
        return runs
    }

    private static func run(
        _ layer: Int, _ range: Range<UInt64>, _ picture: String, _ compressor: FrameCompressor
    ) throws -> (RunRecord, [UInt8]) {
        var runs: [RunRecord.Run] = []
        var content: [UInt8] = []
        for (sector, character) in picture.utf8.enumerated() {
            let start = range.lowerBound + UInt64(sector * 512)
            let isZero = character == UInt8(ascii: "0")
            guard isZero || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(character) else { continue }
            runs.append(RunRecord.Run(start: start, end: start + 512, isZero: isZero))
            if !isZero { content += [UInt8](repeating: character, count: 512) }
        }
        guard !content.isEmpty else { return (RunRecord(emptyFor: layer, range: range, runs: runs), []) }
        var frame = [UInt8](repeating: 0, count: FrameFormat.longest)
        let length = try content.withUnsafeBytes { content in
            try frame.withUnsafeMutableBytes { try compressor.compress(content, into: $0) }
        }
        frame.removeLast(frame.count - length)
        let run = RunRecord(
            layer: layer, range: range, runs: runs, contentLength: content.count, frameLength: length,
            frameDigest: ContentDigest(of: frame), contentDigest: ContentDigest(of: content))
        return (run, frame)
    }

    /// The archive in pieces: the empty frame, the header, records and frames, tables,
    /// index, trailer.
    package func parts() throws -> [[UInt8]] {
        var composer = try ArchiveComposer(header)
        let beginning = composer.begin()
        let start = compression.format.empty.count
        var parts = [Array(beginning[..<start]), Array(beginning[start...])]
        for (run, frame) in try runs() {
            parts.append(composer.run(alter(run)))
            if !frame.isEmpty { parts.append(frame) }
        }
        var end = try composer.finish()[...]
        while let length = ArchiveRecord.length(of: Array(end.prefix(8))) {
            parts.append(Array(end.prefix(length)))
            end = end.dropFirst(length)
        }
        return parts
    }

    package var bytes: [UInt8] { get throws { Array(try parts().joined()) } }

    package func write(to path: FilePath) throws { try SparseFile.write(try bytes, to: path) }
}
