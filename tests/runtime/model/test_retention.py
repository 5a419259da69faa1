"""What is kept of a request: by its kind, the handler's options and the server's limits."""

from __future__ import annotations

from typing import Any

import pytest
from understudy_runtime.limits import Limits
from understudy_runtime.model.invocation import HandlerType
from understudy_runtime.model.retention import Retention, retention_of
from understudy_runtime.model.schema import Handler, InputRule, Options, OutputRule

SERVER = Limits(completion_retention_ms=100)


def handler(type_: HandlerType = HandlerType.SHARED, **options: Any) -> Handler:
    return Handler("h", type_, InputRule(), OutputRule(), Options(**options))


RUN = HandlerType.WORKFLOW
CASES: tuple[tuple[Handler, Limits, bool, Retention], ...] = (
    (handler(), SERVER, False, Retention(0, 0)),
    (handler(), SERVER, True, Retention(100, 0)),
    (handler(RUN), SERVER, False, Retention(100, 0)),
    (handler(RUN), Limits(completion_retention_ms=100, workflow_retention_ms=70), False, Retention(70, 0)),
    (handler(RUN, workflow_retention_ms=60), SERVER, False, Retention(60, 0)),
    (handler(RUN, workflow_retention_ms=0, journal_retention_ms=9), SERVER, False, Retention(0, 0)),
    (handler(RUN, idempotency_retention_ms=5), SERVER, True, Retention(100, 0)),
    (handler(idempotency_retention_ms=50), SERVER, True, Retention(50, 0)),
    (handler(idempotency_retention_ms=0), SERVER, True, Retention(0, 0)),
    (handler(idempotency_retention_ms=50, journal_retention_ms=80), SERVER, True, Retention(50, 50)),
    (handler(idempotency_retention_ms=50, journal_retention_ms=20), SERVER, True, Retention(50, 20)),
    (handler(idempotency_retention_ms=50, journal_retention_ms=20), SERVER, False, Retention(20, 20)),
    (handler(), Limits(journal_retention_ms=30), False, Retention(30, 30)),
    (handler(journal_retention_ms=0), Limits(journal_retention_ms=30), False, Retention(0, 0)),
    (handler(journal_retention_ms=40), Limits(journal_retention_ms=30), False, Retention(40, 40)),
)


@pytest.mark.parametrize(("of", "limits", "can_ask_again", "expected"), CASES)
def test_what_is_kept(of: Handler, limits: Limits, can_ask_again: bool, expected: Retention) -> None:
    found = retention_of(of, limits, can_ask_again=can_ask_again)
    assert found == expected
    assert found.journal_ms <= found.result_ms
