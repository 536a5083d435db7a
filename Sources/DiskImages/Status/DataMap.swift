/// Where a file has data and where it has holes, asked of the file system once for each stretch.
///
/// Keep one for every walk through a file: it remembers the stretch it is in.
struct DataMap: Sendable {
    private let file: ImageFile
    private var start: UInt64 = 0
    private var end: UInt64 = 0
    private var isData = false

    init(_ file: ImageFile) { self.file = file }

    /// Whether there is data at `offset`, and where that stretch ends. Past the file's end is a
    /// hole without end.
    mutating func stretch(at offset: UInt64) throws -> (isData: Bool, end: UInt64) {
        if offset < start || offset >= end {
            start = offset
            if offset >= file.length {
                (isData, end) = (false, .max)
            } else if let data = try file.nextData(from: offset) {
                isData = data <= offset
                end = isData ? max(try file.nextHole(from: offset), offset + 1) : data
            } else {
                (isData, end) = (false, .max)
            }
        }
        return (isData, end)
    }
}
