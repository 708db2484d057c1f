"""What is asked of the servers. One entry is one row of the report."""

import dataclasses

KIB, MIB = 1024, 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Workload:
    name: str
    sentence: str
    kind: str  # "hit", "miss" (stored), "pass" (never stored), "idle"
    size: int  # bytes of content per answer
    connections: int
    seconds: float = 3.0  # of one round; the quick run takes a third
    requests: int = 0  # a round of a fixed number of requests instead: bounds what misses write
    objects: int = 1  # hits: how many different ones, asked for in random order
    tls: bool = False  # TLS 1.3 with the client, the same cipher for all
    fresh: bool = False  # a connection, and a handshake, for each request
    unit: str = "request"  # what CPU time is divided by: "request" or "GiB"

    @property
    def path(self):
        prefix = "/no-store" if self.kind == "pass" else ""
        return f"{prefix}/{self.size}/{self.name}-"


ALL = [
    Workload("hit-1k", "1 KiB hits", "hit", KIB, 64),
    Workload("hit-64k", "64 KiB hits", "hit", 64 * KIB, 64),
    Workload("hit-10m", "10 MiB hits", "hit", 10 * MIB, 8, unit="GiB"),
    Workload("hit-many", "20,000 objects of 4 KiB, random order", "hit", 4 * KIB, 64, objects=20_000),
    Workload("hit-1500", "1 KiB hits, 1,500 connections", "hit", KIB, 1500),
    Workload("miss-4k", "4 KiB misses, stored", "miss", 4 * KIB, 32, requests=30_000),
    Workload("miss-256k", "256 KiB misses, stored", "miss", 256 * KIB, 32, requests=2_000),
    Workload("pass-4k", "4 KiB, never stored", "pass", 4 * KIB, 32),
    Workload("idle", "10,000 idle connections", "idle", KIB, 10_000),
    Workload("tls-1k", "1 KiB hits over TLS", "hit", KIB, 64, tls=True),
    Workload("tls-10m", "10 MiB hits over TLS", "hit", 10 * MIB, 8, tls=True, unit="GiB"),
    Workload("tls-new", "a TLS handshake and a 1 KiB hit", "hit", KIB, 16, tls=True, fresh=True),
    Workload("tls-idle", "5,000 idle TLS connections", "idle", KIB, 5_000, tls=True),
]
