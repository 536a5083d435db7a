/// Rows of text in columns that line up; the last column is not filled.
struct TextTable {
    /// Where a column's text stands.
    enum Side {
        case left, right
    }

    private let sides: [Side]
    private var rows: [[String]]

    /// `columns` are the titles, each with the side its texts stand on.
    init(_ columns: [(title: String, side: Side)]) {
        sides = columns.map(\.side)
        rows = [columns.map(\.title)]
    }

    /// Adds a row, one text for each column; what would break the line is escaped.
    mutating func add(_ row: [String]) { rows.append(row.map { ErrorLine.escaped($0) }) }

    var lines: [String] {
        let widths = sides.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            let cells = row.indices.map { column in
                let filling = String(repeating: " ", count: widths[column] - row[column].count)
                if sides[column] == .right { return filling + row[column] }
                return column == row.count - 1 ? row[column] : row[column] + filling
            }
            return cells.joined(separator: "  ")
        }
    }
}
