"""What lies in a store that nothing can reach any more: read off the medium, as one commit left it (P10)."""

from __future__ import annotations

import struct

from understudy_runtime.machine import rows
from understudy_runtime.model.ids import RAW_ID_BYTES
from understudy_runtime.storage.memory import MemoryMedium

INDEX = struct.Struct(">I")


def orphaned_entries(medium: MemoryMedium) -> int:
    """Rows of journals behind their invocation's journal, or of no invocation at all."""
    lengths: dict[bytes, int] = {}
    orphans = 0
    for key in medium.keys_from(rows.JOURNAL):
        raw = key[1 : 1 + RAW_ID_BYTES]
        if raw not in lengths:
            lengths[raw] = _journal_length(medium, raw)
        orphans += INDEX.unpack(key[1 + RAW_ID_BYTES :])[0] >= lengths[raw]
    return orphans


def _journal_length(medium: MemoryMedium, raw: bytes) -> int:
    for table in (rows.LIVE, rows.WAITING, rows.COMPLETED):
        value = medium.rows.get(table + raw)
        if value is not None:
            return rows.decode_invocation(value, table, raw).journal_length
    return 0
