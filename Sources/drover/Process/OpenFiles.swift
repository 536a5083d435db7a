internal import Glibc

/// A fleet may have more files than a process opens by default.
enum OpenFiles {
    /// `RLIMIT_NOFILE`: an enumeration in C, whose cases Swift's Glibc module does not show.
    private static let limitOfFiles = __rlimit_resource_t(7)

    /// Raises the limit as far as the system allows; where it cannot be raised, opening says so.
    static func allowMany() {
        var limit = rlimit()
        guard getrlimit(limitOfFiles, &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        _ = setrlimit(limitOfFiles, &limit)
    }
}
