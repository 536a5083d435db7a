// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

// Compiling tests well takes longer than running them.
let testSettings = settings + [.unsafeFlags(["-Onone"], .when(configuration: .release))]

let systemPackage = Target.Dependency.product(name: "SystemPackage", package: "swift-system")

// Make says which version this is (.ci/version).
let commit = Context.gitInformation.map { "~git.\($0.currentCommit.prefix(7))" } ?? ""
let version = Context.environment["DROVER_VERSION"] ?? "0.1.0\(commit)"

// Targets stand in one straight line: each may import only what comes before it here.
let linux: [Target.Dependency] = ["CLinux", systemPackage]
let diskImages: [Target.Dependency] = linux + ["Linux", "JSON", "ImageFormats"]
let transportArchive: [Target.Dependency] = diskImages + ["DiskImages"]
let manifests: [Target.Dependency] = diskImages + ["DiskImages"]
let pipelineFiles: [Target.Dependency] = transportArchive + ["TransportArchive"]
let serving: [Target.Dependency] = pipelineFiles + ["PipelineFiles"]
let stages: [Target.Dependency] = linux + ["Linux"]
let migration: [Target.Dependency] = manifests + ["TransportArchive", "Manifests", "Stages"]
let fleets: [Target.Dependency] = migration + ["PipelineFiles", "Migration"]
let drover: [Target.Dependency] = fleets + ["Fleets", "Serving"]

let package = Package(
    name: "drover",
    products: [
        .executable(name: "drover", targets: ["drover"]),
        // Make links it, with Swift's runtime in it, to what nbdkit loads.
        .library(name: "NBDPlugin", type: .static, targets: ["NBDPlugin"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    ],
    targets: [
        .systemLibrary(name: "CXXHash", pkgConfig: "libxxhash", providers: [.apt(["libxxhash-dev"])]),
        .systemLibrary(name: "CLZ4", pkgConfig: "liblz4", providers: [.apt(["liblz4-dev"])]),
        .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        .target(name: "CLinux"),
        // Compiled with libcurl's header; the library is loaded where it is needed.
        .target(name: "CCurl"),
        .target(name: "CRelease", cSettings: [.define("DROVER_VERSION", to: "\"\(version)\"")]),
        .target(name: "Linux", dependencies: linux + ["CRelease"], swiftSettings: settings),
        .target(name: "JSON", swiftSettings: settings),
        .target(name: "ImageFormats", swiftSettings: settings),
        .target(
            name: "DiskImages", dependencies: diskImages + ["CCurl", "CXXHash", "CZlib", "CZstd"],
            swiftSettings: settings),
        .target(
            name: "TransportArchive", dependencies: transportArchive + ["CLZ4", "CXXHash", "CZstd"],
            swiftSettings: settings),
        .target(name: "Manifests", dependencies: manifests, swiftSettings: settings),
        .target(name: "PipelineFiles", dependencies: pipelineFiles + ["CYAML"], swiftSettings: settings),
        .target(name: "Serving", dependencies: serving, swiftSettings: settings),
        .target(name: "CNBDKit"),
        .target(name: "NBDPlugin", dependencies: serving + ["Serving", "CNBDKit"], swiftSettings: settings),
        .target(name: "Stages", dependencies: stages, swiftSettings: settings),
        .target(name: "Migration", dependencies: migration, swiftSettings: settings),
        .target(name: "Fleets", dependencies: fleets, swiftSettings: settings),
        .executableTarget(
            name: "drover",
            dependencies: drover + [.product(name: "ArgumentParser", package: "swift-argument-parser")],
            swiftSettings: settings),
        .target(
            name: "TestSupport", dependencies: pipelineFiles + ["Manifests", "PipelineFiles"],
            path: "Tests/TestSupport",
            swiftSettings: settings),
        .testTarget(name: "JSONTests", dependencies: ["JSON", "TestSupport"], swiftSettings: testSettings),
        .testTarget(
            name: "ImageFormatsTests", dependencies: ["ImageFormats", "TestSupport"],
            swiftSettings: testSettings),
        .testTarget(
            name: "DiskImagesTests", dependencies: diskImages + ["DiskImages", "TestSupport"],
            swiftSettings: testSettings),
        .testTarget(
            name: "TransportArchiveTests",
            dependencies: transportArchive + ["TransportArchive", "TestSupport"], swiftSettings: testSettings),
        .testTarget(
            name: "ManifestsTests", dependencies: manifests + ["Manifests", "TestSupport"],
            swiftSettings: testSettings),
        .testTarget(
            name: "PipelineFilesTests", dependencies: pipelineFiles + ["PipelineFiles", "TestSupport"],
            swiftSettings: testSettings),
        .testTarget(
            name: "ServingTests", dependencies: serving + ["Serving", "TestSupport"],
            swiftSettings: testSettings),
        .testTarget(
            name: "StagesTests", dependencies: stages + ["Stages", "TestSupport"], swiftSettings: testSettings
        ),
        .testTarget(
            name: "MigrationTests", dependencies: migration + ["Migration", "TestSupport"],
            swiftSettings: testSettings),
        .testTarget(
            name: "FleetsTests", dependencies: fleets + ["Fleets", "TestSupport"], swiftSettings: testSettings
        ),
        .testTarget(
            name: "DroverTests", dependencies: drover + ["drover", "TestSupport"], swiftSettings: testSettings
        ),
        // A format that is added from outside, as a source and as a target.
        .testTarget(
            name: "ToyFormatTests", dependencies: migration + ["Migration", "TestSupport"],
            swiftSettings: testSettings),
        // The fuzzer's targets without the fuzzer, which is a package of its own.
        .testTarget(
            name: "FuzzTests", dependencies: fleets + ["Fleets"], path: "Tests/Fuzz/Targets",
            swiftSettings: testSettings),
    ],
    swiftLanguageModes: [.v6]
)
