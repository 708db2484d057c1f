// The manifests together, on machines of the lab that are joined as in a cluster: the probe finds the bug through a Service,
// and each cure that the manifests bring ends it for as long as it is there.

import Foundation
import Glibc
import Lab
import Testing

@Suite(
  "Images: in a cluster", .serialized, .timeLimit(.minutes(30)),
  .enabled(
    if: Workshop.obstacle == nil && Manifests.obstacle == nil,
    Comment(rawValue: Workshop.obstacle ?? Manifests.obstacle ?? "")))
struct ClusterTests {
  /// A client's pod, a node that translates, and a pod behind the Service, with the probe's server in it.
  private final class Cluster {
    let run: LabRun
    let network: Network
    let image: Image
    private let server: Container
    private let client: Manifests.PodContainer

    init(_ image: Image) throws {
      self.image = image
      run = try LabRun()
      network = try Network(.behindService, of: run)
      let containers = try Manifests.objects("reproduce").flatMap(\.containers)
      client = try #require(containers.first { $0.name == "probe" })
      let manifest = try #require(containers.first { $0.name == "probe-server" })
      // The lab's Service leads to another port.
      server = try Container(
        image,
        manifest.words(entrypoint: image.settings.entrypoint).map {
          $0.replacing("0.0.0.0:3130", with: "10.8.3.9:8080")
        }, terms: manifest.terms(), on: network[.origin], log: "\(run.directory)/server")
      try server.wait(for: "listening on")
    }

    deinit {
      server.signal(SIGKILL)
      _ = server.end()
      run.remove()
    }

    /// What the job ends with: 3 is exposed.
    func probe() throws -> (code: Int32, output: String) {
      let words = client.words(entrypoint: image.settings.entrypoint).map {
        $0 == "probe:80" ? "10.96.0.10:80" : $0
      }
      let job = try Container(
        image, words, terms: client.terms(), on: network[.proxy], log: "\(run.directory)/client")
      return (job.end(), job.output)
    }

    /// A pod of a manifest.
    func start(
      _ manifest: Manifests.PodContainer, on role: Role, standIns: [String: String] = [:]
    ) throws -> Container {
      try Container(
        image, manifest.words(entrypoint: image.settings.entrypoint),
        terms: manifest.terms(standIns: standIns), on: network[role],
        log: "\(run.directory)/\(manifest.name)")
    }
  }

  @Test(
    "the probe says exposed, not with the DaemonSet's cure on the node, and exposed again when that is deleted",
    arguments: ["conntrack-fix", "conntrack-fix-drop-invalid"])
  func node(folder: String) async throws {
    let cluster = try Cluster(await Workshop.images().lab)
    let before = try cluster.probe()
    #expect(before.code == 3, "\(before.output)")
    let manifest = try #require(try Manifests.objects(folder).flatMap(\.containers).first)
    try Shell.run("mkdir '\(cluster.run.directory)/records'")
    let pod = try cluster.start(
      manifest, on: .node,
      standIns: ["/run/holdfast-doctor": "\(cluster.run.directory)/records"])
    try pod.wait(for: "kept until SIGTERM")
    let cured = try cluster.probe()
    #expect(cured.code == 0, "\(cured.output)")
    pod.signal(SIGTERM)
    #expect(pod.end() == 0, "\(pod.output)")
    let after = try cluster.probe()
    #expect(after.code == 3, "\(after.output)")
  }

  @Test("the probe says exposed, and not in a pod with the shield's init container")
  func shield() async throws {
    let cluster = try Cluster(await Workshop.images().lab)
    #expect(try cluster.probe().code == 3)
    let manifest = try #require(
      try Manifests.objects("shield").flatMap(\.containers).first { $0.isFirst })
    let pod = try cluster.start(manifest, on: .proxy)
    #expect(pod.end() == 0, "\(pod.output)")
    let shielded = try cluster.probe()
    #expect(shielded.code == 0, "\(shielded.output)")
  }
}
