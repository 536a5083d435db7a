// swift-tools-version: 6.2
import PackageDescription

// Drover's own sources again, instrumented: `fuzz` builds them with libFuzzer and AddressSanitizer.
// The name is that of the main package, whose `package` declarations these targets share. A package
// of its own, because one that is built for libFuzzer cannot be tested by `swift test`.
let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

let linux: [Target.Dependency] = ["CLinux", .product(name: "SystemPackage", package: "swift-system")]
let images: [Target.Dependency] = linux + ["Linux", "JSON", "ImageFormats", "DiskImages"]

let package = Package(
    name: "drover",
    dependencies: [
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1")
    ],
    targets: [
        .systemLibrary(name: "CXXHash", path: "Drover/CXXHash", pkgConfig: "libxxhash"),
        .systemLibrary(name: "CZlib", path: "Drover/CZlib", pkgConfig: "zlib"),
        .systemLibrary(name: "CZstd", path: "Drover/CZstd", pkgConfig: "libzstd"),
        .systemLibrary(name: "CLZ4", path: "Drover/CLZ4", pkgConfig: "liblz4"),
        .systemLibrary(name: "CYAML", path: "Drover/CYAML", pkgConfig: "yaml-0.1"),
        .target(name: "CLinux", path: "Drover/CLinux"),
        .target(name: "CCurl", path: "Drover/CCurl"),
        .target(
            name: "CRelease", path: "Drover/CRelease",
            cSettings: [.define("DROVER_VERSION", to: "\"fuzzed\"")]),
        .target(
            name: "Linux", dependencies: linux + ["CRelease"], path: "Drover/Linux", swiftSettings: settings),
        .target(name: "JSON", path: "Drover/JSON", swiftSettings: settings),
        .target(name: "ImageFormats", path: "Drover/ImageFormats", swiftSettings: settings),
        .target(
            name: "DiskImages",
            dependencies: linux + ["Linux", "JSON", "ImageFormats", "CCurl", "CXXHash", "CZlib", "CZstd"],
            path: "Drover/DiskImages",
            swiftSettings: settings),
        .target(
            name: "TransportArchive", dependencies: images + ["CLZ4", "CXXHash", "CZstd"],
            path: "Drover/TransportArchive", swiftSettings: settings),
        .target(name: "Manifests", dependencies: images, path: "Drover/Manifests", swiftSettings: settings),
        .target(
            name: "PipelineFiles", dependencies: images + ["TransportArchive", "CYAML"],
            path: "Drover/PipelineFiles",
            swiftSettings: settings),
        .target(
            name: "Stages", dependencies: linux + ["Linux"], path: "Drover/Stages", swiftSettings: settings),
        .target(
            name: "Migration", dependencies: images + ["TransportArchive", "Manifests", "Stages"],
            path: "Drover/Migration",
            swiftSettings: settings),
        .target(
            name: "Fleets",
            dependencies: images + ["TransportArchive", "Manifests", "Stages", "PipelineFiles", "Migration"],
            path: "Drover/Fleets", swiftSettings: settings),
        .target(name: "CFuzzer", path: "CFuzzer"),
        .target(
            name: "FuzzTargets", dependencies: ["Fleets"], path: "Targets", exclude: ["Replay"],
            swiftSettings: settings),
        .executableTarget(
            name: "drover-fuzz", dependencies: ["FuzzTargets", "CFuzzer"], path: "Driver",
            swiftSettings: settings),
    ],
    swiftLanguageModes: [.v6]
)
