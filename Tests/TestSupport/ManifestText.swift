package import SystemPackage

/// A manifest's lines, as they stand in the file.
package enum ManifestText {
    package static let path: FilePath = "/images/out.manifest"

    /// The job of a disk of `length` bytes in segments of `segment`.
    package static func job(length: UInt64 = 8 << 20, segment: UInt64 = 1 << 20, version: String = "1")
        -> String
    {
        #"{"consistent":true,"manifest":\#(version),"options":{"format":"raw","layout":"raw","segment":\#(segment),"zeroRun":4096},"#
            + #""record":"job","sources":[{"inode":7,"layout":"raw","mtime":"1700000000.000000000","path":"/images/base","size":\#(length)}],"#
            + #""target":{"length":\#(length),"path":"/images/out","size":\#(length)}}"#
    }

    /// A segment; data gets the digest `fill` over and over.
    package static func segment(
        _ start: String, _ count: String, _ kind: String = "data", fill: Character = "a"
    ) -> String {
        let digit: Character = kind == "zero" ? "0" : kind == "backing" ? "f" : fill
        return
            #"{"count":\#(count),"digest":"\#(String(repeating: digit, count: 32))","kind":"\#(kind)","record":"segment","start":\#(start)}"#
    }

    package static func segment(_ start: Int, _ count: Int, _ kind: String = "data", fill: Character = "a")
        -> String
    {
        segment("\(start)", "\(count)", kind, fill: fill)
    }

    package static let completion =
        #"{"digest":"0123456789abcdef0123456789abcdef","mtime":"1700000000.000000001","record":"complete","size":8388608}"#

    /// The lines of a move that is whole.
    package static let whole = [
        job(), segment(0, 2048), segment(4096, 2048, fill: "b"), segment(2048, 2048, "zero"),
        segment(6144, 10240, "zero"), completion,
    ]

    package static func bytes(_ lines: [String]) -> [UInt8] { Array(lines.map { $0 + "\n" }.joined().utf8) }

    /// The bytes of a manifest, as if nothing had said when.
    package static func withoutTimes(of path: FilePath) throws -> [UInt8] {
        Array(
            String(decoding: try FileChanges.bytes(of: path), as: UTF8.self).replacing(
                /,"time":[0-9.]+/, with: ""
            ).utf8)
    }
}
