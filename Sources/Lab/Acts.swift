// What many stories begin and end with: a download that is under way and goes on, a connection that is kept and answered
// in the place of.

extension Stage {
  /// A client asks for 200 kB, and has 50 kB of them.
  /// - Returns: the client, and the origin's end.
  func downloadBegins(
    _ path: String, at listener: LabListener, _ words: String
  ) throws -> (client: LabConnection, origin: LabConnection) {
    step(words)
    let client = try get(path)
    let origin = try listener.accept()
    _ = try origin.readRequest()
    try origin.answerHead(200_000)
    try origin.sendContent(0..<50_000)
    try client.readHead()
    check("50 kB arrive", try client.readContent(0..<50_000))
    return (client, origin)
  }

  /// The origin is asked for what is left of that, on another connection, and the client has it all.
  func downloadGoesOn(_ client: LabConnection, at listener: LabListener, _ words: String) throws {
    let origin = try listener.accept()
    let offset = try origin.readRequest()
    step("\(words), from byte \(offset)")
    try origin.answerHead(200_000, from: offset)
    try origin.sendContent(offset..<200_000)
    check("the client has all bytes, and they are right", try client.readContent(50_000..<200_000))
  }

  /// A client asks for something small, and the connection to the origin stays.
  /// - Returns: the client, and the origin's end.
  func keepsConnection(at listener: LabListener, _ words: String) throws -> (
    client: LabConnection, origin: LabConnection
  ) {
    step(words)
    let client = try get("/first")
    let origin = try listener.accept()
    _ = try origin.readRequest()
    try origin.answerHead(100)
    try origin.sendContent(0..<100)
    try client.readHead()
    _ = try client.readContent(0..<100)
    return (client, origin)
  }

  /// The origin is asked on another connection for what the client waits for, and answers.
  func answers(_ client: LabConnection, at listener: LabListener, _ words: String) throws {
    let origin = try listener.accept()
    _ = try origin.readRequest()
    step(words)
    try origin.answerHead(100)
    try origin.sendContent(0..<100)
    try client.readHead()
    check("the client has its answer", try client.readContent(0..<100))
  }
}
