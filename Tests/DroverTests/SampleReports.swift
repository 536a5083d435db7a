import DiskImages
import Linux
import SystemPackage
import TestSupport

@testable import drover

/// Reports to draw pages from, the same at every run.
enum SampleReports {
    static let day = 1_795_300_000

    /// Every state and role, a savings bar with all its parts, a pause in the throughput.
    static var mixed: FleetReport {
        var generator = SplitMix64(seed: 7)
        let states: [FleetReport.State] = [
            .done, .done, .done, .running(percent: 43), .waiting, .waiting,
            .failed(
                reason:
                    "/srv/uml/guests/mail-01.cow: bitmap at offset 4096 goes past the file's end; expected 8192 bytes (is it truncated?)"
            ),
            .stale(reason: "the base debian-12.img changed on 2026-11-20 08:12:44 UTC"),
            .changed(reason: "modified since it was completed; --force replaces it"), .done,
            .failed(
                reason:
                    "/srv/uml/guests/build-02.cow: locked for writing by process 4711 (stop the guest or give --force-share)"
            ),
        ]
        let names = [
            "base/debian-12.img", "web-01.cow", "web-02.cow", "db-01.cow", "db-02.cow", "cache-01.cow",
            "mail-01.cow", "proxy-01.cow",
            "login-01.cow", "staging/web-01-before-upgrade.cow", "build-02.cow",
        ]
        let images = zip(names, states).enumerated().map { number, pair in
            image(
                pair.0, pair.1, isBase: number == 0, depth: number == 9 ? 4 : 2, cells: 256, using: &generator
            )
        }
        var report = FleetReport(
            title: "fleet.yaml", createdAt: day,
            operation: "convert to uml-v3 overlays of one converted base", directory: "/srv/migrated",
            images: images)
        let gib: UInt64 = 1 << 30
        report.savings = .init(
            guest: 88 * gib, flattened: 31 * gib, sharing: 17 * gib, compression: 3 * gib, result: 9 * gib)
        report.throughput = samples(count: 2000, pauseAfter: 1300, using: &generator)
        return report
    }

    /// Names and reasons that try to become markup, or that are no text.
    static var hostile: FleetReport {
        let names: [FilePath] = [
            "<script>alert(1)</script>.cow", "\"onmouseover=\"alert(1).cow", "'&amp;\u{202e}woc.exe",
            FilePath(bytes: [0x66, 0xff, 0xfe, 0x0a, 0x1b, 0x5b]),
            "</style></title><img src=http://example.com/x>",
        ]
        let images = names.map { name in
            var picture = BlockPicture(guestLength: 1 << 20, layerCount: 2, cells: 64)
            picture.add(.data(depth: 1), 0..<1 << 19)
            return FleetReport.Image(
                name: name, source: name, target: name, role: .image,
                state: .failed(reason: "\(name.printed): <b>no</b> \"image\" & 'more'\u{0}\n"),
                guestLength: 1 << 20, sourceBytes: 0, targetBytes: nil, chain: [name, name], map: picture,
                seconds: nil)
        }
        return FleetReport(
            title: names[0], createdAt: day, operation: "<i>convert</i>", directory: names[4], images: images)
    }

    static func large(_ count: Int) -> FleetReport {
        var generator = SplitMix64(seed: 11)
        let cells = FleetReport.cellsPerMap(imageCount: count)
        let images = (0..<count).map { number in
            image(
                "guests/rack-\(number / 40)/vm-\(number).cow",
                number % 50 == 7 ? .failed(reason: "cannot be read: Input/output error") : .done,
                isBase: false, depth: 2, cells: cells, using: &generator)
        }
        var report = FleetReport(
            title: "thousand.yaml", createdAt: day, operation: "pack", directory: "/srv/archive",
            images: images)
        report.throughput = samples(count: 5000, pauseAfter: nil, using: &generator)
        return report
    }

    static var empty: FleetReport {
        FleetReport(title: "empty.yaml", createdAt: 0, operation: "verify", directory: ".", images: [])
    }

    private static func image(
        _ name: String, _ state: FleetReport.State, isBase: Bool, depth: Int, cells: Int,
        using generator: inout SplitMix64
    ) -> FleetReport.Image {
        let layers = isBase ? 1 : depth
        let length: UInt64 = 8 << 30
        var picture = BlockPicture(guestLength: length, layerCount: layers, cells: cells)
        var end: UInt64 = 0
        var own: UInt64 = 0
        let step = length / 512
        var isFull = true
        while end < length {
            let next = min(length, end + step * UInt64.random(in: 1...60, using: &generator))
            let bottom: BlockPicture.Source = isFull ? .data(depth: layers - 1) : .hole
            isFull.toggle()
            while end < next {
                let stop = min(next, end + step)
                let changed =
                    isBase
                    ? 0
                    : UInt64.random(in: 0...10, using: &generator) < 3
                        ? UInt64.random(in: 0...step / 512, using: &generator) * 512 : 0
                let depth = layers > 1 ? Int.random(in: 0...layers - 2, using: &generator) : 0
                let source: BlockPicture.Source = changed % 9216 == 0 ? .zeros : .data(depth: depth)
                picture.add(changed == 0 ? bottom : source, end..<min(stop, end + changed))
                picture.add(bottom, min(stop, end + changed)..<stop)
                own += depth == 0 ? changed : 0
                end = stop
            }
        }
        let chain =
            layers == 1
            ? ["base/debian-12.img"]
            : ["guests/\(name)"]
                + (1..<layers).map { $0 == layers - 1 ? "base/debian-12.img" : "guests/step-\($0).cow" }
        let isDone = state == .done
        return FleetReport.Image(
            name: FilePath(name), source: FilePath("/srv/uml/\(name)"),
            target: FilePath("/srv/migrated/\(name)"),
            role: isBase ? .base : .image,
            state: state, guestLength: length, sourceBytes: isBase ? picture.total(of: .data(depth: 0)) : own,
            targetBytes: isDone ? (isBase ? picture.total(of: .data(depth: 0)) : own) / 10 * 9 : nil,
            chain: chain.map { FilePath($0) }, map: picture,
            seconds: isDone ? Double.random(in: 4...400, using: &generator) : nil)
    }

    private static func samples(count: Int, pauseAfter: Int?, using generator: inout SplitMix64)
        -> [FleetReport.Sample]
    {
        var time = Double(day - 40_000)
        return (0..<count).map { number in
            time += number == pauseAfter ? 30_000 : Double.random(in: 0.1...0.5, using: &generator)
            let slow: UInt64 = number % 700 < 180 ? 3 : 1
            return FleetReport.Sample(time: time, bytes: (64 << 20) / slow)
        }
    }
}
