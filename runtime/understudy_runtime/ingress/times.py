"""Durations and instants as text: what clients may write, what answers say.  Pure integer arithmetic.

Two grammars are read: ISO-8601 (`PT1H`, `P1DT2H30M`, `PT0.5S`) and the friendly one (`10sec`, `1m 30s`, `2 days`).
Refused: bare numbers, negative durations, the empty text, and units above weeks, whose length is the calendar's.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final

MS_PER_DAY: Final = 86_400_000
# The last instant that RFC 3339 can write: the end of the year 9999.
INSTANT_MS_MAX: Final = 253_402_300_799_999
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
DAY_NAMES: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTH_NAMES: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# What durations are written in, largest first, with their length in milliseconds.
WRITTEN_UNITS: Final = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))
# Nanoseconds per unit.
NS: Final = MappingProxyType[str, int](
    {
        "w": 7 * 86_400 * 10**9,
        "d": 86_400 * 10**9,
        "h": 3_600 * 10**9,
        "m": 60 * 10**9,
        "s": 10**9,
        "ms": 10**6,
        "us": 10**3,
        "ns": 1,
    }
)
UNITS: Final = MappingProxyType[str, str](
    {
        word: unit
        for unit, words in {
            "w": ("w", "wk", "wks", "week", "weeks"),
            "d": ("d", "day", "days"),
            "h": ("h", "hr", "hrs", "hour", "hours"),
            "m": ("m", "min", "mins", "minute", "minutes"),
            "s": ("s", "sec", "secs", "second", "seconds"),
            "ms": ("ms", "msec", "msecs", "milli", "millis", "millisecond", "milliseconds"),
            "us": ("us", "µs", "μs", "usec", "usecs", "micro", "micros", "microsecond", "microseconds"),
            "ns": ("ns", "nsec", "nsecs", "nano", "nanos", "nanosecond", "nanoseconds"),
        }.items()
        for word in words
    }
)
CALENDAR_UNITS: Final = frozenset(
    {"y", "yr", "yrs", "year", "years", "mo", "mos", "month", "months"}  # only ever asked for membership
)
FRIENDLY: Final = re.compile(r"([0-9]{1,18})(?:[.,]([0-9]{1,9}))?\s*([a-zA-Zµμ]+)\s*,?\s*")
ISO: Final = re.compile(
    r"[pP](?:([0-9]{1,18})[wW])?(?:([0-9]{1,18})[dD])?"
    r"(?:[tT](?:([0-9]{1,18})[hH])?(?:([0-9]{1,18})[mM])?(?:([0-9]{1,18})(?:[.,]([0-9]{1,9}))?[sS])?)?"
)

HTTP_DATE: Final = re.compile(r"[A-Za-z]{3}, ([0-9]{2}) ([A-Za-z]{3}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT")


class BadDuration(ValueError):
    """The text is no duration we take: what was found and what is expected."""


def parse_duration_ms(text: str) -> int:
    """The milliseconds that *text* means, rounded up.  Raises BadDuration.

    >>> parse_duration_ms("PT1H"), parse_duration_ms("1m 30s"), parse_duration_ms("2 days")
    (3600000, 90000, 172800000)
    """
    text = text.strip()
    if not text:
        raise BadDuration("the duration is empty: write for example PT1H, 10sec or 1m 30s")
    if text[0] == "-":
        raise BadDuration(f"the duration {text!r} is negative: durations start at 0")
    nanoseconds = _iso_ns(text) if text.lstrip("+")[:1] in "pP" else _friendly_ns(text)
    return -(-nanoseconds // 10**6)


def _iso_ns(text: str) -> int:
    body = text.removeprefix("+")
    match = ISO.fullmatch(body)
    if match is None or body[-1] in "pPtT":
        if re.search(r"[yY]|^[pP][^tT]*[mM]", body):
            raise BadDuration(f"the duration {text!r} uses months or years: use weeks, days or smaller units")
        raise BadDuration(f"the duration {text!r} is not an ISO-8601 duration such as PT1H or P1DT2H")
    weeks, days, hours, minutes, seconds, fraction = match.groups(default="0")
    whole = sum(int(n) * NS[unit] for n, unit in zip((weeks, days, hours, minutes, seconds), "wdhms", strict=True))
    return whole + int(fraction.ljust(9, "0"))


def _friendly_ns(text: str) -> int:
    total = 0
    at = 1 if text[0] == "+" else 0
    if at == len(text):
        raise BadDuration(f"the duration {text!r} holds no number")
    while at < len(text):
        match = FRIENDLY.match(text, at)
        if match is None:
            raise BadDuration(
                f"the duration {text!r} is not understood from position {at}: write a number and a unit, such as 10sec"
            )
        number, fraction, word = match.groups()
        unit = UNITS.get(word) or UNITS.get(word.lower())
        if unit is None:
            if word.lower() in CALENDAR_UNITS:
                raise BadDuration(f"the duration {text!r} uses months or years: use weeks, days or smaller units")
            raise BadDuration(f"the duration {text!r} has an unknown unit {word!r}: use w, d, h, m, s or ms")
        total += int(number) * NS[unit]
        if fraction is not None:
            total += int(fraction.ljust(9, "0")) * NS[unit] // 10**9
        at = match.end()
    return total


def _instant(epoch_ms: int) -> datetime:
    assert 0 <= epoch_ms <= INSTANT_MS_MAX, "an instant lies between 1970 and 9999"
    return EPOCH + timedelta(milliseconds=epoch_ms)


def rfc3339_nanos(epoch_ms: int) -> str:
    """UTC with nine fraction digits and `Z`, as JSON answers write instants.

    >>> rfc3339_nanos(1_795_335_126_316)
    '2026-11-22T08:12:06.316000000Z'
    """
    return f"{_instant(epoch_ms):%Y-%m-%dT%H:%M:%S}.{epoch_ms % 1000:03d}000000Z"


def rfc3339_millis(epoch_ms: int) -> str:
    """UTC with milliseconds and a numeric offset, as the `idempotency-expires` header writes instants.

    >>> rfc3339_millis(1_795_335_126_316)
    '2026-11-22T08:12:06.316+00:00'
    """
    return f"{_instant(epoch_ms):%Y-%m-%dT%H:%M:%S}.{epoch_ms % 1000:03d}+00:00"


def http_date(epoch_seconds: int) -> str:
    """The date of HTTP headers (RFC 9110, 5.6.7).

    >>> http_date(1_795_335_126)
    'Sun, 22 Nov 2026 08:12:06 GMT'
    """
    when = _instant(epoch_seconds * 1000)
    day, month = DAY_NAMES[when.weekday()], MONTH_NAMES[when.month - 1]
    return f"{day}, {when.day:02d} {month} {when.year:04d} {when:%H:%M:%S} GMT"


def parse_http_date_ms(text: str) -> int | None:
    """The epoch milliseconds of an HTTP date in its preferred form; None for anything else.

    >>> parse_http_date_ms("Sun, 22 Nov 2026 08:12:06 GMT")
    1795335126000
    """
    match = HTTP_DATE.fullmatch(text)
    if match is None or match[2] not in MONTH_NAMES:
        return None
    day, month, year = int(match[1]), MONTH_NAMES.index(match[2]) + 1, int(match[3])
    try:
        when = datetime(year, month, day, int(match[4]), int(match[5]), int(match[6]), tzinfo=UTC)
    except ValueError:
        return None
    return (when - EPOCH) // timedelta(milliseconds=1)


def written_duration(duration_ms: int) -> str:
    """A duration in the short form of the friendly grammar, which `parse_duration_ms` reads back.

    >>> written_duration(90_500), written_duration(86_400_000), written_duration(0)
    ('1m 30s 500ms', '1d', '0s')
    """
    words = []
    for unit, unit_ms in WRITTEN_UNITS:
        count, duration_ms = divmod(duration_ms, unit_ms)
        if count:
            words.append(f"{count}{unit}")
    return " ".join(words) or "0s"
