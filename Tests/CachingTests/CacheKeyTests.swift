import Testing
@testable import Caching
