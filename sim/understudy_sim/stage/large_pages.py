"""Large pages for what a process has in memory, where the system has them: a rehearsal runs through much code, seldom
the same twice in a row, and one part in fifteen of it was waiting for page tables.

Nothing depends on it but speed.  Linux; elsewhere nothing happens.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from typing import Final

PAGE_BYTES: Final = 2 << 20
_MADV_HUGEPAGE: Final = 14
_MADV_COLLAPSE: Final = 25


def use_large_pages() -> None:
    """Have the memory that is in use now, the interpreter's code included, mapped by large pages."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for start, end in list(_ranges()):
        address, length = ctypes.c_void_p(start), ctypes.c_size_t(end - start)
        libc.madvise(address, length, _MADV_HUGEPAGE)
        libc.madvise(address, length, _MADV_COLLAPSE)  # A system that cannot leaves the pages as they are.


def _ranges() -> Iterator[tuple[int, int]]:
    """The large pages that lie wholly in memory of ours: heap, arenas, and the interpreter's own code."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        for line in maps:
            place, rights, *_, name = line.split(maxsplit=5) if line.count(" ") > 5 else (*line.split(), "")
            ours = "w" in rights and name.strip() in ("", "[heap]")
            if ours or ("x" in rights and "python" in name):
                start, end = (int(text, 16) for text in place.split("-"))
                start, end = -(-start // PAGE_BYTES) * PAGE_BYTES, end // PAGE_BYTES * PAGE_BYTES
                if start < end:
                    yield start, end
