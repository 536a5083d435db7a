/// A value of a pipeline file with its line: what is left of YAML once everything a pipeline does
/// not use was refused.
struct PipelineNode: Equatable, Sendable {
    /// A key of a mapping with what it stands for.
    struct Entry: Equatable, Sendable {
        let key: String
        let line: Int
        let value: PipelineNode
    }

    enum Content: Equatable, Sendable {
        /// `isPlain`: without quotes, so that it may be a number, a flag or nothing.
        case text(String, isPlain: Bool)
        case list([PipelineNode])
        /// In the order of the file; keys are unique, but for those refused.
        case mapping([Entry])
        /// Something that was reported already.
        case refused
    }

    let line: Int
    let content: Content

    /// Nothing stands where a value should: `jobs:`, `jobs: ~`.
    var isNothing: Bool {
        guard case .text(let text, isPlain: true) = content else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(text)
    }

    /// What it is, as the beginning of a complaint: `is a list`.
    var fact: String {
        switch content {
        case .text(let text, _): isNothing ? "is nothing" : "is \(text.quoted)"
        case .list: "is a list"
        case .mapping: "is a mapping"
        case .refused: "is refused"
        }
    }
}
