/// The name that somebody meant.
package enum NearestKey {
    /// The one of `known` that `key` is a slip away from, or nil. Capitals do not count, a letter
    /// in three may be wrong, missing or swapped.
    package static func of(_ key: String, in known: [String]) -> String? {
        guard key.utf8.count <= 40 else { return nil }
        let candidates = known.map {
            (name: $0, distance: distance(Array(key.lowercased().unicodeScalars), Array($0.unicodeScalars)))
        }
        return candidates.filter { $0.distance <= max(1, $0.name.count / 3) }.min {
            $0.distance < $1.distance
        }?.name
    }

    /// How many scalars have to be put in, taken out, replaced, or swapped with their neighbour to
    /// make one out of the other.
    private static func distance(_ one: [Unicode.Scalar], _ other: [Unicode.Scalar]) -> Int {
        var rows = [Array(0...other.count)]
        for row in one.indices {
            var next = [row + 1]
            for column in other.indices {
                let isSame = one[row] == other[column]
                var cost = min(
                    rows[row][column] + (isSame ? 0 : 1), rows[row][column + 1] + 1, next[column] + 1)
                if row > 0, column > 0, one[row] == other[column - 1], one[row - 1] == other[column] {
                    cost = min(cost, rows[row - 1][column - 1] + 1)
                }
                next.append(cost)
            }
            rows.append(next)
        }
        return rows[one.count][other.count]
    }
}
