internal import DiskImages
internal import Linux
package import SystemPackage

/// An image of a fleet, as a pattern found it.
package struct FleetSource: Equatable, Sendable {
    /// Absolute; links are not resolved.
    package let path: FilePath
    /// The path of its folder below the part of the pattern without wildcards; empty where it lies
    /// there.
    package let directory: FilePath
    /// Its last component without the extension.
    package let name: String
    /// What stands behind the last point; empty where there is none.
    package let `extension`: String
    /// The line of the pattern.
    package let line: Int

    /// A file that a pattern's match leads to, named and placed by it.
    package init(path: FilePath, directory: FilePath, name: String, extension: String, line: Int) {
        self.path = path
        self.directory = directory
        self.name = name
        self.extension = `extension`
        self.line = line
    }
}

extension PipelineSpec {
    /// The files that the patterns match: regular ones and block devices, each once, in the order
    /// of their paths' bytes, without those excluded and without Drover's own. Throws everything
    /// that is wrong: a pattern without a match, a folder or a FIFO among them, one outside of
    /// `confine`.
    package func findSources(mayBeNone: Bool = false) throws(PipelineProblems) -> [FleetSource] {
        var problems: [PipelineProblem] = []
        var found: [[UInt8]: (match: SourceGlob.Match, glob: SourceGlob)] = [:]
        for glob in sources {
            let matches = matches(of: glob, &problems)
            let images = matches?.filter { !SourceGlob.isDroversOwn($0.path) }
            if let matches, images?.isEmpty == true, !mayBeNone {
                problems.append(PipelineProblem(line: glob.line, glob.nothing(matches.first?.path)))
            }
            for match in images ?? [] where found[match.path.pathBytes] == nil {
                found[match.path.pathBytes] = (match, glob)
            }
        }
        let excluded = Set(exclude.flatMap { matches(of: $0, &problems) ?? [] }.map(\.path))
        let allowed = confinement(&problems)
        var fleet: [FleetSource] = []
        for (_, (match, glob)) in found.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
            if !excluded.isEmpty, match.path.isOneOf(excluded) { continue }
            do {
                fleet.append(try source(match, glob, allowed))
            } catch let error as DiskImageError {
                problems.append(
                    PipelineProblem(
                        error.kind, line: glob.line,
                        "source \(shown(match.path)) \(error.fact.text(ChoiceWords.pipelineFile))"))
            } catch {
                problems.append(
                    PipelineProblem(.io, line: glob.line, "source \(shown(match.path)): \(error)"))
            }
        }
        if fleet.isEmpty, problems.isEmpty, !mayBeNone {
            problems.append(PipelineProblem(line: lines["exclude"], "'exclude' leaves no source"))
        }
        guard problems.isEmpty else { throw PipelineProblems(givenName, problems) }
        return fleet
    }

    /// nil where a problem was reported.
    private func matches(of glob: SourceGlob, _ problems: inout [PipelineProblem]) -> [SourceGlob.Match]? {
        do {
            return try glob.matches()
        } catch let error as DiskImageError {
            problems.append(
                PipelineProblem(
                    error.kind, line: glob.line,
                    "pattern \(glob.pattern.quoted): \(shown(error.path)) \(error.fact.text(ChoiceWords.pipelineFile))"
                ))
        } catch {
            problems.append(PipelineProblem(.io, line: glob.line, "pattern \(glob.pattern.quoted): \(error)"))
        }
        return nil
    }

    /// The folders of `confine`, links resolved; nil where a problem was reported.
    private func confinement(_ problems: inout [PipelineProblem]) -> [FilePath]? {
        var folders: [FilePath] = []
        for folder in confine {
            do {
                folders.append(try resolved(folder))
            } catch {
                let fact =
                    (error as? DiskImageError).map {
                        "\(shown(folder)) \($0.fact.text(ChoiceWords.pipelineFile))"
                    } ?? "\(error)"
                problems.append(PipelineProblem(.unavailable, line: lines["confine"], "'confine': \(fact)"))
            }
        }
        return folders.count == confine.count ? folders : nil
    }

    private func source(_ match: SourceGlob.Match, _ glob: SourceGlob, _ allowed: [FilePath]?) throws
        -> FleetSource
    {
        guard let component = match.path.lastComponent, let identity = try ImageFile.identity(at: match.path)
        else {
            throw DiskImageError(.unavailable, match.path, "is a link to nothing")
        }
        if identity.isDirectory {
            throw DiskImageError(
                .badData, match.path,
                "is a folder (write \(shown(match.path))/* for the files in it, or exclude it)")
        }
        guard identity.isRegular || identity.isBlockDevice else {
            throw DiskImageError(.badData, match.path, "is no regular file (exclude it)")
        }
        guard
            String(validating: match.path.pathBytes.suffix(component.string.utf8.count), as: UTF8.self) != nil
        else {
            throw DiskImageError(.badData, match.path, "has a name that is not UTF-8 (rename it)")
        }
        if let allowed {
            let real = try resolved(match.path)
            guard allowed.contains(where: { real.starts(with: $0) }) else {
                let place = real == match.path ? "lies" : "lies at \(real),"
                throw DiskImageError(
                    .badData, match.path, "\(place) outside of 'confine' (add its folder to confine)")
            }
        }
        return FleetSource(
            path: match.path, directory: match.directory, name: component.stem,
            extension: component.extension ?? "", line: glob.line)
    }
}

extension SourceGlob {
    /// Whether a file is one that Drover keeps beside its targets: never an image that somebody
    /// means.
    fileprivate static func isDroversOwn(_ path: FilePath) -> Bool {
        [".partial", ".manifest"].contains { path.pathBytes.suffix($0.utf8.count).elementsEqual($0.utf8) }
    }

    /// That nothing is matched; `own` is one of Drover's own files that is.
    fileprivate func nothing(_ own: FilePath?) -> String {
        if own != nil {
            return "pattern \(pattern.quoted) matches nothing but files of Drover's own (.partial, .manifest)"
        }
        let hint = pattern.contains("{") ? " (braces stand for themselves: write a pattern for each)" : ""
        return "pattern \(pattern.quoted) matches no file\(hint)"
    }
}

extension FilePath {
    /// Whether it or a folder on the way to it is in `paths`.
    fileprivate func isOneOf(_ paths: Set<FilePath>) -> Bool {
        var path = self
        while !path.components.isEmpty {
            if paths.contains(path) { return true }
            path.removeLastComponent()
        }
        return false
    }
}
