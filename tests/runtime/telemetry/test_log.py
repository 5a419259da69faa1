"""Events as log lines: levels, fields, and nothing that belongs to callers."""

from __future__ import annotations

import pytest
from understudy_runtime.model import events
from understudy_runtime.model.commands import Invoke, Record
from understudy_runtime.model.invocation import HandlerType, ServiceType, Target
from understudy_runtime.telemetry.log import DETAIL_CHARS_MAX, is_routine, log_line

LEVELS = [
    (events.LeadershipTaken(0, 3, 17, [object(), object()]), "info", {"epoch": 3, "outstanding": 2}),
    (events.LogTailCut("partition-0", 12), "warning", {"bytes": 12}),
    (events.StorageFlushed(0, 9, 100), "debug", {"rows": 100}),
    (events.SnapshotWritten(0, 9, 100, 4_000), "info", {"lsn": 9, "bytes": 4_000}),
    (events.SnapshotAbandoned(0, 9, "no space"), "warning", {"reason": "no space"}),
    (events.LogTrimmed(0, 10, 2, 4_000), "info", {"lsn_first": 10}),
    (events.StorageRestored(0, 9, "it is damaged"), "warning", {"lsn": 9, "reason": "it is damaged"}),
    (events.AttemptStarted(0, "inv", 1, 2, 3), "debug", {"attempt": 2}),
    (events.AttemptEnded(0, "inv", 1, 2, "finished"), "debug", {"how": "finished"}),
    (events.AttemptEnded(0, "inv", 1, 2, "failed", "x" * 9999), "warning", {"detail": "x" * DETAIL_CHARS_MAX}),
    (events.RetryScheduled(0, "inv", 1, 500), "info", {"delay_ms": 500}),
    (events.RequestAnswered(1, 200, "", "inv"), "debug", {"status": 200, "invocation": "inv"}),
]


@pytest.mark.parametrize(("event", "level", "fields"), LEVELS)
def test_lines(event, level, fields):
    line = log_line(event)
    assert line.level == level
    assert fields.items() <= line.fields.items()


@pytest.mark.parametrize(("event", "level", "fields"), LEVELS)
def test_what_is_routine_makes_a_line_for_debugging(event, level, fields):
    assert is_routine(event) == (level == "debug")


def test_records_are_not_logged():
    invoke = Invoke("inv", Target("S", "h"), ServiceType.SERVICE, HandlerType.SHARED, b"secret")
    record = Record(1, 0, invoke)
    assert log_line(events.Committed(0, [record])) is None
    assert log_line(events.Applied(0, record, [], False)) is None
