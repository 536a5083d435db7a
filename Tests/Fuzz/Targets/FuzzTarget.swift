/// A part of Drover that is given bytes of somebody else's making.
package enum FuzzTarget: String, CaseIterable, Sendable {
    case header, chain, qcow2, archive, unpack, manifest, pipeline, words

    /// Hands `bytes` to it. What it refuses is well; what does not add up is thrown as a `Finding`,
    /// and what ends the process is one too.
    package func run(_ bytes: [UInt8]) throws {
        switch self {
        case .header: try HeaderTarget.run(bytes)
        case .chain: try ChainTarget.run(bytes)
        case .qcow2: try ClusterTarget.run(bytes)
        case .archive: try ArchiveTarget.run(bytes)
        case .unpack: try UnpackTarget.run(bytes)
        case .manifest: try ManifestTarget.run(bytes)
        case .pipeline: try PipelineTarget.run(bytes)
        case .words: try WordsTarget.run(bytes)
        }
    }
}

/// Something that Drover says of an input and that cannot be.
package struct Finding: Error, CustomStringConvertible {
    package let description: String

    /// Throws unless `isSo`.
    static func unless(_ isSo: Bool, _ text: @autoclosure () -> String) throws {
        if !isSo { throw Finding(description: text()) }
    }
}

/// The result of `body`, nil where it refuses its input; a finding is thrown on.
func accepted<T>(_ body: () throws -> T) throws -> T? {
    do {
        return try body()
    } catch let finding as Finding {
        throw finding
    } catch {
        _ = "\(error)"
        return nil
    }
}
