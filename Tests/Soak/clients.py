"""The soak's clients: each visit picks a kind of traffic, and says what was wrong if anything was.

Every answer is compared byte for byte. An answer that is cut must look cut: less than the promised length,
or no last chunk. Half of the visits use kept connections.
"""

import asyncio
import random
import socket
import zlib

from content import Checker, etag_of, size_of

# How many visits of a hundred.
MIX = {
    "small": 34, "large": 4, "miss": 12, "chunked": 6, "close": 3, "short": 8, "vary": 4, "relay": 5,
    "private": 2, "slow": 1, "cut": 2, "reset": 2, "range": 4, "conditional": 4, "head": 2,
    "pipeline": 2, "tunnel": 2, "upload": 1, "leave": 4, "crawl": 1,
}
LANGUAGES = ("de", "en", "fr")


class Wrong(Exception):
    """An answer was not what it should have been."""


class Cut(Exception):
    """The connection ended inside an answer."""


class Connection:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.is_reusable = True

    @classmethod
    async def open(cls, port, receive_buffer=None):
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return cls(*await asyncio.open_connection(sock=sock, limit=64 << 10))

    def close(self):
        self.writer.close()

    def send(self, method, target, fields=(), content=b""):
        lines = ["%s %s HTTP/1.1" % (method, target), "Host: origin"]
        lines += ["%s: %s" % field for field in fields]
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + content)

    async def head(self):
        try:
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Cut("before the head") from error
        fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        if fields.get("connection", "").lower() == "close":
            self.is_reusable = False
        return int(lines[0].split(" ")[1]), fields

    async def content(self, fields, take, pause=0.0):
        """Hands the content to `take` piece by piece; raises `Cut` where it breaks off."""
        try:
            if "chunked" in fields.get("transfer-encoding", ""):
                while count := int(await self.reader.readuntil(b"\r\n"), 16):
                    await self._pass(count, take, pause)
                    await self.reader.readexactly(2)
                await self.reader.readexactly(2)
            elif "content-length" in fields:
                await self._pass(int(fields["content-length"]), take, pause)
            else:
                self.is_reusable = False
                while data := await self.reader.read(64 << 10):
                    take(data)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Cut("in the content") from error

    async def _pass(self, count, take, pause):
        while count:
            data = await self.reader.read(min(count, 64 << 10))
            if not data:
                raise Cut("in the content")
            take(data)
            count -= len(data)
            if pause:
                await asyncio.sleep(pause)


