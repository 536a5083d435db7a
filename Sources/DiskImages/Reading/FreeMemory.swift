internal import Glibc
internal import Linux
internal import SystemPackage

/// Memory that nobody uses now, not even as page cache.
package enum FreeMemory {
    /// Bytes; of what the system has, and the control groups of this process. 0 where nothing says.
    package static var bytes: UInt64 {
        let free = sysconf(CInt(_SC_AVPHYS_PAGES)) &* sysconf(CInt(_SC_PAGESIZE))
        return groups.reduce(UInt64(max(0, free))) { min($0, room(in: $1)) }
    }

    /// The folders of the control groups that limit this process, the outermost last; both versions
    /// (cgroups(7)).
    private static var groups: [String] {
        guard let lines = try? SystemText.lines(of: "/proc/self/cgroup") else { return [] }
        return lines.flatMap { line -> [String] in
            // `4:memory:/path`, or `0::/path`.
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3, parts[1].isEmpty || parts[1] == "memory" else { return [] }
            var (path, folders) = (parts[2], [String]())
            while true {
                folders.append("/sys/fs/cgroup" + (parts[1].isEmpty ? "" : "/memory") + path)
                guard let slash = path.lastIndex(of: "/"), path.count > 1 else { return folders }
                path = slash == path.startIndex ? "/" : path[..<slash]
            }
        }
    }

    private static func room(in group: String) -> UInt64 {
        for (limit, usage) in [
            ("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ] {
            guard let most = number("\(group)/\(limit)"), let used = number("\(group)/\(usage)") else {
                continue
            }
            return most > used ? most - used : 0
        }
        return .max
    }

    /// nil where there is no such file, or no number in it, as where there is no limit.
    private static func number(_ path: String) -> UInt64? {
        (try? SystemText.lines(of: FilePath(path)))?.first.flatMap { UInt64($0) }
    }
}
