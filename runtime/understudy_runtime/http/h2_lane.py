"""What waits to be sent on one HTTP/2 stream, and how far the stream is.  Sans-IO; `h2_wire.py` moves it."""

from __future__ import annotations

from collections import deque


class Lane:
    """What waits to be sent on one stream."""

    __slots__ = ("ending", "first_at", "owed", "parts", "peer_ended", "queued", "stream", "we_ended")

    def __init__(self, stream: int) -> None:
        self.stream = stream
        self.parts: deque[bytes] = deque()
        self.first_at = 0
        self.queued = 0
        self.owed = 0
        self.ending = False
        self.we_ended = False
        self.peer_ended = False

    def put(self, data: bytes) -> None:
        if data:
            self.parts.append(data)
            self.queued += len(data)

    def take(self, length: int) -> bytes:
        """The next *length* bytes, or all."""
        parts = self.parts
        if len(parts) == 1 and not self.first_at and self.queued <= length:
            self.queued = 0
            return parts.popleft()
        taken: list[bytes] = []
        left = min(length, self.queued)
        self.queued -= left
        while left:
            first = parts[0]
            piece = first[self.first_at : self.first_at + left]
            taken.append(piece)
            left -= len(piece)
            self.first_at += len(piece)
            if self.first_at == len(first):
                parts.popleft()
                self.first_at = 0
        return b"".join(taken)
