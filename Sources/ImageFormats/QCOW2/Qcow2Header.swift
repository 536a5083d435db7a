/// The header of a qcow2 file, version 2 or 3: what it says, and how it is stored.
///
/// Source: QEMU's `docs/interop/qcow2.txt`. All numbers are big-endian.
///
///     offset  bytes  field
///          0      4  magic, "QFI" and 0xfb
///          4      4  version: 2 or 3
///          8      8  offset of the backing file's name, 0 where there is none
///         16      4  length of that name, at most 1023
///         20      4  cluster bits: a cluster is 2 to this power bytes, 512 to 2 MiB
///         24      8  the guest disk's size in bytes
///         32      4  encryption: 0 none, 1 AES, 2 LUKS
///         36      4  entries of the L1 table
///         40      8  offset of the L1 table
///         48      8  offset of the refcount table
///         56      4  clusters of the refcount table
///         60      4  internal snapshots
///         64      8  offset of the snapshot table
///                    version 3 alone:
///         72      8  incompatible features: who knows not all of them must not read it
///         80      8  compatible features
///         88      8  autoclear features: who knows not all of them clears them when it writes
///         96      4  refcount order: a refcount has 2 to this power bits
///        100      4  length of the header, at least 104
///        104      1  compression of clusters: 0 zlib, 1 zstd; where the header is so long
///
/// Behind it, extensions: type and length, four bytes each, then the data, padded to eight bytes.
package struct Qcow2Header: Equatable, Sendable {
    /// "QFI" and 0xfb.
    package static let magic: UInt32 = 0x5146_49fb
    /// The bits of a cluster's length that the format allows.
    package static let clusterBits = 9...21
    /// The longest name of a backing file, in bytes.
    package static let longestBackingPath = 1023
    /// The longest L1 table and refcount table that QEMU opens, in bytes.
    package static let longestTable: UInt64 = 32 << 20

    /// 2 or 3.
    package let version: UInt32
    package let clusterBits: Int
    /// The guest disk's size in bytes.
    package let size: UInt64
    /// The backing file's name as bytes; empty where there is none.
    package let backingPath: [UInt8]
    /// The backing file's format as bytes; empty where the header says none.
    package let backingFormat: [UInt8]
    /// Offset of the L1 table, and its entries.
    package let l1Offset: UInt64
    package let l1Count: UInt64
    /// Offset of the refcount table, and its clusters.
    package let refcountTableOffset: UInt64
    package let refcountTableClusters: UInt64
    /// A refcount has 2 to this power bits.
    package let refcountOrder: Int
    package let compression: Qcow2Compression
    /// Whether clusters have 32 parts each, which are allocated one by one.
    package let hasSubclusters: Bool
    /// What is in the file beside the disk and is not read.
    package let snapshotCount: UInt32
    package let hasBitmaps: Bool

    /// Bytes of a cluster.
    package var clusterLength: UInt64 { 1 << UInt64(clusterBits) }
    /// Bytes of an entry of an L2 table.
    package var entryLength: Int { hasSubclusters ? 16 : 8 }
    /// Entries of an L2 table, which is a cluster.
    package var l2Count: UInt64 { clusterLength / UInt64(entryLength) }
    /// Bytes of guest disk that an L2 table speaks of.
    package var l2Reach: UInt64 { clusterLength * l2Count }
}

/// How the compressed clusters of a file are compressed.
package enum Qcow2Compression: String, CaseIterable, Sendable {
    /// Raw deflate with a window of 4 KiB.
    case zlib
    /// One Zstandard frame a cluster.
    case zstd

    /// Its number in the header.
    var number: UInt8 { self == .zlib ? 0 : 1 }
}

extension Qcow2Header {
    /// Features that a header says a reader must know.
    enum Feature: Int {
        /// Refcounts may be wrong; nothing that is read depends on them.
        case dirty = 0
        case corrupt = 1
        case externalData = 2
        case compressionType = 3
        case subclusters = 4
    }

    /// Kinds of header extensions.
    enum ExtensionType: UInt32 {
        case end = 0
        case backingFormat = 0xe279_2aca
        case featureNames = 0x6803_f857
        case bitmaps = 0x2385_2875
        case encryption = 0x0537_be77
        case externalData = 0x4441_5441
    }
}
