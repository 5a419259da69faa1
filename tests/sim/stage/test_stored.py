"""Journal rows that nothing can reach are counted."""

from __future__ import annotations

from understudy_runtime.machine import rows
from understudy_sim.stage.stored import orphaned_entries

from tests.runtime.machine.driver import OBJECT, Driver


def test_rows_of_a_journal_count_only_while_somebody_has_it() -> None:
    driver = Driver()
    driver.invoke(OBJECT)
    driver.tables.flush(driver.storage)
    medium = driver.medium
    kept = len(list(medium.keys_from(rows.JOURNAL)))
    assert kept >= 1
    assert orphaned_entries(medium) == 0
    owners = [key for key in medium.rows if key[:1] in (rows.LIVE, rows.WAITING, rows.COMPLETED)]
    driver.storage.commit(dict.fromkeys(owners), driver.tables.applied_lsn)
    assert orphaned_entries(medium) == kept
