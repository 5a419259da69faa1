"""Files of a simulated disk: what processes see, what the medium has, the writes between, and what a power cut does."""

from __future__ import annotations

from typing import Final

import attrs

from understudy_sim.kernel.choices import Stream

SECTOR_BYTES: Final = 512


@attrs.frozen
class Fate:
    """What a power cut does to unsynced writes: *mode* 0 keeps all, 1 loses all, 2 keeps some and tears the next, 3
    decides for each sector alone, 4 does so too but keeps no write whole, nor loses one that has more than one sector.
    *detail* (16 bits) seeds what is left to choose.
    """

    mode: int
    detail: int


@attrs.define
class CutReport:
    """What one power cut did to one disk, and the decision it followed from."""

    mode: int = 0
    detail: int = 0
    switch: tuple[str, int] = ("", 0)
    unsynced_writes: int = 0
    lost_writes: int = 0
    torn_writes: int = 0
    lost_names: int = 0

    @property
    def bit(self) -> bool:
        """Whether anything that had been written is gone."""
        return self.lost_writes + self.torn_writes + self.lost_names > 0


@attrs.frozen
class Write:
    """One unsynced change of a file: *data* at *offset*, or a truncation to *offset* when *data* is None."""

    number: int
    offset: int
    data: bytes | None


@attrs.define(eq=False)
class Inode:
    """What a file holds: as processes see it, as the medium has it, and what lies between."""

    visible: bytearray = attrs.Factory(bytearray)
    durable: bytearray = attrs.Factory(bytearray)
    unsynced: list[Write] = attrs.Factory(list)


def apply_write(content: bytearray, offset: int, data: bytes | None) -> None:
    """Do one change to *content*."""
    if data is None:
        if offset < len(content):
            del content[offset:]
        else:
            content.extend(bytes(offset - len(content)))
        return
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def commit_writes(inode: Inode, upto: int) -> None:
    """The writes up to number *upto* are durable."""
    for write in inode.unsynced:
        if write.number <= upto:
            apply_write(inode.durable, write.offset, write.data)
    inode.unsynced = [write for write in inode.unsynced if write.number > upto]


def cut_inode(inode: Inode, mode: int, stream: Stream, report: CutReport) -> None:
    """Modes: 0 all kept, 1 all lost, 2 a prefix kept and the next write torn, 3 each sector on its own, 4 each torn."""
    writes, inode.unsynced = inode.unsynced, []
    kept = {0: len(writes), 1: 0}.get(mode, -1)
    if mode == 2:
        kept = stream.integer(0, len(writes))
    for index, write in enumerate(writes):
        if mode >= 3 or (mode == 2 and index == kept):
            _tear(inode.durable, write, stream, report, surely=mode == 4)
        elif index < kept:
            apply_write(inode.durable, write.offset, write.data)
        else:
            report.lost_writes += 1
    inode.visible = bytearray(inode.durable)


def _tear(content: bytearray, write: Write, stream: Stream, report: CutReport, *, surely: bool) -> None:
    """Keep some sectors of *write*; *surely* not all, and not none where there are more."""
    pieces = _sectors(write)
    kept = [piece for piece in pieces if stream.chance(500)]
    if surely and len(kept) == len(pieces):
        kept.pop(stream.integer(0, len(kept) - 1))
    elif surely and not kept and len(pieces) > 1:
        kept = [pieces[stream.integer(0, len(pieces) - 1)]]
    for offset, data in kept:
        apply_write(content, offset, data)
    if not kept:
        report.lost_writes += 1
    elif len(kept) < len(pieces):
        report.torn_writes += 1


def _sectors(write: Write) -> list[tuple[int, bytes | None]]:
    if write.data is None:
        return [(write.offset, None)]
    pieces: list[tuple[int, bytes | None]] = []
    at = write.offset
    end = write.offset + len(write.data)
    while at < end:
        upto = min(end, (at // SECTOR_BYTES + 1) * SECTOR_BYTES)
        pieces.append((at, write.data[at - write.offset : upto - write.offset]))
        at = upto
    assert pieces, "a write has a sector"
    return pieces
