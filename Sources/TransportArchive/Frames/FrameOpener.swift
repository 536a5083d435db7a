internal import DiskImages
internal import Glibc

/// Reads the bytes that a record's references lead to.
package protocol ReferenceSource: Sendable {
    /// Whether references of this kind are looked at.
    func reads(_ kind: RunRecord.Kind) -> Bool
    /// Fills `buffer` with what `kind`, which is no data and no zeros, leads to. Throws
    /// `DiskImageError.badData` or `ArchiveError` where that is damaged or no such place.
    func read(_ kind: RunRecord.Kind, into buffer: UnsafeMutableRawBufferPointer) throws
}

/// Turns a stored record into its content, or finds that it is damaged. One for each worker.
package struct FrameOpener {
    private let decompressor: FrameDecompressor

    /// Of frames in `format`.
    package init(_ format: FrameFormat) throws { decompressor = try FrameDecompressor(format) }

    /// Fills `content`, which is as long as the record says, from the record's `frame`, whose
    /// digest was right. The content's own is too, where all of what that covers is in the frame.
    package func open(
        _ run: RunRecord, _ frame: UnsafeRawBufferPointer, into content: UnsafeMutableRawBufferPointer
    ) throws {
        guard ContentDigest(of: frame) == run.frameDigest else {
            throw ArchiveError(.damaged, "its frame is damaged")
        }
        if !content.isEmpty { try decompressor.decompress(frame, into: content) }
        guard run.hasReferences || ContentDigest(of: UnsafeRawBufferPointer(content)) == run.contentDigest
        else {
            throw ArchiveError(.damaged, "its frame does not hold its content")
        }
    }
}

/// Turns stored records into all bytes that they hold, those of references with them. One for each
/// worker.
package struct RecordOpener {
    private let opener: FrameOpener
    private let references: (any ReferenceSource)?
    private let stored: AlignedBuffer
    private let whole: AlignedBuffer

    /// Of frames in `format`; without `references` what those lead to is left out. Throws where
    /// there is no memory.
    package init(_ format: FrameFormat, _ references: (any ReferenceSource)?) throws {
        opener = try FrameOpener(format)
        self.references = references
        stored = try AlignedBuffer(capacity: RunRecord.longestContent)
        whole = try AlignedBuffer(capacity: RunRecord.longestContent)
    }

    /// What a record holds.
    package struct Opened {
        /// The bytes of its data and references, one behind the other; until the next record is
        /// opened.
        package let bytes: UnsafeRawBufferPointer
        /// Its runs, but for those whose bytes could not be had.
        package let runs: [RunRecord.Run]
        /// Those, and why.
        package var lost: [(run: RunRecord.Run, reason: any Error)] = []
    }

    /// Opens `run`; `frame` is as stored. Throws where the frame is damaged, or what it holds is
    /// not what its digest says. Where references cannot be read, that is in what is returned; of
    /// kinds that nobody here can read, nothing is.
    package func open(_ run: RunRecord, _ frame: UnsafeRawBufferPointer) throws -> Opened {
        let content = UnsafeMutableRawBufferPointer(rebasing: stored.bytes[..<run.contentLength])
        try opener.open(run, frame, into: content)
        guard run.hasReferences else {
            return Opened(bytes: UnsafeRawBufferPointer(content), runs: run.runs)
        }
        guard let references else { return Opened(bytes: UnsafeRawBufferPointer(content), runs: []) }
        var (position, length) = (0, 0)
        var runs: [RunRecord.Run] = []
        var lost: [(RunRecord.Run, any Error)] = []
        var isWhole = true
        for part in run.runs {
            guard !part.isZero else {
                runs.append(part)
                continue
            }
            guard part.isData || references.reads(part.kind) else {
                isWhole = false
                continue
            }
            let place = UnsafeMutableRawBufferPointer(
                rebasing: whole.bytes[length..<length + Int(part.length)])
            if part.isData {
                memcpy(place.baseAddress!, content.baseAddress! + position, place.count)
                position += place.count
            } else {
                do {
                    try references.read(part.kind, into: place)
                } catch let error as DiskImageError where error.kind == .badData {
                    lost.append((part, error))
                    continue
                } catch let error as ArchiveError {
                    lost.append((part, error))
                    continue
                }
            }
            runs.append(part)
            length += place.count
        }
        let bytes = UnsafeRawBufferPointer(rebasing: whole.bytes[..<length])
        guard !lost.isEmpty || !isWhole || ContentDigest(of: bytes) == run.contentDigest else {
            throw ArchiveError(.damaged, "what it refers to is not what it was")
        }
        return Opened(bytes: bytes, runs: runs, lost: lost)
    }
}
