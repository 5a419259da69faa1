"""The kinds of values settings have: how each is read from text and from TOML, and how it is written back.

Text is what flags and the environment give; TOML values come typed.  Reading a bad value raises BadValue, which says
what was expected; who read it says where it stood.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from understudy_runtime.cli.filters import LogFilter, parse_filter
from understudy_runtime.http.guard import is_numeric
from understudy_runtime.ingress.times import BadDuration, parse_duration_ms, written_duration
from understudy_runtime.model.invocation import OnMaxAttempts

UNLIMITED: Final = "unlimited"
SIZE: Final = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,6}))?\s*([a-zA-Z]*)")
SIZE_UNITS: Final = MappingProxyType[str, int](
    {
        "": 1,
        "b": 1,
        "kb": 10**3,
        "mb": 10**6,
        "gb": 10**9,
        "k": 1 << 10,
        "kib": 1 << 10,
        "m": 1 << 20,
        "mib": 1 << 20,
        "g": 1 << 30,
        "gib": 1 << 30,
        "tb": 10**12,
        "tib": 1 << 40,
    }
)
DURATION_MS_MAX: Final = 100 * 365 * 86_400_000
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
HEADER_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?|")


class BadValue(ValueError):
    """The value is not of its kind: the text says what is expected."""


@attrs.frozen
class Address:
    """Where a port is bound."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@attrs.frozen
class Kind:
    """One kind: *name* stands in the help, *expected* in errors.

    `from_text` and `from_toml` raise BadValue; `to_toml` writes what `from_toml` reads back.
    """

    name: str
    expected: str
    from_text: Callable[[str], Any]
    from_toml: Callable[[object], Any]
    to_toml: Callable[[Any], str]


