"""The kinds of values: what they take, what they refuse, and that what they write reads back."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_runtime.cli import kinds
from understudy_runtime.cli.filters import LEVELS, LogFilter
from understudy_runtime.cli.kinds import Address, BadValue
from understudy_runtime.ingress.times import written_duration
from understudy_runtime.model.invocation import OnMaxAttempts
from understudy_runtime.telemetry.log import TARGETS

COUNT = kinds.count(1, 100)
COUNT_OR_NOT = kinds.count(1, 100, unlimited=True)
SIZE = kinds.size(1)
CHOICE = kinds.choice("auto", "json")

GOOD = [
    (kinds.DURATION, "1m 30s", "1m 30s", 90_000),
    (kinds.DURATION, "PT1H", "PT1H", 3_600_000),
    (kinds.DURATION, "0s", "0s", 0),
    (kinds.POSITIVE_DURATION, "7s", "7s", 7_000),
    (SIZE, "10 MiB", "10 MiB", 10 << 20),
    (SIZE, "1GB", "1GB", 10**9),
    (SIZE, "4096", 4096, 4096),
    (SIZE, "1.5KiB", "32.0 KiB", None),
    (COUNT, "7", 7, 7),
    (COUNT_OR_NOT, "unlimited", "unlimited", None),
    (COUNT_OR_NOT, "7", 7, 7),
    (kinds.PORT, "0", 0, 0),
    (kinds.BOOL, "TRUE", True, True),
    (kinds.BOOL, "false", False, False),
    (CHOICE, "JSON", "json", "json"),
    (kinds.FATE, "Kill", "kill", OnMaxAttempts.KILL),
    (kinds.HOST, "localhost", "localhost", "127.0.0.1"),
    (kinds.HOST, "[::1]", "::1", "::1"),
    (kinds.ADDRESS, "0.0.0.0:999", "0.0.0.0:999", Address("0.0.0.0", 999)),
    (kinds.ADDRESS, "[::]:80", "[::]:80", Address("::", 80)),
    (kinds.URL, "http://a.example:1", "http://a.example:1/", "http://a.example:1/"),
    (kinds.FACTOR, "2", 2, 2000),
    (kinds.FACTOR, "1.25", 1.25, 1250),
    (kinds.HOSTS, "a.example, b.example", ["a.example", "b.example"], ("a.example", "b.example")),
    (kinds.HEADERS, '{ X-A = "b" }', {"X-A": "b"}, (("x-a", "b"),)),
    (kinds.WORD, "blue-1", "blue-1", "blue-1"),
    (kinds.TOKEN, "t0ken", "t0ken", "t0ken"),
]

BAD = [
    (kinds.DURATION, "60", 60),
    (kinds.DURATION, "-1s", "-1s"),
    (kinds.DURATION, "", ""),
    (kinds.DURATION, "1 month", "P1Y"),
    (kinds.DURATION, "200000d", True),
    (kinds.POSITIVE_DURATION, "0s", "PT0S"),
    (SIZE, "0", 0),
    (SIZE, "1 furlong", -1),
    (SIZE, "", True),
    (SIZE, "1 2", 1.5),
    (COUNT, "0", 0),
    (COUNT, "101", 101),
    (COUNT, "1e2", "7"),
    (COUNT, "٣", True),
    (COUNT, "unlimited", "unlimited"),
    (kinds.PORT, "http", 65536),
    (kinds.BOOL, "yes", "true"),
    (kinds.BOOL, "1", 1),
    (CHOICE, "xml", 1),
    (kinds.FATE, "explode", 0),
    (kinds.HOST, "", 1),
    (kinds.HOST, "a b", "192.0.2.1:5"),
    (kinds.ADDRESS, "127.0.0.1", "8080"),
    (kinds.ADDRESS, "::1:80", ":80"),
    (kinds.ADDRESS, "h:99999", "h:-1"),
    (kinds.URL, "a.example", "ftp://a.example"),
    (kinds.URL, "http://", "http://a:b/"),
    (kinds.FACTOR, "0.5", 0.5),
    (kinds.FACTOR, "1.2345", True),
    (kinds.FACTOR, "nan", float("nan")),
    (kinds.HEADERS, "x", {"a b": "c"}),
    (kinds.HEADERS, "{ a = 1 }", {"a": "b\r\nc: d"}),
    (kinds.HEADERS, "[1]", "a=b"),
    (kinds.WORD, "a b", ""),
    (kinds.TOKEN, "", "a\nb"),
    (kinds.PATH, "", 1),
    (kinds.FILTER, "loud", "nothing=debug"),
    (kinds.FILTER, "", 3),
]


@pytest.mark.parametrize(("kind", "text", "typed", "value"), GOOD)
def test_good_values(kind, text, typed, value):
    found = kind.from_text(text)
    if value is not None:
        assert found == kind.from_toml(typed) == value
    else:
        kind.from_toml(typed)
    assert kind.from_toml(tomllib.loads(f"v = {kind.to_toml(found)}")["v"]) == found


@pytest.mark.parametrize(("kind", "text", "typed"), BAD)
def test_bad_values_say_what_is_expected(kind, text, typed):
    for read, value in ((kind.from_text, text), (kind.from_toml, typed)):
        with pytest.raises(BadValue) as refused:
            read(value)
        assert len(str(refused.value)) > 5


@given(st.integers(0, kinds.DURATION_MS_MAX))
def test_any_duration_reads_back(duration_ms):
    assert kinds.parsed_duration(written_duration(duration_ms)) == duration_ms


@given(st.integers(0, 10**15 - 1))
def test_any_size_reads_back(size):
    assert kinds.parsed_size(kinds.written_size(size)) == size


@given(st.text())
def test_any_text_is_quoted(text):
    assert tomllib.loads(f"v = {kinds.quoted(text)}")["v"] == text


@given(st.integers(1000, 10**9 - 1))
def test_any_factor_reads_back(thousandths):
    assert kinds.FACTOR.from_toml(tomllib.loads(f"v = {kinds.FACTOR.to_toml(thousandths)}")["v"]) == thousandths


FILTERS = st.builds(
    LogFilter, st.sampled_from(LEVELS), st.dictionaries(st.sampled_from(TARGETS), st.sampled_from(LEVELS))
)


@given(FILTERS, st.sampled_from(LEVELS[:-1]), st.sampled_from(TARGETS))
def test_filters_read_back_and_pass_what_they_say(wanted, level, target):
    again = kinds.FILTER.from_text(str(wanted))
    assert again == wanted
    least = wanted.targets.get(target, wanted.level)
    assert again.passes(level, target) == (LEVELS.index(level) >= LEVELS.index(least))
