internal import Glibc
package import Linux

/// When a file's times tell whether it changed: file systems stamp changes by a clock that stands
/// still for a moment, so that two changes can have one time. What was read while that moment
/// lasted proves nothing of what was written in it.
extension ImageFile {
    /// The longest time that stamps with fractions of a second stand still: the kernel's tick (4 or
    /// 10 ms), twice.
    private static let granule = Duration.milliseconds(20)
    /// The same where stamps have none.
    private static let coarseGranule = Duration.seconds(2)

    /// How long after it was opened reading had to begin for its times to count; nil where they
    /// count as they are. A time in the future is not waited for.
    package var unsettled: Duration? {
        let granule = ImageFile.granule(of: identity)
        let ages = [identity.mtime, identity.ctime].map { opened.duration(since: $0) }.filter {
            $0 >= .zero && $0 < granule
        }
        return ages.min().map { granule - $0 }
    }

    /// The longest time that stamps like these stand still.
    fileprivate static func granule(of identity: FileIdentity) -> Duration {
        identity.mtime.nanoseconds == 0 && identity.ctime.nanoseconds == 0 ? coarseGranule : granule
    }

    /// The time that tells of every change of the file's content since it was opened; nil where
    /// nothing tells of them: on file systems that keep no such time, where the file was changed in
    /// the very moment, and where a time of it is still to come.
    package func provingTime() throws -> Timestamp? {
        guard unsettled == nil, max(identity.mtime, identity.ctime) < opened, identity.isRegular else {
            return nil
        }
        return try ImageFile.timeless.contains(fileSystemType()) ? nil : identity.ctime
    }

    /// File systems that keep no ctime of their own, or another host's: FUSE, CIFS, SMB, SMB2, 9p,
    /// vfat, exfat, NFS, Coda, AFS, Ceph (statfs(2)).
    private static let timeless: Set<UInt32> = [
        0x6573_5546, 0xff53_4d42, 0x517b, 0xfe53_4d42, 0x0102_1997, 0x4d44, 0x2011_bab0, 0x6969, 0x7375_7245,
        0x5346_414f, 0x00c3_6400,
    ]
}

extension FileIdentity {
    /// Whether the last change, which was none of the content, lies so long behind the last write
    /// that another write in its very moment would show in mtime.
    package var wasWrittenBeforeItChanged: Bool {
        ctime.duration(since: mtime) >= ImageFile.granule(of: self)
    }
}

extension Timestamp {
    /// Negative where this lies before `earlier`. A time that no clock has is as good as any other
    /// that is far away.
    fileprivate func duration(since earlier: Timestamp) -> Duration {
        let far = 1 << 40
        let seconds = min(
            max(
                seconds.subtractingReportingOverflow(earlier.seconds).overflow
                    ? far : seconds - earlier.seconds, -far), far)
        return .seconds(seconds) + .nanoseconds(nanoseconds - earlier.nanoseconds)
    }
}
