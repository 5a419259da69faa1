"""Tables of format 1 are taken over as they are: what waited, its timers, locks and inboxes, kept results."""

from __future__ import annotations

from typing import Any

import attrs
import cbor2
from hypothesis import assume, event, given, settings
from understudy_runtime.machine import rows
from understudy_runtime.machine.tables import Tables
from understudy_runtime.model.commands import MutateState
from understudy_runtime.storage.memory import MemoryMedium, MemoryStorage

from tests.runtime.machine.test_fold import SCRIPTS, Play, replayed, seen


def of_format_1(medium: MemoryMedium) -> MemoryMedium:
    """The same tables as format 1 wrote them: no locks, timers by partition key, all that was live in one table."""
    written: dict[bytes, bytes | None] = {}
    for key, value in medium.rows.items():
        table, row = key[:1], cbor2.loads(value) if key[:1] != rows.STATE else None
        if table in (rows.LIVE, rows.WAITING, rows.COMPLETED):
            assert isinstance(row, dict)
            row = without(row, 34)
            if 28 in row:
                row[28] = list(row[28])
            if table == rows.COMPLETED:
                row[22] = 7
            written[(rows.LIVE if table == rows.WAITING else table) + key[1:]] = dumped(row)
        elif table == rows.TIMER:
            written[rows.TIMER_OLD + bytes(8) + key[-8:]] = value
        elif table == rows.META:
            written[key] = dumped({**without(row, 11, 12, 13), 1: 1})
        elif table != rows.BUSY:
            written[key] = value
    copy = MemoryMedium()
    copy.commit(written, medium.applied_lsn)
    return copy


def without(row: Any, *numbers: int) -> dict[int, Any]:
    return {number: value for number, value in row.items() if number not in numbers}


def dumped(value: Any) -> bytes:
    return bytes(cbor2.dumps(value))


class OldPlay(Play):
    """A play under rules 1 alone, which kept no journals."""

    def __init__(self) -> None:
        super().__init__(rules=1)
        self.rules_next = 1

    def request(self, a: int, b: int, invocation_id: str) -> Any:
        return attrs.evolve(super().request(a, b, invocation_id), journal_retention_ms=0)


def played(script: list[tuple[int, int, int]]) -> Play:
    """A play without what format 1 could not hold."""
    play = OldPlay()
    for operation, a, b in script:
        play.operations[operation](a, b)
    waits = [one for found in play.driver.tables.objects.busy().values() for one in found.inbox.values()]
    assume(not any(isinstance(one, MutateState) for one in waits))
    return play


@given(SCRIPTS)
@settings(max_examples=150, deadline=None)
def test_old_tables_are_taken_over_as_they_are(script: list[tuple[int, int, int]]) -> None:
    driver = played(script).driver
    driver.flush()
    assert not [key for key in driver.medium.rows if key[:1] == rows.EXPIRY]
    old = of_format_1(driver.medium)
    event(f"timers {min(len(driver.tables.timers), 3)}, waiting {min(driver.tables.waiting_rows, 3)}")
    expected = seen(driver.tables)
    taken_over = replayed(driver, MemoryStorage(old))
    assert seen(taken_over) == expected
    storage = taken_over._storage
    taken_over.flush(storage)
    assert seen(Tables.load(storage, 0, 2)) == expected, "the first flush wrote it in today's format"
    wanted = {key: value for key, value in driver.medium.rows.items() if key[:1] != rows.COMPLETED}
    assert {key: value for key, value in storage.scan(b"") if key[:1] != rows.COMPLETED} == wanted
