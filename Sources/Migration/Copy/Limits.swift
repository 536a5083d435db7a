internal import Manifests

/// Sizes that bound the pipeline.
package enum Limits {
    /// The most guest disk that one chunk covers, in bytes; chunks begin at multiples of it. Its
    /// bitmap is whole bytes.
    package static let chunk = Segment.chunk
    /// A chunk's bytes and its bitmap behind them.
    static let buffer = chunk + chunk / 512 / 8
    /// Guest bytes of chunks that wait for a reader.
    static let planned = 8 * chunk
    /// Runs of a stretch whose content is known, more or less, after which another one begins.
    static let knownRuns = 1024
    /// Chunks and spans that wait to be checkpointed: a few words each.
    static let finished = 4096
    /// Finished bytes after which the kernel is asked to begin writing them to disk.
    static let writeback: UInt64 = 16 << 20
    /// The shortest time between two syncs: what a crash can cost beside the segments that are
    /// being written.
    static let syncInterval = Duration.milliseconds(100)
}
