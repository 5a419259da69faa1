"""The codec: every command survives the way to bytes and back, canonically; anything else is a named error."""

from __future__ import annotations

import typing

import attrs
import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_runtime.log import cbor
from understudy_runtime.log.codec import COMMANDS, SCALARS, CodecError, decode_commands
from understudy_runtime.model import commands as c
from understudy_runtime.model.invocation import (
    Entry,
    Failure,
    HandlerType,
    OnMaxAttempts,
    RetryPolicy,
    ServiceType,
    Success,
    Target,
)

ALL: tuple[c.Command, ...] = (
    c.Invoke(
        "inv_1a",
        Target("S", "h", "k"),
        ServiceType.WORKFLOW,
        HandlerType.WORKFLOW,
        b"\x00\xff",
        headers=(("a", "b"),),
        idempotency_key="",
        execution_time_ms=5,
        completion_retention_ms=6,
        random_seed=2**64 - 1,
        retry_policy=RetryPolicy(1, 2, 3, None, OnMaxAttempts.KILL),
        caller=c.Caller("inv_1b", 7),
        request_id=8,
        schema_revision=9,
    ),
    c.Invoke("inv_1a", Target("S", "h"), ServiceType.SERVICE, HandlerType.SHARED, b""),
    c.AttemptOutput(
        "inv_1a",
        1,
        2,
        3,
        entries=(c.ProposedEntry(Entry(0x040D, b"x"), c.Callee("inv_1c")), c.ProposedEntry(Entry(5, b""))),
        end=c.Suspend((1, 2), (1,), ("n",)),
        deployment_id="dp_1",
        protocol_version=6,
    ),
    c.AttemptOutput("inv_1a", 1, 2, 3, end=c.Finished()),
    c.AttemptOutput("inv_1a", 1, 2, 3, end=c.GaveUp(Failure(500, "m", (("k", "v"),)), pause=True)),
    c.TimerFired(10, 11),
    c.Complete("inv_1a", 1, None),
    c.Complete("inv_1a", 1, Success(b"")),
    c.Complete("inv_1a", 1, Failure(409, "cancelled")),
    c.Signal("inv_1a", 17, result=Success(b"v"), request_id=4),
    c.Attach("inv_1a", c.Caller("inv_1b", 7), wait=False),
    c.Cancel("inv_1a", 1),
    c.Kill("inv_1a"),
    c.Purge("inv_1a", 2),
    c.Delivered(0, 4, c.Kill("inv_1a")),
    c.Delivered(1, 5, c.Complete("inv_1a", 2, Failure(500, "x"))),
    c.OutboxDelivered(1, 5),
    c.LeaderElected(3, 1),
    c.MutateState("Counter", "k", ((b"n", b"1"), (b"", b"")), "v", 6),
    c.PurgeJournal("inv_1a", 3),
    c.Resume("inv_1a", 3, "dp_1a", 4),
    c.Pause("inv_1a", 3),
    c.RestartAsNew("inv_1a", "inv_1b", 3, 4, 2**64 - 1, "dp_1a"),
    c.Refuse("inv_1a", Failure(409, "m"), 5),
)


def test_every_command_class_is_sampled() -> None:
    assert {type(command) for command in ALL} == set(c.COMMAND_TAGS.values())


@pytest.mark.parametrize("command", ALL, ids=lambda command: type(command).__name__)
def test_a_command_comes_back_equal_and_canonical(command: c.Command) -> None:
    payload = COMMANDS.encode([command])
    assert decode_commands(payload) == [command]
    assert payload == cbor2.dumps(cbor2.loads(payload), canonical=True)


def test_a_meaningful_default_is_written() -> None:
    (_, fields) = cbor2.loads(COMMANDS.encode([ALL[1]]))[0]
    assert 11 in fields, "the retry policy's default may change; what was promised may not"
    assert 7 not in fields, "an absent key is left out"


def test_an_empty_key_is_not_an_absent_key() -> None:
    (found,) = decode_commands(COMMANDS.encode([ALL[0]]))
    assert isinstance(found, c.Invoke)
    assert found.idempotency_key == ""


def test_unknown_fields_are_ignored() -> None:
    payload = cbor2.dumps([[3, {1: 10, 2: 11, 23: "from a later version"}]])
    assert decode_commands(payload) == [c.TimerFired(10, 11)]


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({}, "an array"),
        ([3], r"\[tag, fields\]"),
        ([[99, {}]], "tag 99 is unknown"),
        ([[3, []]], "must be a map"),
        ([[3, {1: 10}]], "TimerFired.timer_id is missing"),
        ([[3, {1: "x", 2: 1}]], "TimerFired.due_ms: expected int, found str"),
        ([[3, {1: True, 2: 1}]], "expected int, found bool"),
        ([[4, {1: "i", 2: 1, 3: [9, {}]}]], "variant tag 9"),
        ([[1, {1: "i", 2: {1: "s", 2: "h"}, 3: 77, 4: 0, 5: b""}]], "77 is no ServiceType"),
        ([[1, {1: "i", 2: {1: "s", 2: "h"}, 3: 0, 4: 0, 5: b"", 6: [["a"]]}]], "expected 2 items"),
    ],
)
def test_a_wrong_shape_is_named(batch: object, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        decode_commands(cbor2.dumps(batch))


@given(st.binary())
def test_arbitrary_bytes_are_commands_or_a_codec_error(payload: bytes) -> None:
    try:
        found = decode_commands(payload)
    except CodecError:
        return
    assert isinstance(found, list)


def strategy_for(class_: type) -> st.SearchStrategy[object]:
    hints = typing.get_type_hints(class_)
    parts = {field.name: st.from_type(hints[field.name]) for field in attrs.fields(class_)}
    return st.builds(class_, **parts)


@given(st.data())
def test_any_value_of_any_class_survives(data: st.DataObject) -> None:
    class_ = data.draw(st.sampled_from(list(c.COMMAND_TAGS.values())))
    st.register_type_strategy(int, st.integers(-(2**63), 2**64 - 1))
    command = data.draw(strategy_for(class_))
    payload = COMMANDS.encode([command])
    assert COMMANDS.decode(payload) == [command]
    assert payload == cbor2.dumps(cbor2.loads(payload), canonical=True)


@given(st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=700) | st.text(max_size=300) | st.booleans())
def test_scalars_are_written_as_canonical_cbor(value: int | bytes | str | bool) -> None:
    assert SCALARS[type(value)](value) == cbor2.dumps(value, canonical=True)


@pytest.mark.parametrize("count", [0, 1, 23, 24, 255, 256, 70_000])
def test_long_batches_have_the_right_head(count: int) -> None:
    payload = COMMANDS.encode([c.TimerFired(1, 2)] * count)
    assert len(decode_commands(payload)) == count
    assert payload == cbor2.dumps(cbor2.loads(payload), canonical=True)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=30) | st.binary(max_size=30),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.integers(0, 300) | st.text(max_size=3), inner),
    max_leaves=40,
)


@given(PLAIN)
def test_plain_values_come_back(value: object) -> None:
    assert cbor2.loads(cbor.encode_plain(value)) == value


def test_what_has_no_plain_form_is_refused() -> None:
    with pytest.raises(TypeError, match="float has no plain form"):
        cbor.encode_plain([1.5])
