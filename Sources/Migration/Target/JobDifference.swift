internal import Manifests

/// In what a move that is recorded differs from the one that is meant.
package enum JobDifference: Equatable, Sendable {
    /// The same files are read; in words, which options are others: empty where nobody can tell.
    case options(String)
    /// A file that is read, called so, was another then or had other content.
    case changed(String)
    /// It read another source, called so.
    case source(String)
    /// An archive was of fewer files than now, or of more: which, and whether it is new.
    case file(String, isNew: Bool)
    /// Nothing is known of it.
    case unknown

    /// Between jobs that read `before` and `now`, top layers first.
    init(from before: [ManifestJob.Source], to now: [ManifestJob.Source], options: String) {
        guard before != now else {
            self = .options(options)
            return
        }
        guard before.map(\.path) == now.map(\.path) else {
            self = .source(before.first?.path ?? "")
            return
        }
        self = .changed(zip(before, now).first { $0 != $1 }?.0.path ?? "a file")
    }

    /// Between the archives of two sets of files.
    init(from before: [ManifestJob.Source], to now: [ManifestJob.Source]) {
        let (old, new) = (Set(before.map(\.path)), Set(now.map(\.path)))
        if let file = now.first(where: { !old.contains($0.path) }) {
            self = .file(file.path, isNew: true)
        } else if let file = before.first(where: { !new.contains($0.path) }) {
            self = .file(file.path, isNew: false)
        } else {
            self.init(
                from: before.sorted { $0.path < $1.path }, to: now.sorted { $0.path < $1.path }, options: "")
        }
    }

    /// What the recorded move was, as a noun.
    var recorded: String {
        switch self {
        case .options(let which): "the same source with other options" + (which.isEmpty ? "" : ": \(which)")
        case .changed(let file): "this job before \(file) changed"
        case .source(let path): "another source, \(path)"
        case .file, .unknown: "another archive or of changed sources"
        }
    }

    /// What has changed since, as a sentence without its end.
    package var change: String {
        switch self {
        case .options(""): "other options are asked for"
        case .options(let which): "its options changed: \(which)"
        case .changed(let file): "\(file) changed"
        case .source(let path): "it was made of another source, \(path)"
        case .file(let path, true): "\(path) is new in it"
        case .file(let path, false): "\(path) is in it no longer"
        case .unknown: "its sources or options changed"
        }
    }
}
