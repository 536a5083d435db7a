internal import DiskImages

/// Kind and text of the error that `body` throws.
package func refusal(_ body: () throws -> Void) -> String {
    do {
        try body()
        return "no error"
    } catch let error as DiskImageError {
        return "\(error.kind): \(error)"
    } catch {
        return "\(error)"
    }
}
