internal import Linux
internal import Migration

/// One part of a fleet, for one of several machines: the `index`-th of `count`, counted from 1.
package struct Shard: Equatable, Sendable {
    package let index: Int
    package let count: Int

    /// The variables in which Slurm tells a task of an array which one it is.
    private static let variables = [
        "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_STEP", "SLURM_ARRAY_TASK_COUNT",
    ]

    /// Throws `usage` where there is no such part.
    package init(index: Int, count: Int) throws {
        guard count >= 1, (1...count).contains(index) else {
            throw MigrationError(.usage, "shard \(index)/\(count): expected I/N, I from 1 to N")
        }
        self.index = index
        self.count = count
    }

    /// `I/N`.
    package init(text: String) throws {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let index = Shard.number(String(parts[0])),
            let count = Shard.number(String(parts[1]))
        else {
            throw MigrationError(.usage, "shard '\(text)': expected I/N, I from 1 to N")
        }
        try self.init(index: index, count: count)
    }

    /// The part of an array task, from its environment; nil outside of an array. Throws `usage`
    /// where only some of the variables are set, or where they do not name the tasks 1 to N in
    /// equal steps.
    package init?(environment: [String: String]) throws {
        let values = Shard.variables.map { environment[$0] }
        guard values.contains(where: { $0 != nil }) else { return nil }
        for (name, value) in zip(Shard.variables, values) where value == nil {
            throw MigrationError(
                .usage,
                "\(name) is not set, but others of a Slurm array task are (give \(.shard) I/N, or unset them all)"
            )
        }
        let numbers = try zip(Shard.variables, values).map { name, value in
            guard let number = value.flatMap(Shard.number) else {
                throw MigrationError(
                    .usage, "\(name) is '\(value ?? "")'; expected a number (give \(.shard) I/N)")
            }
            return number
        }
        let (id, first, step, count) = (numbers[0], numbers[1], numbers[2], numbers[3])
        guard step >= 1, id >= first, (id - first) % step == 0, (id - first) / step < count else {
            throw MigrationError(
                .usage,
                "SLURM_ARRAY_TASK_ID \(id) is none of \(count) tasks from \(first) in steps of \(step) (submit --array=1-N, or give \(.shard) I/N)"
            )
        }
        // Else the parts of the ids that are left out would be nobody's.
        if let last = environment["SLURM_ARRAY_TASK_MAX"].flatMap(Shard.number),
            last < first || (last - first) / step != count - 1
        {
            throw MigrationError(
                .usage,
                "SLURM_ARRAY_TASK_COUNT is \(count), and from \(first) to \(last) in steps of \(step) there are others (submit --array=1-N, or give \(.shard) I/N)"
            )
        }
        try self.init(index: (id - first) / step + 1, count: count)
    }

    /// Whether the item at `position` among all, counted from 0, belongs to this part.
    func contains(_ position: Int) -> Bool { position % count == index - 1 }

    /// A number as Slurm and people write it: digits, no more than an array has tasks.
    private static func number(_ text: String) -> Int? {
        guard !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(text),
            number <= 1 << 32
        else {
            return nil
        }
        return number
    }
}
