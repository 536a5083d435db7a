internal import DiskImages
internal import Linux
internal import Migration
internal import SystemPackage

/// Where a report goes: a file that appears whole or not at all.
struct ReportFile {
    private let name: FilePath
    private let place: FilePlace
    private let force: Bool

    /// Throws `target` where `name` is something that no report replaces: one of `sources`, no
    /// regular file, or, without `force`, a file that is no earlier report.
    init(_ name: FilePath, sources: [FileIdentity], force: Bool) throws {
        let place = try TargetPlace(name, sources: sources)
        self.name = name
        self.place = place.file
        self.force = force
        if place.existing != nil { try checkReplaceable() }
    }

    private func checkReplaceable() throws {
        guard try force || ReportFile.isReport(place) else {
            throw MigrationError(
                .target, "\(name.printed): exists and is no report of Drover's (--force replaces it)")
        }
    }

    /// Writes the page beside its name, syncs it, and renames it.
    func write(_ page: HTML) throws {
        let file = try TargetFile(passing: place)
        try file.reset(length: 0)
        let bytes = Array(page.markup.utf8)
        try bytes.withUnsafeBytes { try file.write($0, at: 0) }
        // It holds names and sizes, and no image's bytes.
        try TargetAccess(holding: []).give(to: file, nil)
        try file.synchronizeWithTimes()
        try file.publish { _ in try checkReplaceable() }
    }

    /// Whether the file begins as every report does.
    private static func isReport(_ place: FilePlace) throws -> Bool {
        let marker = Array(ReportPage.marker.markup.utf8)
        var start = [UInt8](repeating: 0, count: marker.count)
        let file = try ImageFile(opening: place)
        let count = try start.withUnsafeMutableBytes { try file.readAvailable(into: $0, at: 0) }
        return count == marker.count && start == marker
    }
}