def quoted(text: str) -> str:
    """A TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in escaped) + '"'


def from_string(name: str, expected: str, parse: Callable[[str], Any], write: Callable[[Any], str] = str) -> Kind:
    """A kind that is text in TOML, too."""

    def from_toml(value: object) -> Any:
        if not isinstance(value, str):
            raise BadValue(expected)
        return parse(value)

    return Kind(name, expected, parse, from_toml, lambda value: quoted(write(value)))


def parsed_duration(text: str) -> int:
    try:
        duration_ms = parse_duration_ms(text)
    except BadDuration as error:
        raise BadValue(f"a duration such as 10sec, 1m 30s or PT1H ({error})") from None
    if duration_ms > DURATION_MS_MAX:
        raise BadValue("a duration of at most 100 years")
    return duration_ms


def positive_duration(text: str) -> int:
    duration_ms = parsed_duration(text)
    if duration_ms == 0:
        raise BadValue("a duration above 0")
    return duration_ms


DURATION: Final = from_string("DURATION", "a duration such as 10sec, 1m 30s or PT1H", parsed_duration, written_duration)
POSITIVE_DURATION: Final = from_string(
    "DURATION", "a duration such as 10sec, 1m 30s or PT1H", positive_duration, written_duration
)


def parsed_size(text: str) -> int:
    match = SIZE.fullmatch(text.strip())
    factor = SIZE_UNITS.get(match[3].lower()) if match else None
    if match is None or factor is None:
        raise BadValue("a size such as 32 MiB, 1GB or 4096")
    whole, fraction = int(match[1]), match[2] or ""
    return whole * factor + (int(fraction) * factor // 10 ** len(fraction) if fraction else 0)


def written_size(size: int) -> str:
    """The largest binary unit that is exact.

    >>> written_size(32 << 20), written_size(1000)
    ('32 MiB', '1000 B')
    """
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size and size % factor == 0:
            return f"{size // factor} {unit}"
    return f"{size} B"


def size(least: int = 0) -> Kind:
    """Bytes, at least *least*."""
    expected = "a size such as 32 MiB, 1GB or 4096" + (f", at least {written_size(least)}" if least else "")

    def checked(number: int) -> int:
        if number < least:
            raise BadValue(expected)
        return number

    def from_toml(value: object) -> int:
        if type(value) is int:
            return checked(value)
        if not isinstance(value, str):
            raise BadValue(expected)
        return checked(parsed_size(value))

    return Kind(
        "SIZE", expected, lambda text: checked(parsed_size(text)), from_toml, lambda value: quoted(written_size(value))
    )


def whole(text: str, expected: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise BadValue(expected)
    return int(text)


def count(least: int, most: int, *, unlimited: bool = False) -> Kind:
    """A whole number between *least* and *most*; with *unlimited*, that word means None."""
    expected = f"a whole number from {least} to {most}" + (f", or {UNLIMITED}" if unlimited else "")

    def checked(number: int) -> int:
        if not least <= number <= most:
            raise BadValue(expected)
        return number

    def from_text(text: str) -> int | None:
        return None if unlimited and text == UNLIMITED else checked(whole(text, expected))

    def from_toml(value: object) -> int | None:
        if unlimited and value == UNLIMITED:
            return None
        if type(value) is not int:
            raise BadValue(expected)
        return checked(value)

    def to_toml(value: int | None) -> str:
        return quoted(UNLIMITED) if value is None else str(value)

    return Kind("COUNT|unlimited" if unlimited else "COUNT", expected, from_text, from_toml, to_toml)


PORT: Final = attrs.evolve(count(0, 65_535), name="PORT")


def truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise BadValue("true or false")
    return text.lower() == "true"


def truth_of(value: object) -> bool:
    if not isinstance(value, bool):
        raise BadValue("true or false")
    return value


BOOL: Final = Kind("BOOL", "true or false", truth, truth_of, lambda value: "true" if value else "false")


def choice(*words: str) -> Kind:
    """One of *words*."""
    expected = f"one of {', '.join(words)}"

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise BadValue(expected)
        return text.lower()

    return from_string("|".join(words), expected, parse)


def parsed_fate(text: str) -> OnMaxAttempts:
    try:
        return OnMaxAttempts[text.upper()]
    except KeyError:
        raise BadValue("pause or kill") from None


FATE: Final = from_string("pause|kill", "pause or kill", parsed_fate, lambda fate: fate.name.lower())


def parsed_path(text: str) -> Path:
    if not text or "\0" in text:
        raise BadValue("a path")
    return Path(text)


PATH: Final = from_string("PATH", "a path", parsed_path)


def parsed_name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise BadValue("a name of letters, digits, '-', '_' and '.', at most 128 of them")
    return text


WORD: Final = from_string("NAME", "a name of letters, digits, '-', '_' and '.', at most 128 of them", parsed_name)


def parsed_token(text: str) -> str:
    if not text or not HEADER_VALUE.fullmatch(text):
        raise BadValue("a token of printable ASCII")
    return text


TOKEN: Final = from_string("TOKEN", "a token of printable ASCII", parsed_token)


def parsed_host(text: str) -> str:
    """A host to bind; `localhost` is 127.0.0.1, brackets go."""
    host = text.removeprefix("[").removesuffix("]") if text.startswith("[") else text
    if not host or not (is_numeric(host) or re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", host)):
        raise BadValue("an address such as 127.0.0.1, 0.0.0.0 or [::]")
    return "127.0.0.1" if host == "localhost" else host


HOST: Final = from_string("ADDRESS", "an address such as 127.0.0.1, 0.0.0.0 or [::]", parsed_host)


def parsed_address(text: str) -> Address:
    expected = "HOST:PORT such as 127.0.0.1:8080 or [::]:8080"
    host, separator, port = text.rpartition(":")
    if not separator or (":" in host and not host.startswith("[")):
        raise BadValue(expected)
    try:
        number = PORT.from_text(port)
        return Address(parsed_host(host), number)
    except BadValue:
        raise BadValue(expected) from None


ADDRESS: Final = from_string("HOST:PORT", "HOST:PORT such as 127.0.0.1:8080 or [::]:8080", parsed_address)


def parsed_url(text: str) -> str:
    expected = "a URL such as http://restate.example:8080/"
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good or not text.isprintable() or " " in text:
        raise BadValue(expected)
    return text if text.endswith("/") else f"{text}/"


URL: Final = from_string("URL", "a URL such as http://restate.example:8080/", parsed_url)


def parsed_factor(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,6})(?:\.([0-9]{1,3}))?", text)
    thousandths = int(match[1]) * 1000 + int((match[2] or "").ljust(3, "0")) if match else 0
    if thousandths < 1000:
        raise BadValue("a factor of 1 or more, with at most three decimals, such as 2.0")
    return thousandths


def factor_of(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadValue("a factor of 1 or more, with at most three decimals, such as 2.0")
    return parsed_factor(repr(value))


FACTOR: Final = Kind(
    "FACTOR",
    "a factor of 1 or more, with at most three decimals, such as 2.0",
    parsed_factor,
    factor_of,
    lambda thousandths: (
        f"{thousandths // 1000}.{thousandths % 1000:03d}".rstrip("0").ljust(3, "0")
        if thousandths % 1000
        else f"{thousandths // 1000}.0"
    ),
)

FILTER: Final = from_string(
    "FILTER",
    "a level, with exceptions: info, or warn,invoker=debug",
    lambda text: read_filter(text),
)


def read_filter(text: str) -> LogFilter:
    try:
        return parse_filter(text)
    except ValueError as error:
        raise BadValue(str(error)) from None


def toml_value(text: str, expected: str) -> object:
    """What *text* means as a TOML value: how tables and lists are written on one line."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        raise BadValue(expected) from None


def hosts_of(value: object) -> tuple[str, ...]:
    expected = 'a list of host names, such as ["restate.example"]'
    if not isinstance(value, list) or not all(isinstance(one, str) and one and one.isprintable() for one in value):
        raise BadValue(expected)
    return tuple(value)


def hosts_in(text: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in text.split(",") if one.strip())


HOSTS: Final = Kind(
    "NAMES",
    'a list of host names, such as ["restate.example"]',
    hosts_in,
    hosts_of,
    lambda names: f"[{', '.join(quoted(name) for name in names)}]",
)


def headers_of(value: object) -> tuple[tuple[str, str], ...]:
    expected = 'a table of headers, such as { x-tenant = "blue" }'
    if not isinstance(value, Mapping):
        raise BadValue(expected)
    headers: Sequence[tuple[object, object]] = sorted(value.items())
    for name, one in headers:
        good = isinstance(name, str) and isinstance(one, str)
        if not good or not HEADER_NAME.fullmatch(str(name)) or not HEADER_VALUE.fullmatch(str(one)):
            raise BadValue(expected)
    return tuple((str(name).lower(), str(one)) for name, one in headers)


HEADERS: Final = Kind(
    "TABLE",
    'a table of headers, such as { x-tenant = "blue" }',
    lambda text: headers_of(toml_value(text, 'a table of headers, such as { x-tenant = "blue" }')),
    headers_of,
    lambda headers: "{ " + ", ".join(f"{quoted(name)} = {quoted(value)}" for name, value in headers) + " }",
)
