"""Durations in both grammars, and instants as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_runtime.ingress.times import BadDuration, http_date, parse_duration_ms, rfc3339_millis, rfc3339_nanos

READ = {
    "PT1H": 3_600_000,
    "P1DT2H": 93_600_000,
    "P2W": 14 * 86_400_000,
    "pt0.5s": 500,
    "PT1M30S": 90_000,
    "10sec": 10_000,
    "1m 30s": 90_000,
    "1m30s": 90_000,
    "2 days": 172_800_000,
    "1 hour, 30 minutes": 5_400_000,
    "1.5h": 5_400_000,
    "500ms": 500,
    "0s": 0,
    "1ns": 1,
    "1001 micros": 2,
    "+5s": 5_000,
    " 5s ": 5_000,
}


@pytest.mark.parametrize("text", READ)
def test_durations_that_are_read(text):
    assert parse_duration_ms(text) == READ[text]


REFUSED = [
    "",
    " ",
    "60",
    "-5s",
    "soon",
    "P1Y",
    "P1M",
    "1month",
    "1 year",
    "P",
    "PT",
    "P1DT",
    "5",
    "5 s x",
    "1e3s",
    "٣s",
    "+",
]


@pytest.mark.parametrize("text", REFUSED)
def test_durations_that_are_refused(text):
    with pytest.raises(BadDuration):
        parse_duration_ms(text)


@given(st.text(max_size=20))
def test_any_text_is_a_duration_or_refused(text):
    try:
        assert parse_duration_ms(text) >= 0
    except BadDuration:
        return


def test_instants():
    assert rfc3339_nanos(0) == "1970-01-01T00:00:00.000000000Z"
    assert rfc3339_millis(253_402_300_799_999) == "9999-12-31T23:59:59.999+00:00"
    assert http_date(784_111_777) == "Sun, 06 Nov 1994 08:49:37 GMT"
