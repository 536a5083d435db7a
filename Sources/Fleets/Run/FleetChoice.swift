internal import Linux
internal import Migration
internal import PipelineFiles
package import SystemPackage

/// Which part of a fleet is meant.
package struct FleetChoice: Sendable {
    /// One of several machines' part; nil for all.
    package var shard: Shard?
    /// The items that were named; nil for all. The bases that they stand on come with them.
    package var named: Set<Int>?

    package init(shard: Shard? = nil, named: Set<Int>? = nil) {
        self.shard = shard
        self.named = named
    }
}

extension FleetPlan {
    /// The places of the items that `choice` is to move: its share of the images, and the bases
    /// they stand on, which come first.
    package func places(in choice: FleetChoice) -> [Int] {
        func isMeant(_ index: Int) -> Bool { choice.named?.contains(index) ?? true }
        guard let shard = choice.shard else { return withBases(items.indices.filter(isMeant)) }
        let images = items.indices.filter { items[$0].role != .base && isMeant($0) }
        let stoodOn = Set(images.compactMap { items[$0].base })
        // A base that no image stands on is shared out like an image; after them, so that it moves
        // none of them to another share.
        let shared =
            images + items.indices.filter { items[$0].role == .base && isMeant($0) && !stoodOn.contains($0) }
        return withBases(shared.enumerated().filter { shard.contains($0.offset) }.map(\.element))
    }

    private func withBases(_ chosen: [Int]) -> [Int] {
        let needed = Set(chosen + chosen.compactMap { items[$0].base })
        return items.indices.filter(needed.contains)
    }

    /// The places of the items that `names` mean: each a full name, a last component that is
    /// unique, or a glob. nil where there are no names. Throws `usage` where one means nothing, or
    /// several.
    package func places(named names: [FilePath]) throws -> Set<Int>? {
        guard !names.isEmpty else { return nil }
        let known = ImageNames(
            items.map {
                $0.role == .archive && $0.sources.count != 1 ? FilePath($0.name) : shownSource(of: $0)
            })
        var places: Set<Int> = []
        for name in names {
            switch known.meaning(of: name) {
            case .places(let found): places.formUnion(found)
            case .ambiguous(let found):
                let full = found.map { items[$0].name }.sorted().prefix(5).joined(separator: ", ")
                throw MigrationError(
                    .usage,
                    "\(name): is the name of \(found.count) images of \(spec.givenName) (give the full name: \(full))"
                )
            case .nothing(let near):
                let advice =
                    near.map { "did you mean \($0)?" } ?? "drover plan \(spec.givenName.shellWord) names all"
                throw MigrationError(.usage, "\(name): is no image of \(spec.givenName) (\(advice))")
            }
        }
        return places
    }

    private func shownSource(of item: FleetItem) -> FilePath {
        var rest = item.sources[0]
        return rest.removePrefix(spec.directory) && !rest.isEmpty ? rest : item.sources[0]
    }

    /// The command that does something about the items at `indices` alone.
    func command(_ choice: Choice, for places: Int...) -> String {
        let names = places.map { FilePath(items[$0].name).shellWord }.joined(separator: " ")
        return "drover run \(spec.givenName.shellWord) \(names) \(ChoiceWords.commandLine(choice))"
    }
}

extension FilePath {
    /// The path as a word of a shell's command line.
    fileprivate var shellWord: String {
        let text = string
        let plain = text.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0)
                || "/._-+,:@%=".utf8.contains($0)
        }
        return plain && !text.isEmpty && !text.hasPrefix("-")
            ? text : "'" + text.replacing("'", with: #"'\''"#) + "'"
    }
}
