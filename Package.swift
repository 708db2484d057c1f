// swift-tools-version: 6.2

import PackageDescription

// A target is a layer; a lower one never imports a higher one (docs/architecture.md has the map).

let pure: [SwiftSetting] = [.strictMemorySafety()]

let package = Package(
  name: "holdfast",
  products: [
    .executable(name: "holdfast", targets: ["CLI"])
  ],
  targets: [
    .target(name: "CLinux"),
    .systemLibrary(name: "COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
    .target(name: "Platform", dependencies: ["CLinux"]),
    .target(name: "Telemetry", swiftSettings: pure),
    .target(name: "HTTP", swiftSettings: pure),
    .target(name: "Caching", dependencies: ["HTTP"], swiftSettings: pure),
    .target(name: "IO", dependencies: ["Platform"]),
    .target(name: "Storage", dependencies: ["Platform", "HTTP", "Caching", "COpenSSL"]),
    .target(
      name: "Proxy",
      dependencies: ["Platform", "Telemetry", "HTTP", "Caching", "IO", "Storage"]),
    .executableTarget(name: "CLI", dependencies: ["Proxy"]),

    .target(name: "FuzzEntries", dependencies: ["HTTP"], path: "Tests/Fuzz/Entries"),
    .testTarget(name: "FuzzTests", dependencies: ["FuzzEntries"]),
    .testTarget(name: "PlatformTests", dependencies: ["Platform"]),
    .testTarget(name: "HTTPTests", dependencies: ["HTTP"]),
    .testTarget(name: "CachingTests", dependencies: ["Caching", "HTTP"]),
    .testTarget(name: "IOTests", dependencies: ["IO", "Platform"]),
    .testTarget(name: "StorageTests", dependencies: ["Storage", "Platform", "HTTP", "Caching"]),
  ]
)

// The fuzzer links only with libFuzzer's runtime (Tests/Fuzz/explore), so nothing else builds it.
if Context.environment["HOLDFAST_FUZZ"] != nil {
  package.targets += [
    .target(name: "CLibFuzzer", path: "Tests/Fuzz/CLibFuzzer"),
    .executableTarget(
      name: "Fuzz", dependencies: ["FuzzEntries", "CLibFuzzer"], path: "Tests/Fuzz/Explorer"),
  ]
}
