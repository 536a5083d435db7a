internal import DiskImages
internal import ImageFormats
internal import Linux
internal import Manifests
internal import SystemPackage

/// A COW overlay whose file is changed in place: locked, its header known, and nothing of an
/// earlier change left to do.
struct OverlayInPlace {
    let file: PatchedFile
    let header: CowHeader
    /// The image as it is opened; its backing file may be missing.
    let chain: ImageChain

    var path: FilePath { file.path }

    /// Locks `image`, ends what an interrupted `command` began, where `finish` does not say that
    /// it is to be left, and reads the header.
    ///
    /// Throws `badData` where it is no COW file in a layout that is written, `target` where it has
    /// several names and `force` is false, `unavailable` where anybody has a lock on it, or another
    /// command is to go on with it.
    init(_ image: FilePath, for command: Journal.Command, _ options: ChainOptions, force: Bool) throws {
        _ = try options.archived(image)
        file = try PatchedFile(at: image)
        guard file.nameCount < 2 || force else {
            throw MigrationError(
                .target,
                "\(image): has \(file.nameCount) names, and all of them would be changed (\(.force) does it)")
        }
        if let journal = try Journal(of: file.identity(), at: file.place), journal.head.command == .rebase,
            command == .rebase
        {
            try journal.apply(to: file)
            try Journal.remove(of: file)
        }
        var options = options
        // This process has the lock that the chain would find.
        options.forceShare = true
        options.goesOnInPlace = true
        chain = try ImageChain.examine(image, options)
        for layer in chain.layers.dropFirst(command == .commit ? 2 : 1) {
            try Journal.checkNone(of: layer.file)
        }
        guard let content = chain.top.content as? CowContent else {
            throw MigrationError(.badData, OverlayInPlace.refusal(of: chain.top, command))
        }
        header = content.header
        guard CowLayout.writable.contains(header.layout), header.byteOrder == .big else {
            throw MigrationError(
                .badData,
                "\(image): \(header.layout.rawValue) is not written; expected \(CowLayout.writable.map(\.rawValue).joined(separator: ", ")) (drover convert makes one of them of it)"
            )
        }
        if let journal = try Journal(of: file.identity(), at: file.place), journal.head.command != command {
            throw DiskImageError(
                .unavailable, image,
                "is being changed in place, and that was interrupted (\(journal.head.command.name) \(image) goes on with it)"
            )
        }
    }

    private static func refusal(of layer: ImageLayer, _ command: Journal.Command) -> Message {
        let verb = command == .rebase ? "rebase" : "commit"
        guard !layer.isRaw else { return "\(layer.path): is a raw image; expected an overlay" }
        return
            "\(layer.path): is a \(layer.formatName) image; expected a COW file (qemu-img \(verb) does it for that format)"
    }

    /// What the file has at `range`.
    func bytes(_ range: Range<UInt64>) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Int(range.upperBound - range.lowerBound))
        let reading = try file.reading()
        // Behind the end of a short file is nothing: zeros.
        _ = try bytes.withUnsafeMutableBytes { try reading.readAvailable(into: $0, at: range.lowerBound) }
        return bytes
    }

    /// The change that gives the file `header`.
    func change(to header: CowHeader) throws -> Journal.Change {
        let new = header.serialized()
        return Journal.Change(at: 0, old: try bytes(0..<UInt64(new.count)), new: new)
    }
}

/// The pages of a COW file's bitmap that are changed, in order: one is held at a time, and goes to
/// the journal when the next one begins.
struct BitmapChanges {
    /// Bytes of a page: 16 MiB of guest disk.
    static let pageLength: UInt64 = 4096

    private let header: CowHeader
    private let file: ImageFile
    private let journal: JournalWriter
    private var page: UInt64?
    private var old: [UInt8] = []
    private var new: [UInt8] = []

    init(_ file: PatchedFile, _ header: CowHeader, _ journal: JournalWriter) throws {
        (self.header, self.journal) = (header, journal)
        self.file = try file.reading()
    }

    /// Sets the bits of `sectors`, which never go back.
    mutating func set(_ sectors: Range<UInt64>) throws {
        try forEachPage(sectors) { CowBitmap.set($0, in: $1) }
    }

    /// Clears all bits of the pages in which `sectors` lie.
    mutating func clearPages(of sectors: Range<UInt64>) throws {
        try forEachPage(sectors) { _, bytes in
            for index in bytes.indices { bytes[index] = 0 }
        }
    }

    private mutating func forEachPage(
        _ sectors: Range<UInt64>, _ body: (Range<Int>, UnsafeMutableRawBufferPointer) -> Void
    ) throws {
        let perPage = BitmapChanges.pageLength * 8
        var sector = sectors.lowerBound
        while sector < sectors.upperBound {
            let index = sector / perPage
            let end = min(sectors.upperBound, (index + 1) * perPage)
            if page != index { try load(index) }
            let range = Int(sector - index * perPage)..<Int(end - index * perPage)
            new.withUnsafeMutableBytes { body(range, $0) }
            sector = end
        }
    }

    private mutating func load(_ index: UInt64) throws {
        try flush()
        let start = index * BitmapChanges.pageLength
        let count = Int(min(BitmapChanges.pageLength, header.geometry.bitmapLength - start))
        old = [UInt8](repeating: 0, count: count)
        try old.withUnsafeMutableBytes { try file.read(into: $0, at: header.geometry.bitmapOffset + start) }
        (new, page) = (old, index)
    }

    /// Hands the last page to the journal.
    mutating func flush() throws {
        guard let page, old != new else { return }
        try journal.append(
            Journal.Change(
                at: header.geometry.bitmapOffset + page * BitmapChanges.pageLength, old: old, new: new))
        self.page = nil
    }
}
