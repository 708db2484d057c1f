// The name of a request field, as lists in the configuration hold it.

import HTTP

/// A field name; compared without case.
package struct RequestFieldName: Sendable, Equatable {
  package var name: String

  package init(reading text: String) throws(Misreading) {
    var probe = FieldSection()
    guard probe.append(named: text, "") else {
      throw Misreading("is not a field name; write one like X-Forwarded-For")
    }
    if HopByHop.isHopByHop(FieldName(text)) {
      throw Misreading("is about one connection and is never passed on")
    }
    name = text
  }

  package var text: String { name }
}
