internal import DiskImages

/// Where the content of a target comes from, and what of it is to be moved: a chain, or the records
/// of an archive.
protocol ContentSource: Sendable {
    associatedtype Portion: ContentPortion
    associatedtype Reader: ContentReader where Reader.Portion == Portion

    /// The files that it is read from, as far as they are known beforehand.
    var files: [ImageFile] { get }
    /// What the target holds of it.
    var scope: CopyScope { get }
    /// The shortest run of zeros that is not written; 0 writes everything.
    var shortestZeroRun: Int { get }

    /// What is to be done next, in the disk's order, mapped and not yet read, or read and not yet
    /// looked at; nil when all of it is planned.
    mutating func next() async throws -> Portion?
    /// A reader for one worker.
    func makeReader() throws -> Reader
}

/// What the planner hands to a worker at once.
protocol ContentPortion: Sendable {
    /// What it counts for where bytes that wait are bounded.
    var weight: Int { get }
    /// Bytes that are read for it.
    var readLength: Int { get }
}

/// What a worker gets bytes from, one portion at a time.
protocol ContentReader {
    associatedtype Portion

    /// Begins with `portion`: chunks and spans of the target.
    mutating func open(_ portion: Portion) throws -> [Planned]
    /// The guest's bytes of `chunk`, which is one of those, until the next call; in `window`, which
    /// holds `Limits.buffer`, or, where they need not `mustMove`, wherever they are.
    func bytes(of chunk: Chunk, in window: AlignedBuffer, mustMove: Bool) throws -> UnsafeRawBufferPointer
    /// What could not be read of the chunks since this was last asked, where that ends nothing:
    /// ranges of the guest's disk. It counts as zeros.
    func takeLosses() -> [Range<UInt64>]
    /// The file that has the bytes of `run` as they are; nil where none has.
    func file(of run: ReadRun) -> ImageFile?
    /// Nothing more is read of `portion`.
    func close(_ portion: Portion) async throws
}

extension ContentReader {
    func file(of run: ReadRun) -> ImageFile? { nil }
    func takeLosses() -> [Range<UInt64>] { [] }
}
