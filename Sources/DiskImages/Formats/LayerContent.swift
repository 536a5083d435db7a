package import Linux
package import SystemPackage

/// What the bytes of one image's file mean. A format answers for itself: whoever reads images asks
/// here and knows none.
package protocol LayerContent: Sendable {
    /// The format's name: `raw`, `cow`.
    var formatName: String { get }
    /// The exact format: what reads the file again as what it is, whatever it looks like.
    var format: ImageFormat { get }
    /// How an archive restores the file, and a manifest records it.
    var restored: FormatDescription { get }
    /// The disk's size in bytes as header or file say, not always whole sectors.
    var size: UInt64 { get }
    /// Whether the file answers for every sector: what it does not store is zeros, and no file
    /// below it shows through.
    var isRaw: Bool { get }
    /// Bytes of the file before its data.
    var metadataLength: UInt64 { get }
    /// What it says of its backing file; nil where it has none.
    var backing: BackingClause? { get }
    /// What a user should know although it can be read; nil mostly.
    var warning: String? { get }
    /// Where it comes from, where its file is an archive of several; nil of a file of its own.
    var archived: ArchivedSource? { get }

    /// The first `count` bytes of what a raw image holds, or as many as there are.
    func beginning(of file: ImageFile, _ count: Int) throws -> [UInt8]
    /// A walk through what `file` holds of its disk.
    func cursor(over file: ImageFile) -> any LayerCursor
    /// The first allocated sector whose data `file` does not hold, and where its data would end;
    /// nil where it is whole.
    func firstTruncatedSector(in file: ImageFile) throws -> (sector: UInt64, dataEnd: UInt64)?
    /// The digest of what `file` has before its data; nil where it has nothing. Throws `badData`
    /// where that cannot be told.
    func metadataDigest(in file: ImageFile) throws -> ContentDigest?
    /// Reads what the disk holds from `offset` on: a part of one extent that is `encoded`, or of
    /// several in a row.
    func decode(_ file: ImageFile, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws

    /// What the bytes of the backing file mean, where this image, and not that file's content, is
    /// to say it; nil where the content decides.
    func backingContent(_ opening: FormatOpening, of referrer: FilePath) throws -> (any LayerContent)?
    /// What is wrong with `backing` as the backing file of the image at `referrer`.
    func misfits(of backing: ImageLayer, under referrer: FilePath) -> [BackingMisfit]
}

/// What an image says of its backing file.
package struct BackingClause: Sendable {
    /// The name as the header has it.
    package let path: FilePath
    /// The modification time that the file had, in seconds; nil where that is unknown.
    package let mtime: UInt32?

    package init(path: FilePath, mtime: UInt32? = nil) {
        self.path = path
        self.mtime = mtime
    }

    /// Whether a file of this `time` can be the one, by the 32 bits that a header has for it.
    package func expects(_ time: Timestamp) -> Bool {
        mtime.map { UInt32(truncatingIfNeeded: time.seconds) == $0 } ?? true
    }
}

/// A layer of an archive, as records know it.
package struct ArchivedSource: Sendable {
    /// Which layer of the archive it is.
    package let layer: Int
    /// The archive's id and the layer's name.
    package let name: String
    /// The packed file's size in bytes, and its time.
    package let size: UInt64
    package let mtime: Timestamp
    /// What stands for all that the archive holds of it.
    package let digest: String
    /// Who might read the packed file; nil where that is not known.
    package var access: FileAccess? = nil

    package init(layer: Int, name: String, size: UInt64, mtime: Timestamp, digest: String) {
        (self.layer, self.name, self.size, self.mtime, self.digest) = (layer, name, size, mtime, digest)
    }
}

/// Something that is wrong between an image and its backing file.
package struct BackingMisfit: Sendable {
    package let kind: ChainProblem.Kind
    package let error: DiskImageError

    package init(_ kind: ChainProblem.Kind, _ error: DiskImageError) {
        self.kind = kind
        self.error = error
    }
}

extension LayerContent {
    package var metadataLength: UInt64 { 0 }
    package var backing: BackingClause? { nil }
    package var warning: String? { nil }
    package var archived: ArchivedSource? { nil }

    package func beginning(of file: ImageFile, _ count: Int) throws -> [UInt8] { try file.prefix(count) }

    package func firstTruncatedSector(in file: ImageFile) throws -> (sector: UInt64, dataEnd: UInt64)? { nil }

    package func metadataDigest(in file: ImageFile) throws -> ContentDigest? { nil }

    package func decode(_ file: ImageFile, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer)
        throws
    {
        throw DiskImageError(.badData, file.path, "\(formatName) has no data that must be decoded")
    }

    package func backingContent(_ opening: FormatOpening, of referrer: FilePath) throws -> (any LayerContent)?
    {
        nil
    }

    package func misfits(of backing: ImageLayer, under referrer: FilePath) -> [BackingMisfit] { [] }
}

/// What one layer says of its disk, asked forwards or anywhere; holds a window of its metadata, no
/// more.
package protocol LayerCursor: Sendable {
    /// What is at guest offset `position`, and where that stops being valid, at most `end`; both
    /// whole sectors within the layer. `absent`: the next layer is to be asked.
    mutating func answer(at position: UInt64, upTo end: UInt64) throws -> (Extent.Content, end: UInt64)
}

/// A format that images are opened in.
package protocol LayerFormat: Sendable {
    /// What a user may call it: its own name, and those of its layouts.
    var names: [String] { get }
    /// Whether a file that begins so is an image of this format, sound or not.
    func recognises(_ prefix: [UInt8]) -> Bool
    /// What a file's bytes mean that is one, by its content or because somebody says so. Throws
    /// `badData` where it is none.
    func content(_ opening: FormatOpening) throws -> any LayerContent
    /// What the file may say of its backing file: of a header that fits several layouts all that it
    /// may mean. Throws `badData` where it is no image of this format.
    func references(_ opening: FormatOpening) throws -> [BackingClause]
}

extension LayerFormat {
    package func references(_ opening: FormatOpening) throws -> [BackingClause] {
        try content(opening).backing.map { [$0] } ?? []
    }
}

/// A file that is being opened as an image.
package struct FormatOpening {
    package let file: ImageFile
    /// How it begins: what is there of `prefixLength` bytes.
    package let prefix: [UInt8]
    /// What somebody said it is; nil where its content decides.
    package let asked: ImageFormat?
    package let options: ChainOptions
    /// Its place in the chain, 0 at the top.
    package let depth: Int

    package init(_ file: ImageFile, as asked: ImageFormat?, _ options: ChainOptions, depth: Int) throws {
        (self.file, self.asked, self.options, self.depth) = (file, asked, options, depth)
        // What is known to be raw need not be readable there.
        prefix = try file.prefix(RawDisguise.prefixLength, orNone: asked == .raw)
    }

    /// The choice by which a user says what the file is: `format`, or any.
    func choice(_ format: String?) -> Choice {
        .sourceFormat(depth: min(depth, format == nil ? depth : 1), format: format, isB: options.isSecond)
    }
}
