internal import DiskImages
internal import Linux
internal import TransportArchive

/// What was found to be damaged in an archive that is read in spite of it; planner and workers
/// write to it.
final class DamageLog: Sendable {
    private struct Contents {
        var losses: [ArchiveReader.Loss] = []
        var reasons: [String] = []
        var doubted: Set<Int> = []
        var unplanned: [ArchiveReader.Loss] = []
        var gaps: Set<Int> = []
    }

    private let contents = Locked(Contents())

    /// What is lost, in the archive's order.
    var losses: [ArchiveReader.Loss] {
        contents.withLock { $0.losses }.sorted {
            ($0.layer, $0.range.lowerBound) < ($1.layer, $1.range.lowerBound)
        }
    }

    /// Why, in the order in which it was found.
    var reasons: [String] { contents.withLock { $0.reasons } }

    /// Layers in or before which something was damaged: only the index can know that their records
    /// belong here.
    var doubted: Set<Int> { contents.withLock { $0.doubted } }

    /// What is lost of `layer`.
    func losses(of layer: Int) -> [ArchiveReader.Loss] { losses.filter { $0.layer == layer } }

    /// A stretch of `layer` whose records are missing, each once: it is still to be planned.
    func takeUnplanned(of layer: Int) -> ArchiveReader.Loss? {
        contents.withLock { contents in
            contents.unplanned.firstIndex { $0.layer == layer }.map { contents.unplanned.remove(at: $0) }
        }
    }

    /// Whether records of `layer` are missing.
    func hasGap(in layer: Int) -> Bool { contents.withLock { $0.gaps.contains(layer) } }

    /// A frame that does not hold what its record, which is sound, says.
    func add(_ run: RunRecord, _ error: ArchiveError) {
        contents.withLock {
            $0.losses.append(ArchiveReader.Loss(layer: run.layer, range: run.range))
            $0.reasons.append(error.description)
        }
    }

    /// A part of a record that cannot be had, although that is sound.
    func add(_ loss: ArchiveReader.Loss, _ reason: String) {
        contents.withLock {
            $0.losses.append(loss)
            $0.reasons.append(reason)
        }
    }

    /// Records that are missing between two places; `layers` are those before and behind them.
    func add(_ losses: [ArchiveReader.Loss], _ error: ArchiveError, between layers: [Int]) {
        contents.withLock {
            $0.losses += losses
            $0.unplanned += losses
            $0.gaps.formUnion(losses.map(\.layer))
            $0.reasons.append(error.description)
            $0.doubted.formUnion(losses.map(\.layer) + layers)
        }
    }

    /// Nothing that was read of `layer` is of this archive.
    func addAll(of layer: Int, length: UInt64) {
        contents.withLock {
            $0.losses.removeAll { $0.layer == layer }
            $0.losses.append(ArchiveReader.Loss(layer: layer, range: 0..<length))
        }
    }
}
