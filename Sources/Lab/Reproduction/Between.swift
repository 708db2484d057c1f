// Who stands between the clients and the Service while the fault is played as load: nobody, Holdfast, or nginx.

import Foundation
import Glibc
import Platform

final class Between {
  private let holdfast: ProxyUnderTest?
  private let nginx: Child?

  init(_ way: Way, _ reproduction: Reproduction, _ network: Network, _ run: LabRun) throws {
    switch way {
    case .direct: (holdfast, nginx) = (nil, nil)
    case .holdfast:
      var options = ProxyOptions()
      options.readTimeout = "3s"
      holdfast = try ProxyUnderTest(
        program: reproduction.program, on: try network[.proxy], directory: run.directory,
        options: options, sensors: "sensors: auto")
      nginx = nil
    case .nginx:
      holdfast = nil
      nginx = try Self.startNginx(
        on: network, in: run.directory,
        at: Stage.address(network.topology.proxyAddress, Topology.proxyPort))
    }
  }

  /// - Returns: how many downloads it resumed; nil where nobody counts.
  func end() throws -> Int? {
    nginx?.signal(SIGKILL)
    nginx?.wait()
    guard let holdfast else { return nil }
    try holdfast.stop()
    return holdfast.records().count { $0.outcome == "resumed" }
  }

  private static func startNginx(
    on network: Network, in directory: String, at address: SocketAddress
  ) throws -> Child {
    guard Requirements.has("nginx") else {
      throw LabError("nginx is not installed: apt-get install nginx")
    }
    let configuration = """
      daemon off; master_process off; worker_processes 1; pid \(directory)/nginx.pid; error_log \(directory)/nginx.log;
      events { worker_connections 512; }
      http {
        access_log off;
        client_body_temp_path \(directory)/client; proxy_temp_path \(directory)/proxy;
        fastcgi_temp_path \(directory)/fastcgi; uwsgi_temp_path \(directory)/uwsgi; scgi_temp_path \(directory)/scgi;
        server {
          listen \(Topology.proxyPort);
          location / { proxy_pass http://\(Topology.serviceAddress); proxy_read_timeout 3s; }
        }
      }

      """
    let file = directory + "/nginx.conf"
    try LabRun.write(configuration, to: file)
    let host = try network[.proxy]
    let child = try host.spawn(["nginx", "-c", file, "-e", directory + "/nginx.log"])
    try patiently("waited for nginx") {
      guard !child.hasEnded else {
        let log = (try? String(contentsOfFile: directory + "/nginx.log", encoding: .utf8)) ?? ""
        throw LabError("nginx does not start: \(log.suffix(300))")
      }
      return (try? LabConnection.connect(from: host, to: address)) != nil
    }
    return child
  }
}
