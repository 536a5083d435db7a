internal import DiskImages
internal import Linux

/// Kind and text of the error that `body` throws, as the command line says it.
package func refusal(_ body: () throws -> Void) -> String {
    do {
        try body()
        return "no error"
    } catch let error as DiskImageError {
        return "\(error.kind): \(error.line)"
    } catch {
        return (error as? any Advising)?.line ?? "\(error)"
    }
}
