// How the descriptors that the system grants (`ulimit -n`) are shared out, so that a crowd of clients meets a clear 503
// and not a process that can open nothing any more: neither the origin a client asks for, nor a file to keep its
// answer in, nor even the connection on which to say so.
//
//   | the program's own | files of the store | at origins, and growing files | clients, and who is turned away |

struct DescriptorBudget: Sendable, Equatable {
  /// Connections of clients, over all workers.
  let clients: Int
  /// Connections that are turned away or cut and still take what was sent, per worker.
  let farewells: Int

  /// Nobody said how many there are.
  static let unlimited = DescriptorBudget(clients: .max, farewells: Farewell.limit)

  private init(clients: Int, farewells: Int) {
    self.clients = clients
    self.farewells = farewells
  }

  /// - Parameters:
  ///   - limit: of the process, 0 if unknown.
  ///   - own: what is open already once all listeners accept.
  ///   - atOrigins: the most connections to origins that the configuration allows, idle ones included.
  init(limit: UInt64, own: Int, workers: Int, atOrigins: Int) {
    guard limit > 0 else {
      self = .unlimited
      return
    }
    let total = Int(clamping: limit)
    // Segments of the log and directories come and go on the pool's threads.
    let free = max(0, total - own - Self.openBlobs(limit: limit) - 16)
    // For each origin a file that grows; but never more than half, or nobody could come at all.
    let beyond = min(free / 2, min(atOrigins, total) * 2)
    farewells = min(Farewell.limit, (free - beyond) / 8 / max(1, workers))
    clients = max(1, free - beyond - farewells * workers)
  }

  /// Files of the store that are kept open for the next hit.
  static func openBlobs(limit: UInt64) -> Int {
    limit == 0 ? 1024 : min(1024, max(1, Int(clamping: limit) / 4))
  }
}
