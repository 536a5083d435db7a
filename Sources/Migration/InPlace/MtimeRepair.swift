package import DiskImages
internal import ImageFormats
package import Linux
internal import Stages
package import SystemPackage

/// Gives bases whose mtimes drifted the times that their overlays expect, where a record proves
/// that their bytes are the same.
package struct MtimeRepair: Sendable {
    /// What was done about one base, or why nothing was.
    package enum Outcome: Sendable {
        /// It has the time again, as the file at `proof` shows.
        case repaired(base: FilePath, time: Timestamp, proof: FilePath)
        case left(base: FilePath, why: Message)
    }

    private let image: FilePath
    private let options: ChainOptions
    private let known: [FilePath]

    /// Of the bases below `image`. `known` are manifests and archives beside those in the base's
    /// own folder.
    package init(_ image: FilePath, _ options: ChainOptions, known: [FilePath]) {
        (self.image, self.options, self.known) = (image, options, known)
    }

    /// Throws where a file of `known` cannot be read, or somebody may write to a base.
    package func run(_ options: MoveOptions) async throws -> [Outcome] {
        let chain = try ImageChain.examine(image, self.options)
        var outcomes: [Outcome] = []
        for problem in chain.problems where problem.kind == .mtime && problem.depth + 1 < chain.layers.count {
            let overlay = chain.layers[problem.depth]
            guard let expected = overlay.content.backing?.mtime else { continue }
            outcomes.append(
                try await repair(chain.layers[problem.depth + 1], under: overlay, expected, options))
        }
        return outcomes
    }

    private func repair(
        _ base: ImageLayer, under overlay: ImageLayer, _ expected: UInt32, _ options: MoveOptions
    ) async throws -> Outcome {
        try base.file.checkUnused()
        guard base.isRaw, base.file.identity.isRegular else {
            return .left(base: base.path, why: "is no raw file, of which nothing is recorded")
        }
        if let why = try disagreement(on: base, overlay, expected) { return .left(base: base.path, why: why) }
        var other: FilePath?
        for path in try records(of: base) {
            guard let content = try KnownContent(path, of: base, at: expected) else { continue }
            if try await content.isHeld(by: base, options) {
                try base.file.restoreMtime(content.mtime)
                return .repaired(base: base.path, time: content.mtime, proof: path)
            }
            guard !options.stop.isRequested else {
                throw MigrationError(.stopped, "\(image): stopped by a signal")
            }
            other = path
        }
        guard let other else {
            return .left(
                base: base.path,
                why:
                    "nothing proves that it is what it was on \(Timestamp.date(Int(expected))): there is neither a manifest nor an archive of it from then (\(.known) names one)"
            )
        }
        return .left(
            base: base.path,
            why:
                "is not what it was on \(Timestamp.date(Int(expected))), as \(other) says: its time differs rightly"
        )
    }

    /// Why the time cannot be given back, where its overlays expect several.
    private func disagreement(on base: ImageLayer, _ overlay: ImageLayer, _ expected: UInt32) throws
        -> Message?
    {
        let siblings = Siblings(on: base, beside: overlay.file.identity, options.location)
        var groups: [UInt32: [String]] = [expected: [overlay.path.description]]
        let folders = [overlay.path, base.path].map { $0.removingLastComponent() }
        for (path, mtime) in try siblings.find(in: folders) {
            if let mtime { groups[mtime, default: []].append(path.description) }
        }
        guard groups.count > 1 else { return nil }
        let sorted = groups.sorted { ($0.value.count, $0.key) < ($1.value.count, $1.key) }
        let text = sorted.map { "\($0.key): \($0.value.sorted().prefix(3).joined(separator: ", "))" }
        return
            "its overlays expect different mtimes (\(text.joined(separator: "; "))); drover rebase with \(.headerOnly) points the fewer at the base as it is, if they were made for its bytes"
    }

    /// What may prove something: the named files, and manifests and archives beside the base.
    private func records(of base: ImageLayer) throws -> [FilePath] {
        let parent = base.path.removingLastComponent()
        let folder: FilePath = parent.isEmpty ? "." : parent
        let beside = try FolderNames.all(in: folder).filter {
            ["manifest", "drover"].contains($0.extension)
        }
        return known + beside.map { folder.appending($0) }
    }
}
