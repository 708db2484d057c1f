// swift-tools-version: 6.2

import PackageDescription

// A target is a layer; a lower one never imports a higher one (docs/architecture.md has the map).

let pure: [SwiftSetting] = [.strictMemorySafety()]

let package = Package(
  name: "holdfast",
  products: [
    .executable(name: "holdfast", targets: ["CLI"])
  ],
  dependencies: [
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
  ],
  targets: [
    .target(name: "CLinux"),
    .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .target(name: "Platform", dependencies: ["CLinux"]),
    .target(name: "Telemetry", swiftSettings: pure),
    .target(name: "HTTP", swiftSettings: pure),
    .target(name: "Caching", dependencies: ["HTTP"], swiftSettings: pure),
    .target(name: "IO", dependencies: ["Platform"]),
    .target(name: "CPacketSocket"),
    .target(name: "Packets", dependencies: ["CPacketSocket", "Platform"]),
    .target(name: "CKernelSensors"),
    .target(name: "KernelSensors", dependencies: ["CKernelSensors", "Platform"]),
    .target(name: "TLS", dependencies: ["Platform", "COpenSSL"]),
    .target(name: "ContentCoding", dependencies: ["CZlib"]),
    .target(name: "Forensics", dependencies: ["Platform", "Telemetry"]),
    .target(name: "Mirrors", dependencies: ["Caching", "HTTP"], swiftSettings: pure),
    .target(name: "Storage", dependencies: ["Platform", "HTTP", "Caching", "COpenSSL"]),
    .target(
      name: "Configuration",
      dependencies: [
        "Platform", "HTTP", "TLS", "COpenSSL", .product(name: "Yams", package: "Yams"),
      ]),
    .target(
      name: "Proxy",
      dependencies: [
        "Platform", "Telemetry", "HTTP", "Caching", "IO", "TLS", "Storage", "Mirrors", "Forensics",
        "ContentCoding", "Configuration", "Packets", "KernelSensors",
        .product(name: "Logging", package: "swift-log"),
      ]),
    // Machines, faults and stories; beside Configuration, and apart from the proxy, which it starts as a process.
    .target(name: "CLab"),
    .target(name: "Lab", dependencies: ["CLab", "Forensics", "Platform", "Telemetry"]),
    // What a host's rules do to untranslated segments: judged by reading them, and found out by trying.
    .target(name: "Doctor", dependencies: ["KernelSensors", "Platform"]),
    .target(name: "Probe", dependencies: ["Lab", "Platform"]),
    .executableTarget(
      name: "CLI",
      dependencies: [
        "Proxy", "Configuration", "TLS", "Storage", "Caching", "Telemetry", "HTTP", "Platform",
        "Forensics", "Lab", "Doctor", "Probe",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),

    // The random numbers of all tests.
    .target(name: "SeededRandom", path: "Tests/SeededRandom"),
    // What a fuzzer calls; the corpora beside it are replayed by the tests.
    .target(
      name: "FuzzEntries",
      dependencies: ["HTTP", "Caching", "IO", "Storage", "SeededRandom"],
      path: "Tests/Fuzz/Entries"),
    .testTarget(name: "FuzzTests", dependencies: ["FuzzEntries"]),
    // Scripted peers on real sockets, and a whole proxy to put between them.
    .target(
      name: "Support",
      dependencies: [
        "Proxy", "Configuration", "Storage", "IO", "TLS", "Platform", "CLinux", "Telemetry",
        "SeededRandom", .product(name: "Logging", package: "swift-log"),
      ], path: "Tests/Support"),

    // The other side of TLS connections, for what an ordinary one would not do. Links nothing of the program.
    .target(name: "TLSPeer", dependencies: ["COpenSSL"], path: "Tests/TLSPeer"),

    // A machine in memory for a whole proxy to run on, with model clients and origins. Optimised in debug
    // builds too, because it is run a hundred thousand times; its fibers are more than one access to an
    // object may know about, so that is not checked in it.
    .target(name: "CFibers", path: "Tests/CFibers"),
    .target(
      name: "Simulation",
      dependencies: [
        "CFibers", "CLinux", "Proxy", "Configuration", "HTTP", "IO", "Platform", "Storage",
        "Telemetry", "SeededRandom", .product(name: "Logging", package: "swift-log"),
      ], path: "Tests/Simulation",
      swiftSettings: [.unsafeFlags(["-O"], .when(configuration: .debug))]),
    .testTarget(
      name: "SimulationTests", dependencies: ["Simulation", "Platform"],
      path: "Tests/SimulationTests"),

    .testTarget(name: "PlatformTests", dependencies: ["Platform"]),
    // Hosts on one machine, for tests that need a network of their own.
    .target(name: "TestNetwork", dependencies: ["Packets", "Platform"], path: "Tests/TestNetwork"),
    .testTarget(
      name: "PacketsTests", dependencies: ["Packets", "Platform", "SeededRandom", "TestNetwork"]),
    .testTarget(
      name: "SensorTests",
      dependencies: [
        "Support", "TestNetwork", "Proxy", "Packets", "KernelSensors", "Configuration",
        "Forensics", "Platform", "Telemetry",
      ]),
    .testTarget(
      name: "KernelSensorsTests",
      dependencies: ["KernelSensors", "Platform", "SeededRandom", "TestNetwork"]),
    .testTarget(name: "HTTPTests", dependencies: ["HTTP", "FuzzEntries", "SeededRandom"]),
    .testTarget(name: "CachingTests", dependencies: ["Caching", "HTTP", "SeededRandom"]),
    .testTarget(
      name: "ForensicsTests", dependencies: ["Forensics", "Platform", "Telemetry", "SeededRandom"]),
    .testTarget(name: "MirrorsTests", dependencies: ["Mirrors", "Caching", "HTTP"]),
    .testTarget(name: "ContentCodingTests", dependencies: ["ContentCoding", "CZlib"]),
    .testTarget(name: "IOTests", dependencies: ["IO", "Platform", "SeededRandom"]),
    .testTarget(
      name: "StorageTests",
      dependencies: ["Storage", "Platform", "HTTP", "Caching", "FuzzEntries", "SeededRandom"]),
    .testTarget(
      name: "TLSTests",
      dependencies: ["TLS", "TLSPeer", "COpenSSL", "Platform", "SeededRandom", "Support"]),
    .testTarget(name: "TelemetryTests", dependencies: ["Telemetry"], swiftSettings: pure),
    .testTarget(
      name: "ConfigurationTests", dependencies: ["Configuration", "Platform", "HTTP", "TLS"]),
    .testTarget(
      name: "ProxyTests",
      dependencies: [
        "Proxy", "Configuration", "HTTP", "Caching", "IO", "Mirrors", "Platform", "Storage",
        "Telemetry", "SeededRandom",
        .product(name: "Logging", package: "swift-log"),
      ]),
    .testTarget(
      name: "WireTests",
      dependencies: [
        "Support", "TLSPeer", "COpenSSL", "CZlib", "Proxy", "Configuration", "Platform",
        "Telemetry",
        "Storage", "Forensics",
        "TLS",
      ]),
    .testTarget(
      name: "CLITests",
      dependencies: [
        "CLI", "Configuration", "Platform", "HTTP", "Caching", "Storage", "Proxy", "TLS",
        "Telemetry", "Forensics",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
    .testTarget(
      name: "DoctorTests", dependencies: ["CLI", "Doctor", "Probe", "Lab", "Platform"]),
    .testTarget(
      name: "LabTests", dependencies: ["CLI", "Lab", "Packets", "Platform", "Forensics"]),
    // Builds the images in docker/, runs them, and holds the manifests against their schemas.
    .testTarget(
      name: "ImageTests",
      dependencies: ["CLI", "Lab", "Platform", .product(name: "Yams", package: "Yams")]),
    // Starts the built `holdfast` as a process and links nothing of it but the starting of programs.
    .testTarget(
      name: "ProcessTests",
      dependencies: ["CLI", "Platform", "SeededRandom", "TLSPeer", "COpenSSL"]),
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
