"""A disk for SQLite that can lose its power: what was not synced is kept, lost or torn, write by write.

An apsw VFS over files in memory.  It can also fail every write from a given one on, which is how a cut in the middle
of a commit begins.  A cut leaves a new disk behind, so that a dead connection can do nothing to it.  Names are durable
at once: SQLite's own sync of folders is not under test.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import apsw

SECTOR_BYTES = 512
NUMBERS = itertools.count()


class Lost(Exception):
    """The power is gone: this call did nothing."""


class Image:
    """One file: what the medium has, what was written since the last sync, and what a reader sees."""

    def __init__(self) -> None:
        self.durable = b""
        self.seen = bytearray()
        self.pending: list[tuple[int, bytes | None]] = []

    def write(self, offset: int, data: bytes | None) -> None:
        self.pending.append((offset, data))
        change(self.seen, offset, data)

    def sync(self) -> None:
        self.durable = bytes(self.seen)
        self.pending.clear()

    def after_cut(self, kept_of: Callable[[int], int]) -> Image:
        """What a power cut leaves: of each pending write *kept_of* says how many of its bytes arrived."""
        content = bytearray(self.durable)
        for offset, data in self.pending:
            if data is None:
                if kept_of(1):
                    change(content, offset, None)
            else:
                kept = kept_of(len(data))
                change(content, offset, data[: kept if kept == len(data) else kept // SECTOR_BYTES * SECTOR_BYTES])
        left = Image()
        left.seen = content
        left.sync()
        return left


def change(content: bytearray, offset: int, data: bytes | None) -> None:
    """Write *data* at *offset*, or truncate there when it is None."""
    if data is None:
        del content[offset:]
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


class Files(apsw.VFS):
    """The disk of one incarnation.  After `writes_left` more writes, every write fails."""

    def __init__(self, images: dict[str, Image] | None = None) -> None:
        self.images = {} if images is None else images
        self.name = f"power-cut-{next(NUMBERS)}"
        self.writes_left: int | None = None
        self.writes = 0
        super().__init__(self.name, "")

    def spend(self) -> None:
        if self.writes_left is not None:
            if self.writes_left == 0:
                raise Lost
            self.writes_left -= 1
        self.writes += 1

    def after_cut(self, kept_of: Callable[[int], int]) -> Files:
        """The disk the next incarnation finds."""
        return Files({name: image.after_cut(kept_of) for name, image in self.images.items()})

    def xFullPathname(self, name: str) -> str:  # noqa: N802
        return name

    def xAccess(self, pathname: str, flags: int) -> bool:  # noqa: N802
        return pathname in self.images

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        self.spend()
        self.images.pop(filename, None)

    def xOpen(self, name: Any, flags: list[int]) -> File:  # noqa: N802
        filename = name.filename() if isinstance(name, apsw.URIFilename) else name
        flags[1] = flags[0]
        return File(self, self.images.setdefault(filename or f"temporary {len(self.images)}", Image()))


class File:
    """An open file, as SQLite wants it."""

    def __init__(self, files: Files, image: Image) -> None:
        self.files = files
        self.image = image

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        return bytes(self.image.seen[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self.files.spend()
        self.image.write(offset, bytes(data))

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self.files.spend()
        self.image.write(size, None)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self.files.spend()
        self.image.sync()

    def xFileSize(self) -> int:  # noqa: N802
        return len(self.image.seen)

    def xLock(self, level: int) -> None:  # noqa: N802
        pass

    def xUnlock(self, level: int) -> None:  # noqa: N802
        pass

    def xCheckReservedLock(self) -> bool:  # noqa: N802
        return False

    def xClose(self) -> None:  # noqa: N802
        pass

    def xSectorSize(self) -> int:  # noqa: N802
        return SECTOR_BYTES

    def xDeviceCharacteristics(self) -> int:  # noqa: N802
        return 0

    def xFileControl(self, op: int, pointer: int) -> bool:  # noqa: N802
        return False
