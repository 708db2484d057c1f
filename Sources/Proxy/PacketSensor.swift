// The packet sensor as the proxy uses it: what is recorded, whose connections are watched over, and who is told when our
// own kernel resets an origin that it should not have.
//
// Connections with origins are recorded in full, those with clients by their beginning and end: what a client is sent
// from the store is most of the traffic, and a look at each of its packets would be most of the cost.

import Configuration
import Forensics
import IO
import Packets
import Platform
import Synchronization

final class PacketSensor: Sendable {
  /// Who is to be told of a stray.
  private struct Watcher: Sendable {
    let mailbox: Mailbox
    let id: ObjectID
    /// Of its socket.
    let cookie: UInt64?
  }

  private struct State {
    var nextToken: UInt64 = 1
    var watchers: [UInt64: Watcher] = [:]
    var strays = StrayMemory()
  }

  let index: FlowIndex
  let filter: PacketFilter
  private let detector: StrayDetector
  private let recorder: PacketRecorder
  private let state: Watchers

  /// Shared with the detector's closure.
  private final class Watchers: Sendable {
    let state = Mutex(State())

    func found(_ stray: Stray) {
      // A port alone says too little to give a download up.
      if case .portAlone = stray.certainty { return }
      let watcher = state.withLock { state -> Watcher? in
        // Of a connection that has ended meanwhile nobody will ask, but of the next one with its ports.
        guard let watcher = state.watchers[stray.token] else { return nil }
        state.strays.add(stray, cookie: watcher.cookie)
        return watcher
      }
      guard let watcher else { return }
      watcher.mailbox.post(
        Letter(
          to: watcher.id, subject: LetterSubject.stray.rawValue, payload: StrayNews(stray)))
    }
  }

  /// - Parameter listeners: the proxy's own ports, where clients are.
  /// - Returns: nil where it is not wanted, or not possible, which `states` tells then.
  static func start(
    _ wanted: PacketSensing, listeners: [UInt16], _ states: inout [SensorState]
  ) -> PacketSensor? {
    guard wanted != .off else {
      states.append(
        SensorState(name: "packets", isActive: false, text: "not looked at (resets.sensors: off)"))
      return nil
    }
    let filter = PacketFilter(
      mode: wanted == .lite ? .lite : .full, briefPorts: wanted == .auto ? listeners : [])
    do throws(PacketSensorError) {
      let sensor = try PacketSensor(filter)
      let what =
        switch wanted {
        case .lite: "those that begin or end a connection"
        case .full: "the headers of all"
        default:
          "the headers of all with origins, and with clients of those that begin or end a connection"
        }
      states.append(SensorState(name: "packets", isActive: true, text: what))
      return sensor
    } catch {
      states.append(SensorState(name: "packets", isActive: false, text: "\(error)"))
      return nil
    }
  }

  private init(_ filter: PacketFilter) throws(PacketSensorError) {
    self.filter = filter
    let watchers = Watchers()
    let index = FlowIndex(mode: filter.mode)
    let detector = StrayDetector(index: index) { watchers.found($0) }
    recorder = try PacketRecorder.start(
      PacketRecorder.Options(filter: filter), index: index, detector: detector)
    self.index = index
    self.detector = detector
    state = watchers
  }

  func stop() { recorder.stop() }

  /// Waits until all that was captured before can be asked for.
  func settle() { recorder.settle() }

  // MARK: Watching over connections

  /// Begins to watch over a connection to an origin.
  /// - Returns: what ends it; nil when the socket has no address any more.
  func watch(_ descriptor: Int32, peer: SocketAddress, for object: LoopObject) -> PacketWatch? {
    guard let local = try? Socket.localAddress(descriptor) else { return nil }
    let watcher = Watcher(
      mailbox: object.loop.mailbox, id: object.id, cookie: Socket.cookie(descriptor))
    let token = state.state.withLock { state in
      defer { state.nextToken &+= 1 }
      state.watchers[state.nextToken] = watcher
      return state.nextToken
    }
    detector.register(local: local, peer: peer, token: token)
    return PacketWatch(token: token, local: local)
  }

  func unwatch(_ watch: PacketWatch) {
    detector.unregister(local: watch.local, token: watch.token)
    state.state.withLock { $0.watchers[watch.token] = nil }
  }

  // MARK: Asking

  /// - Parameter time: of connections between the same ends the last is meant that had begun by then; nanoseconds since
  ///   1970.
  func flow(local: SocketAddress, peer: SocketAddress, at time: Int64) -> FlowPackets? {
    index.packets(local: local, peer: peer, at: time)
  }

  func interfaceName(_ index: Int32) -> String? { recorder.interfaceName(index) }

  var statistics: PacketRecorder.Statistics { recorder.statistics }

  /// Why it does not record any more, in words; nil while it does.
  var ending: String? {
    switch recorder.end {
    case nil: nil
    case .stopped?: "stopped"
    case .failed(let errno)?: "the socket it reads from failed (\(errno)); a restart begins anew"
    }
  }

  /// The stray that meant the connection that an ending is about, if there was one.
  func stray(_ evidence: Evidence, _ life: ConnectionLife) -> Stray? {
    guard let local = evidence.socket.local, let peer = evidence.socket.peer else { return nil }
    return state.state.withLock {
      $0.strays.stray(
        local: local, peer: peer, cookie: evidence.socket.cookie, in: life.beginning...)
    }
  }

  /// How many packets were lost while a connection lived.
  func lost(_ life: ConnectionLife) -> UInt64 { recorder.lost(in: life.times(from: life.began)) }
}

/// A connection that is watched over.
struct PacketWatch: Sendable {
  fileprivate let token: UInt64
  fileprivate let local: SocketAddress
}

/// A letter's content: our kernel has reset somebody who may be the origin behind a connection.
final class StrayNews: Sendable {
  let origin: SocketAddress
  /// Where the other side of whatever was reset thought us to be.
  private let sequence: SequenceNumber?
  private let initialSequence: SequenceNumber?

  init(_ stray: Stray) {
    origin = stray.origin
    sequence = stray.header.tcp?.sequence
    initialSequence = stray.initialSequence
  }

  /// Whether it is about this socket, by what the socket itself says: it must be at this very place. Anybody can draw a
  /// reset of ours with a packet to some port, and no connection ends on a stranger's word.
  func isOf(_ descriptor: Int32) -> Bool {
    isOf(SocketPlace(Socket.information(descriptor).flatMap(TCPInfo.init), ours: initialSequence))
  }

  func isOf(_ place: SocketPlace) -> Bool { sequence.flatMap(place.has) ?? false }
}
