internal import SystemPackage

@testable internal import Migration
@testable internal import PipelineFiles

/// The input is a pipeline file.
enum PipelineTarget {
    static func run(_ bytes: [UInt8]) throws {
        guard bytes.count <= PipelineText.longest else { return }
        let spec: PipelineSpec? = try accepted {
            try PipelineSpec(parsing: bytes, file: "/srv/fleet/pipeline.yaml")
        }
        guard let spec else { return }
        try Finding.unless(
            !spec.sources.isEmpty && spec.directory.isAbsolute, "a pipeline without sources is taken")
        try Finding.unless(spec.target.directory.isAbsolute, "a target's directory is relative")
    }
}
