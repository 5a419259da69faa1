"""A codec of journal values: what stands between the serdes and the journal, to encrypt or to compress.

It sees the bytes of arguments, results, state, runs, awakeables, promises and signals, never failures. What it makes
of the same bytes may differ from one time to the next (a nonce): with a codec, a replay compares the steps without
their values.
"""

from __future__ import annotations

from abc import ABC, abstractmethod


class JournalValueCodec(ABC):
    """How the bytes of a serde are kept in the journal, and read back from it."""

    @abstractmethod
    def encode(self, buf: bytes) -> bytes:
        """The bytes to keep for *buf*.  What it raises fails the attempt, which is tried again."""

    @abstractmethod
    async def decode(self, buf: bytes) -> bytes:
        """The bytes `encode` was given.  It may wait, for a key that is kept elsewhere say; it must use no context.

        What it raises fails the attempt, which is tried again; for the body of a call it fails the invocation for good,
        unless it is a RetryableError.
        """


__all__ = ["JournalValueCodec"]
