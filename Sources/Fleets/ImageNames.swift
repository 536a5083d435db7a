internal import DiskImages
internal import Glibc
internal import Linux
internal import PipelineFiles
internal import SystemPackage

/// The names that images have for a user who means some of many: the full name, a last component
/// that is unique, or a glob.
struct ImageNames {
    /// What a user's name means.
    enum Meaning: Equatable {
        /// Places among the names, at least one.
        case places([Int])
        /// A last component of several.
        case ambiguous([Int])
        /// None; the names that are nearest, if any are near.
        case nothing(near: String?)
    }

    private let names: [FilePath]
    private let lasts: [FilePath?]
    private var byName: [[UInt8]: [Int]] = [:]
    private var byLast: [[UInt8]: [Int]] = [:]

    /// By bytes: a String takes names for equal that only look the same.
    init(_ names: [FilePath]) {
        self.names = names
        lasts = names.map { $0.lastComponent.map { FilePath(root: nil, [$0]) } }
        for (index, name) in names.enumerated() {
            byName[name.pathBytes, default: []].append(index)
            if let last = lasts[index] { byLast[last.pathBytes, default: []].append(index) }
        }
    }

    /// What `name` means. A name of that very kind comes before a last component, and that before a
    /// glob.
    func meaning(of name: FilePath) -> Meaning {
        if let places = byName[name.pathBytes] { return .places(places) }
        if let places = byLast[name.pathBytes] {
            return places.count == 1 ? .places(places) : .ambiguous(places)
        }
        let found = SourceGlob.hasWildcard(name.string) ? names.indices.filter { isMatch(name, at: $0) } : []
        return found.isEmpty ? .nothing(near: nearest(to: name)) : .places(found)
    }

    /// A glob with a slash is for full names, one without for last components; a wildcard never
    /// stands for a slash.
    private func isMatch(_ glob: FilePath, at index: Int) -> Bool {
        let candidate = glob.components.count > 1 ? names[index] : lasts[index]
        return candidate?.withPlatformString { text in
            glob.withPlatformString { fnmatch($0, text, FNM_PATHNAME | FNM_PERIOD) == 0 }
        } ?? false
    }

    private func nearest(to name: FilePath) -> String? {
        NearestKey.of(name.string, in: names.map(\.string))
            ?? NearestKey.of(name.string, in: lasts.compactMap { $0?.string })
    }
}