class Clients:
    def __init__(self, proxy_port, origin_port, seed):
        self.proxy_port, self.origin_port = proxy_port, origin_port
        self.random = random.Random(seed)
        self.counts = dict.fromkeys(MIX, 0)
        self.wrong = []
        self.cuts_seen = 0
        self.bytes = 0
        self._unique = 0
        self._idle = []
        self._kinds, self._weights = list(MIX), list(MIX.values())

    async def visit(self):
        kind = self.random.choices(self._kinds, self._weights)[0]
        self.counts[kind] += 1
        try:
            special = getattr(self, "_" + kind, None)
            await asyncio.wait_for(special() if special else self._plain(kind), 120)
        except Wrong as error:
            self.wrong.append("%s: %s" % (kind, error))
        except (Cut, ConnectionError, OSError) as error:
            self.wrong.append("%s: cut, though nothing was wrong with the origin: %s" % (kind, error))
        except asyncio.TimeoutError:
            self.wrong.append("%s: no end of it within two minutes" % kind)

    # What is asked for

    def _path(self, kind):
        if kind in ("small", "short", "vary"):
            number = self.random.randrange(400)
            return "/%s/%d/%d" % (kind, 200 + number * 37, number)
        if kind == "large":
            number = self.random.randrange(12)
            return "/large/%d/%d" % (200_000 + number * 150_000, number)
        self._unique += 1
        largest = {"slow": 60_000, "cut": 300_000, "reset": 300_000}.get(kind, 200_000)
        return "/%s/%d/%d" % (kind, self.random.randrange(1, largest), self._unique)

    def _target(self, path):
        return "http://127.0.0.1:%d%s" % (self.origin_port, path)

    async def _connection(self):
        while self._idle and self.random.random() < 0.7:
            connection = self._idle.pop(self.random.randrange(len(self._idle)))
            if not connection.reader.at_eof():
                return connection
            connection.close()
        return await Connection.open(self.proxy_port)

    def _done(self, connection):
        if connection.is_reusable and len(self._idle) < 40:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self):
        for connection in self._idle:
            connection.close()
        self._idle = []

    # The kinds

    async def _fetch(self, connection, path, fields=(), source=None, pause=0.0):
        connection.send("GET", self._target(path), fields)
        await self._expect(connection, path, source, pause)

    async def _expect(self, connection, path, source=None, pause=0.0):
        status, answered = await connection.head()
        if status != 200:
            raise Wrong("%s: status %d (%s)" % (path, status, answered.get("proxy-status", "")))
        checker = Checker(source or path)
        await connection.content(answered, checker.take, pause)
        self.bytes += checker.at
        if not checker.is_right:
            raise Wrong("%s: wrong bytes" % path)
        if checker.at != size_of(path):
            raise Wrong("%s: %d bytes that pass for whole" % (path, checker.at))

    async def _plain(self, kind):
        connection = await self._connection()
        await self._fetch(connection, self._path(kind))
        self._done(connection)

    async def _vary(self):
        connection, path = await self._connection(), self._path("vary")
        language = self.random.choice(LANGUAGES)
        await self._fetch(connection, path, [("Accept-Language", language)], path + language)
        self._done(connection)

    async def _broken(self, kind):
        connection, path = await self._connection(), self._path(kind)
        connection.send("GET", self._target(path))
        checker = Checker(path)
        try:
            status, fields = await connection.head()
            await connection.content(fields, checker.take)
        except Cut:
            self.cuts_seen += 1
            if not checker.is_right:
                raise Wrong("%s: wrong bytes before the cut" % path)
            connection.close()
            return
        if status < 500 and checker.at:
            raise Wrong("%s: %d bytes of a cut answer pass for whole" % (path, checker.at))
        self._done(connection)

    async def _cut(self):
        await self._broken("cut")

    async def _reset(self):
        await self._broken("reset")

    async def _range(self):
        connection, path = await self._connection(), self._path(self.random.choice(("small", "large")))
        size = size_of(path)
        first = self.random.randrange(size)
        last = self.random.randrange(first, min(size, first + 100_000))
        connection.send("GET", self._target(path), [("Range", "bytes=%d-%d" % (first, last))])
        status, fields = await connection.head()
        checker = Checker(path, first if status == 206 else 0)
        await connection.content(fields, checker.take)
        if status not in (200, 206) or not checker.is_right:
            raise Wrong("%s: status %d, bytes right: %s" % (path, status, checker.is_right))
        if checker.at != (last + 1 if status == 206 else size):
            raise Wrong("%s: range %d-%d ended at %d" % (path, first, last, checker.at))
        self._done(connection)

    async def _conditional(self):
        connection, path = await self._connection(), self._path("small")
        connection.send("GET", self._target(path), [("If-None-Match", etag_of(path))])
        status, fields = await connection.head()
        if status != 304:
            raise Wrong("%s: status %d for a condition that holds" % (path, status))
        self._done(connection)

    async def _head(self):
        connection, path = await self._connection(), self._path("small")
        connection.send("HEAD", self._target(path))
        status, fields = await connection.head()
        if status != 200 or fields.get("content-length", str(size_of(path))) != str(size_of(path)):
            raise Wrong("%s: HEAD says %d, %s" % (path, status, fields.get("content-length")))
        self._done(connection)

    async def _pipeline(self):
        connection = await self._connection()
        paths = [self._path(self.random.choice(("small", "miss"))) for _ in range(8)]
        for path in paths:
            connection.send("GET", self._target(path))
        for path in paths:
            await self._expect(connection, path)
        self._done(connection)

    async def _tunnel(self):
        connection, path = await Connection.open(self.proxy_port), self._path("relay")
        connection.send("CONNECT", "127.0.0.1:%d" % self.origin_port)
        status, _ = await connection.head()
        if status != 200:
            raise Wrong("tunnel: status %d" % status)
        connection.send("GET", path)
        await self._expect(connection, path)
        connection.close()

    async def _upload(self):
        connection = await self._connection()
        data = self.random.randbytes(self.random.randrange(1, 200_000))
        connection.send("POST", self._target("/upload/0/%d" % len(data)),
                        [("Content-Length", len(data))], data)
        status, fields = await connection.head()
        answer = bytearray()
        await connection.content(fields, answer.extend)
        if bytes(answer) != b"%d %08x" % (len(data), zlib.crc32(data)):
            raise Wrong("upload: %r" % bytes(answer))
        self._done(connection)

    async def _leave(self):
        """Goes away in the middle, politely or not."""
        connection = await Connection.open(self.proxy_port)
        path = self._path(self.random.choice(("large", "miss", "slow", "relay")))
        connection.send("GET", self._target(path))
        if self.random.random() < 0.7:
            await connection.reader.read(self.random.randrange(1, 20_000))
        if self.random.random() < 0.5:
            connection.writer.transport.abort()
        connection.close()

    async def _crawl(self):
        """Reads slowly through a small window."""
        connection = await Connection.open(self.proxy_port, receive_buffer=8192)
        await self._fetch(connection, self._path("large"), pause=0.05)
        connection.close()
