internal import Glibc
package import SystemPackage

extension FilePath {
    /// The path from the root, without `.` and `..`; links are not resolved.
    package var absolute: FilePath {
        // A `..` behind a link leads elsewhere than it looks: the folder is resolved then.
        if components.contains(where: { $0.kind == .parentDirectory }), let last = lastComponent,
            last.kind == .regular,
            let folder = try? resolved(isRelative && components.count == 1 ? "." : removingLastComponent())
        {
            return folder.appending(last)
        }
        if isAbsolute { return lexicallyNormalized() }
        guard let folder = getcwd(nil, 0) else { return self }
        defer { free(folder) }
        return FilePath(platformString: folder).pushing(self).lexicallyNormalized()
    }
}
