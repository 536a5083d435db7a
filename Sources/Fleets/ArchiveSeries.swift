internal import DiskImages
internal import Glibc
internal import Linux
package import PipelineFiles
internal import SystemPackage
internal import TransportArchive

/// The archives of a fleet, one a run, whose names have the time in them: `fleet-{time}.drover`.
struct ArchiveSeries {
    /// Which archive of a series is meant.
    enum Member {
        /// The one that a run makes: one that was begun and is newer than all that are whole, else
        /// a new one.
        case next
        /// The last one, whole or not.
        case last
        /// The last whole one.
        case whole
    }

    private let folder: FilePath
    private let prefix: String
    private let suffix: String

    /// nil where the name has no time in it.
    init?(_ pattern: FilePath) {
        guard
            let parts = pattern.lastComponent?.string.split(
                separator: PipelineSpec.time, maxSplits: 1, omittingEmptySubsequences: false),
            parts.count == 2
        else { return nil }
        folder = pattern.removingLastComponent()
        (prefix, suffix) = (String(parts[0]), String(parts[1]))
    }

    /// The path of the archive of a time.
    private func path(_ time: String) -> FilePath { folder.pushing(FilePath(prefix + time + suffix)) }

    /// The times of the archives that are there or were begun, the first first.
    private func times() throws -> (whole: [String], begun: [String]) {
        let names = try SystemText.names(in: folder)
        func times(_ ending: String) -> [String] {
            names.compactMap { name in
                guard name.hasPrefix(prefix), name.hasSuffix(suffix + ending),
                    name.utf8.count == prefix.utf8.count + 16 + suffix.utf8.count + ending.utf8.count
                else { return nil }
                let time = String(name.dropFirst(prefix.count).prefix(16))
                return ArchiveSeries.isTime(time) ? time : nil
            }.sorted()
        }
        return (times(""), times(".partial"))
    }

    /// `20261127T031500Z`.
    private static func isTime(_ text: String) -> Bool {
        text.utf8.enumerated().allSatisfy { index, byte in
            switch index {
            case 8: byte == UInt8(ascii: "T")
            case 15: byte == UInt8(ascii: "Z")
            default: (0x30...0x39).contains(byte)
            }
        }
    }

    private static func text(of time: Int) -> String {
        var (seconds, parts) = (time_t(time), tm())
        gmtime_r(&seconds, &parts)
        func digits(_ number: Int32, _ count: Int) -> String {
            let text = String(number)
            return String(repeating: "0", count: max(0, count - text.count)) + text
        }
        return digits(parts.tm_year + 1900, 4) + digits(parts.tm_mon + 1, 2) + digits(parts.tm_mday, 2) + "T"
            + digits(parts.tm_hour, 2) + digits(parts.tm_min, 2) + digits(parts.tm_sec, 2) + "Z"
    }

    /// The archive that is meant. Throws `unavailable` where none is there.
    func archive(_ member: Member) throws -> FilePath {
        let (whole, begun) = try times()
        switch member {
        case .next:
            if let begun = begun.last, begun > whole.last ?? "" { return path(begun) }
            var now = Int(SystemClock.now.seconds)
            // No name is given twice, and names are in the order in which they were given, whatever
            // the clock says.
            while let last = whole.last, ArchiveSeries.text(of: now) <= last { now += 1 }
            return path(ArchiveSeries.text(of: now))
        case .last:
            guard let last = (whole + begun).max() else { return try archive(.next) }
            return path(last)
        case .whole:
            guard let last = whole.last else {
                throw DiskImageError(
                    .unavailable, path(PipelineSpec.time), "there is no archive of that name yet",
                    cause: .noSuchFileOrDirectory)
            }
            return path(last)
        }
    }

    /// The newest whole archive of which all is there that it stands on, unless it is the last of
    /// `most` that stand on one another.
    func parent(fullEvery most: Int?) throws -> FilePath? {
        for time in try times().whole.reversed() {
            guard let archive = try? ArchiveFile(ImageFile(opening: path(time))),
                (try? archive.openAncestors(of: archive.header.layers.indices)) != nil
            else { continue }
            var (length, next) = (1, archive.openedParent)
            while let archive = next { (length, next) = (length + 1, archive.openedParent) }
            return length >= most ?? .max ? nil : path(time)
        }
        return nil
    }
}

extension PipelineSpec {
    /// The same with the archive that is meant by a name with a time in it. `makes`: the one that
    /// is to be made next.
    package func choosingArchive(makes: Bool) throws -> PipelineSpec {
        guard let pattern = target.archive, let series = ArchiveSeries(pattern) else { return self }
        var spec = self
        spec.target.archive = try series.archive(operation == .verify ? .whole : makes ? .next : .last)
        spec.target.parent = target.sinceNewest ? try series.parent(fullEvery: target.fullEvery) : nil
        return spec
    }
}
