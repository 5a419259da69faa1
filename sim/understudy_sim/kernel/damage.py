"""Damage to what a disk holds as synced: a flipped bit, a write that went elsewhere.  Never done unasked.

Not everything a medium can do wrong can be noticed with one copy of the data: whoever loses the very last write of a
file, or a part of it, finds a file that ends earlier, as after a power cut.  So what a misdirected write should have
written is lost only once something later in the same file is durable, and what it lands on never looks like nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from understudy_sim.kernel.choices import Stream, stable_seed
from understudy_sim.kernel.disk import Medium
from understudy_sim.kernel.inodes import SECTOR_BYTES, Inode, Write

BITS: Final = 8
# So many zeros in a row may be all of somebody's share of a sector.
ZEROS: Final = 32


@attrs.define
class Misdirected:
    """A write that goes elsewhere: it is awaited, then it *landed* over something, then it is *lost* at its place."""

    stream: Stream
    seen: tuple[Inode, int, bytes] | None = None  # the file, where it should have gone, and what was there before
    landed: bool = False
    lost: bool = False

    def commit(self, medium: Medium, inode: Inode, writes: Sequence[Write]) -> None:
        """*writes* become durable in *inode*: take the first there is, or see that something follows it."""
        for write in writes:
            if self.seen is None:
                if write.data is not None:
                    self._land(medium, inode, write)
            elif not self.lost and self.seen[0] is inode and write.data is not None and write.offset > self.seen[1]:
                self._lose(medium, inode)
                return

    def _land(self, medium: Medium, inode: Inode, write: Write) -> None:
        assert write.data is not None, "a write has data"
        before = bytes(inode.durable[write.offset : write.offset + len(write.data)])
        self.seen = (inode, write.offset, before.ljust(len(write.data), b"\0"))
        place = place_in(medium, self.stream)
        if place is None:
            return
        victim, sector = place
        at = sector * SECTOR_BYTES
        piece = write.data[: min(SECTOR_BYTES, len(victim.durable) - at)]
        if victim.durable[at : at + len(piece)] != piece and not looks_like_nothing(piece):
            medium.damages += 1
            victim.durable[at : at + len(piece)] = piece
            victim.visible[at : at + len(piece)] = piece
            self.landed = True

    def _lose(self, medium: Medium, inode: Inode) -> None:
        assert self.seen is not None, "it has gone elsewhere"
        _, offset, before = self.seen
        # Blocks for what comes later are written ahead: what has come to lie there stays.
        upto = min(one.offset for one in inode.unsynced if one.data is not None and one.offset > offset)
        before = before[: upto - offset]
        medium.damages += 1
        for content in (inode.durable, inode.visible):
            if len(content) >= offset + len(before):
                content[offset : offset + len(before)] = before
        self.lost = True


def misdirected(detail: int) -> Misdirected:
    """The next write that is synced will go elsewhere, as *detail* has it."""
    return Misdirected(Stream(stable_seed("disk.misdirected", detail)))


def place_in(medium: Medium, stream: Stream) -> tuple[Inode, int] | None:
    """A sector of what is durable on *medium*: a file that is not empty, and the number of the sector."""
    files = [inode for inode in medium.durable_files.values() if inode.durable]
    if not files:
        return None
    inode = files[stream.integer(0, len(files) - 1)]
    return inode, stream.integer(0, (len(inode.durable) - 1) // SECTOR_BYTES)


def looks_like_nothing(piece: bytes) -> bool:
    """Whether some reader could take a part of *piece* for what was never written."""
    return piece[0] == 0 or piece[-1] == 0 or bytes(ZEROS) in piece


def rot(medium: Medium, detail: int) -> bool:
    """Flip one bit of what is durable.  False when nothing is."""
    stream = Stream(stable_seed("disk.rot", detail))
    place = place_in(medium, stream)
    if place is None:
        return False
    inode, sector = place
    first = sector * SECTOR_BYTES
    at = stream.integer(first, min(first + SECTOR_BYTES, len(inode.durable)) - 1)
    medium.damages += 1
    flipped = inode.durable[at] ^ 1 << stream.integer(0, BITS - 1)
    inode.durable[at] = flipped
    if at < len(inode.visible):
        inode.visible[at] = flipped
    return True
