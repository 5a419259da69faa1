"""Values to bytes and back: what type hints steer, and what plain JSON does without."""

from __future__ import annotations

import gc
import json
import weakref
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Optional, TypedDict

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy import BytesSerde, DefaultSerde, JsonSerde, MsgspecJsonSerde, PydanticJsonSerde
from understudy.api.serde import _HINTS_MAX, is_plain, serde_for


@dataclass
class Seat:
    row: int
    name: str = "A"


@attrs.frozen
class Ticket:
    seat: Seat
    at: datetime


class Order(TypedDict):
    user: str
    seats: list[Seat]


class Struct(msgspec.Struct):
    x: int


class Model(pydantic.BaseModel):
    x: int
    at: datetime | None = None


TICKET = Ticket(Seat(3), datetime(2026, 1, 2, 3, 4))


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (Seat, Seat(1, "B")),
        (Ticket, TICKET),
        (Order, {"user": "u", "seats": [Seat(1), Seat(2)]}),
        (list[Seat], [Seat(1)]),
        (Optional[Seat], Seat(1)),  # noqa: UP045
        (Seat | None, Seat(1)),
        (dict[str, Seat], {"a": Seat(1)}),
        (tuple[int, str], (1, "x")),
        (Struct, Struct(4)),
        (list[Struct], [Struct(4)]),
        (Model, Model(x=4, at=datetime(2026, 1, 2))),
        (list[Model], [Model(x=4)]),
        (Model | None, Model(x=1)),
        (datetime, datetime(2026, 1, 2)),
        (int, 5),
        (list, [1, "a", None]),
        (Any, {"a": [1, 2.5, True]}),
        (None, "text"),
        (list[str], ["a"]),
    ],
)
def test_values_come_back_as_the_type_hinted(hint: Any, value: Any) -> None:
    serde = serde_for(hint)
    back = serde.deserialize(serde.serialize(value))
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    "serde",
    [JsonSerde(), DefaultSerde(), DefaultSerde(Seat), MsgspecJsonSerde(Struct), PydanticJsonSerde(Model)],
)
def test_none_is_no_bytes(serde: Any) -> None:
    assert serde.serialize(None) == b""
    assert serde.deserialize(b"") is None


def test_bytes_are_bytes() -> None:
    assert BytesSerde().serialize(b"\x00\xff") == b"\x00\xff"
    assert BytesSerde().deserialize(b"") == b""
    assert BytesSerde().serialize(None) == b""


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(values)
def test_plain_values_are_written_as_json_writes_them(value: Any) -> None:
    data = DefaultSerde().serialize(value)
    assert data == (b"" if value is None else json.dumps(value).encode())
    assert DefaultSerde().deserialize(data) == value


@pytest.mark.parametrize("value", [Seat(1), TICKET, Struct(1), Model(x=1), [Seat(1)], {"at": TICKET.at}])
def test_rich_values_are_taken_apart_without_a_hint(value: Any) -> None:
    assert json.loads(DefaultSerde().serialize(value)) is not None


def test_a_value_without_a_form_says_what_to_do() -> None:
    with pytest.raises(TypeError, match="give a serde of your own"):
        DefaultSerde[object]().serialize(object())


@pytest.mark.parametrize("hint", [Seat, Ticket, Order, Struct, Model, int, list[Seat]])
@pytest.mark.parametrize("garbage", [b"{", b"\xff\xfe", b"[1,"])
def test_garbage_is_an_exception(hint: Any, garbage: bytes) -> None:
    with pytest.raises(Exception):  # noqa: B017
        serde_for(hint).deserialize(garbage)


@pytest.mark.parametrize(
    ("hint", "plain"),
    [
        (int, True),
        (list[int], True),
        (dict[str, list[str]], True),
        (int | None, True),
        (Seat, False),
        (list[Seat], False),
        (datetime, False),
        (Order, False),
        (tuple[int, int], False),
    ],
)
def test_hints_that_say_no_more_than_json(hint: Any, plain: bool) -> None:
    assert is_plain(hint) is plain


def test_a_hint_given_twice_is_built_once() -> None:
    assert serde_for(Seat) is serde_for(Seat)
    assert DefaultSerde(Seat).with_maybe_type(int).type_hint is Seat


def test_classes_nobody_uses_any_more_are_let_go() -> None:
    """Programs that import their modules afresh, over and over, do not keep every old class alive."""
    kept: list[weakref.ref[type]] = []
    for number in range(3 * _HINTS_MAX):
        record = attrs.make_class(f"Record{number}", ["x"])
        assert serde_for(record).deserialize(b'{"x": 1}') == record(1)
        kept.append(weakref.ref(record))
    del record
    gc.collect()
    assert sum(ref() is not None for ref in kept) <= 2 * _HINTS_MAX + 1
