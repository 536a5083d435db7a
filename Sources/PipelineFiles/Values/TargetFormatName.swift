internal import DiskImages

/// What a user may ask for as a target's format: a name of the list of formats.
package struct TargetFormatName: Hashable, Sendable {
    package let name: String

    package static let raw = TargetFormatName(of: .raw)
    package static let cow = TargetFormatName(of: .cow)
    package static let qcow2 = TargetFormatName(of: .qcow2)

    private init(of format: ImageFormat) { name = format.name }

    package init?(name: String) {
        guard FormatList.targetNames.contains(name) else { return nil }
        self.name = name
    }
}
