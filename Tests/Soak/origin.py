"""The soak's origin: answers by the path's kind, some of them badly, as origins do.

small, large, miss   fresh for an hour, with Content-Length and ETag
chunked              the same with the chunked coding
close                the same, ended by the end of the connection
short                fresh for a second, so that it is validated again and again (304)
vary                 differs by Accept-Language
relay, private       never to be stored
slow                 trickles
cut, reset           promises more than it sends, then FIN or RST
upload               answers with length and checksum of what it was sent
"""

import asyncio
import email.utils
import socket
import struct
import time
import zlib

from content import PATTERN_SIZE, etag_of, piece, size_of


class Origin:
    def __init__(self):
        self.requests = 0
        self.port = 0
        self._date = (0, "")

    async def start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    def _date_line(self):
        now = int(time.time())
        if now != self._date[0]:
            self._date = (now, "Date: %s\r\n" % email.utils.formatdate(now, usegmt=True))
        return self._date[1]

    async def _serve(self, reader, writer):
        try:
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        lines = head.decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ")
        fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        self.requests += 1
        upload = await self._read_content(reader, fields)
        kind, size = path.split("/")[1], size_of(path)
        extra = {
            "short": "Cache-Control: max-age=1\r\n",
            "relay": "Cache-Control: no-store\r\n",
            "private": "Cache-Control: private, max-age=3600\r\n",
            "upload": "Cache-Control: no-store\r\n",
            "vary": "Cache-Control: max-age=3600\r\nVary: Accept-Language\r\n",
        }.get(kind, "Cache-Control: max-age=3600\r\n")
        if kind == "upload":
            body = b"%d %08x" % (len(upload), zlib.crc32(upload))
            writer.write(self._head(200, extra + "Content-Length: %d\r\n" % len(body)) + body)
            await writer.drain()
            return True
        # What is sent for a language is the content of another path.
        source = path + fields.get("accept-language", "") if kind == "vary" else path
        tag = etag_of(source)
        extra += "ETag: %s\r\n" % tag
        if fields.get("if-none-match") == tag:
            writer.write(self._head(304, extra))
            await writer.drain()
            return True
        if kind == "chunked":
            extra += "Transfer-Encoding: chunked\r\n"
        elif kind == "close":
            extra += "Connection: close\r\n"
        else:
            extra += "Content-Length: %d\r\n" % size
        writer.write(self._head(200, extra))
        if method == "HEAD":
            await writer.drain()
            return kind != "close"
        await self._content(writer, kind, source, size)
        if kind == "reset":
            self._reset(writer)
        return kind not in ("close", "cut", "reset")

    def _head(self, status, extra):
        reason = {200: "OK", 304: "Not Modified"}[status]
        return ("HTTP/1.1 %d %s\r\n%s%s\r\n" % (status, reason, self._date_line(), extra)).encode()

    async def _read_content(self, reader, fields):
        if "content-length" in fields:
            return await reader.readexactly(int(fields["content-length"]))
        data = b""
        while "transfer-encoding" in fields:
            count = int(await reader.readline(), 16)
            data += await reader.readexactly(count)
            await reader.readline()
            if count == 0:
                break
        return data

    async def _content(self, writer, kind, source, size):
        end = size // 2 if kind in ("cut", "reset") else size
        step = {"slow": max(1, size // 20), "chunked": 50000}.get(kind, PATTERN_SIZE // 4)
        for start in range(0, end, step):
            data = piece(source, start, min(step, end - start))
            writer.write(b"%x\r\n%s\r\n" % (len(data), data) if kind == "chunked" else data)
            await writer.drain()
            if kind == "slow":
                await asyncio.sleep(0.1)
        if kind == "chunked":
            writer.write(b"0\r\n\r\n")
            await writer.drain()

    @staticmethod
    def _reset(writer):
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
