// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

// Targets stand in one straight line: each imports only what comes before it here.
let package = Package(
    name: "drover",
    products: [.executable(name: "drover", targets: ["drover"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        .systemLibrary(
            name: "CXXHash", pkgConfig: "libxxhash", providers: [.apt(["libxxhash-dev"])]),
        .systemLibrary(name: "CLZ4", pkgConfig: "liblz4", providers: [.apt(["liblz4-dev"])]),
        .target(name: "CLinux"),
        .target(name: "ImageFormats", swiftSettings: settings),
        .target(
            name: "DiskImages",
            dependencies: ["ImageFormats", "CLinux", "CXXHash", .product(name: "SystemPackage", package: "swift-system")],
            swiftSettings: settings),
        .target(
            name: "TransportArchive", dependencies: ["DiskImages", "ImageFormats", "CLZ4", "CXXHash"], swiftSettings: settings),
        .target(
            name: "Migration", dependencies: ["TransportArchive", "DiskImages", "ImageFormats", "CLinux", "Yams"], swiftSettings: settings),
        .executableTarget(
            name: "drover",
            dependencies: [
                "Migration", "TransportArchive", "DiskImages", "ImageFormats", "CLinux",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: settings),
        .target(
            name: "TestSupport", dependencies: ["ImageFormats", "DiskImages", .product(name: "SystemPackage", package: "swift-system")],
            path: "Tests/TestSupport", swiftSettings: settings),
        .testTarget(name: "ImageFormatsTests", dependencies: ["ImageFormats", "TestSupport"], swiftSettings: settings),
        .testTarget(name: "DiskImagesTests", dependencies: ["DiskImages", "TestSupport"], swiftSettings: settings),
        .testTarget(
            name: "TransportArchiveTests", dependencies: ["TransportArchive", "DiskImages", "TestSupport"], swiftSettings: settings),
        .testTarget(name: "MigrationTests", dependencies: ["Migration", "DiskImages", "TestSupport"], swiftSettings: settings),
        .testTarget(
            name: "DroverTests",
            dependencies: [
                "drover", "DiskImages", "Migration", "TestSupport", .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: settings),
        // The fuzzer's targets without the fuzzer, which is a package of its own.
        .testTarget(
            name: "FuzzTests",
            dependencies: [
                "Migration", "TransportArchive", "DiskImages", "ImageFormats", .product(name: "SystemPackage", package: "swift-system"),
            ],
            path: "Tests/Fuzz/Targets", swiftSettings: settings),
    ],
    swiftLanguageModes: [.v6]
)
