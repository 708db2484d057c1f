"""What the soak's origin says, and what its clients therefore expect: content follows from the path.

A path is /KIND/SIZE/NAME. The bytes are a stretch of one fixed random pattern, beginning at a place that
the path determines, so any piece of any answer can be checked without keeping answers.
"""

import random
import zlib

PATTERN_SIZE = 1 << 20
_pattern = random.Random(1).randbytes(PATTERN_SIZE)
PATTERN = _pattern + _pattern  # so that a stretch of up to PATTERN_SIZE never wraps


def size_of(path):
    """How long the content of a path is."""
    return int(path.split("/")[2])


def etag_of(path):
    return '"%08x"' % zlib.crc32(path.encode())


def piece(path, start, count):
    """Bytes `start ..< start + count` of a path's content; at most PATTERN_SIZE of them."""
    place = (zlib.crc32(path.encode()) + start) % PATTERN_SIZE
    return PATTERN[place : place + count]


class Checker:
    """Compares content as it comes with what the path's content is."""

    def __init__(self, path, start=0):
        self.path, self.at, self.is_right = path, start, True

    def take(self, data):
        for begin in range(0, len(data), PATTERN_SIZE):
            part = data[begin : begin + PATTERN_SIZE]
            if piece(self.path, self.at, len(part)) != part:
                self.is_right = False
            self.at += len(part)
