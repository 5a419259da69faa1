"""What may come to the log, and whom it is about."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from understudy.protocol import service_pb2 as pb
from understudy.protocol.messages import MESSAGES
from understudy_runtime.machine.journal_entries import ENTRY_HANDLERS
from understudy_runtime.machine.validate import Addressed, AddressKind, InvalidEntry, addressed, validate_entry
from understudy_runtime.model import ids
from understudy_runtime.model.commands import AttemptOutput, Callee, ProposedEntry, Suspend
from understudy_runtime.model.invocation import Entry, HandlerType, ServiceType, Target

from tests.runtime.machine.driver import Driver, M, entry, make_id

ID = make_id(1)
AWAKEABLE = ids.awakeable_id(ID, 17)
CALL = {"service_name": "S", "handler_name": "h", "invocation_id_notification_idx": 1}
REQUEST = {"service_name": "S", "handler_name": "h", "idempotency_key": "i"}
FAILURE = pb.Failure(code=500, message="x")

GOOD: list[tuple[M, dict[str, Any]]] = [
    (M.PROPOSE_RUN_COMPLETION, {"result_completion_id": 1, "value": b""}),
    (M.PROPOSE_RUN_COMPLETION, {"result_completion_id": 1, "failure": FAILURE}),
    (M.OUTPUT, {"value": pb.Value()}),
    (M.GET_LAZY_STATE, {"result_completion_id": 1}),
    (M.SET_STATE, {"key": b"k", "value": pb.Value()}),
    (M.CLEAR_STATE, {"key": b"k"}),
    (M.CLEAR_ALL_STATE, {}),
    (M.GET_LAZY_STATE_KEYS, {"result_completion_id": 1}),
    (M.GET_EAGER_STATE, {"key": b"k", "void": pb.Void()}),
    (M.GET_EAGER_STATE_KEYS, {}),
    (M.GET_PROMISE, {"key": "p", "result_completion_id": 1}),
    (M.PEEK_PROMISE, {"key": "p", "result_completion_id": 1}),
    (M.COMPLETE_PROMISE, {"key": "p", "completion_value": pb.Value(), "result_completion_id": 1}),
    (M.SLEEP, {"result_completion_id": 1}),
    (M.CALL, {**CALL, "result_completion_id": 2}),
    (M.CALL, {**CALL, "result_completion_id": 2, "idempotency_key": "i"}),
    (M.ONE_WAY_CALL, {**CALL, "invoke_time": 2**64 - 1}),
    (M.SEND_SIGNAL, {"target_invocation_id": ID, "idx": 1, "void": pb.Void()}),
    (M.SEND_SIGNAL, {"target_invocation_id": ID, "name": "go", "value": pb.Value()}),
    (M.RUN, {"result_completion_id": 1}),
    (M.ATTACH_INVOCATION, {"invocation_id": ID, "result_completion_id": 1}),
    (M.ATTACH_INVOCATION, {"idempotent_request_target": REQUEST, "result_completion_id": 1}),
    (M.GET_INVOCATION_OUTPUT, {"workflow_target": {"workflow_name": "W"}, "result_completion_id": 1}),
    (M.COMPLETE_AWAKEABLE, {"awakeable_id": AWAKEABLE, "value": pb.Value()}),
]

BAD: list[tuple[M, dict[str, Any], str]] = [
    (M.PROPOSE_RUN_COMPLETION, {"value": b""}, "no completion id"),
    (M.PROPOSE_RUN_COMPLETION, {"result_completion_id": 1}, "no result"),
    (M.OUTPUT, {}, "no result"),
    (M.GET_LAZY_STATE, {"key": b"k"}, "no completion id"),
    (M.GET_LAZY_STATE_KEYS, {}, "no completion id"),
    (M.GET_PROMISE, {"key": "p"}, "no completion id"),
    (M.PEEK_PROMISE, {"key": "p"}, "no completion id"),
    (M.COMPLETE_PROMISE, {"key": "p", "result_completion_id": 1}, "no completion:"),
    (M.COMPLETE_PROMISE, {"key": "p", "completion_value": pb.Value()}, "no completion id"),
    (M.SLEEP, {"wake_up_time": 1}, "no completion id"),
    (M.CALL, CALL, "no completion id"),
    (M.CALL, {"service_name": "S", "handler_name": "h", "result_completion_id": 2}, "callee's id"),
    (M.CALL, {**CALL, "result_completion_id": 2, "service_name": ""}, "names no callee"),
    (M.ONE_WAY_CALL, {**CALL, "handler_name": ""}, "names no callee"),
    (M.ONE_WAY_CALL, {**CALL, "idempotency_key": ""}, "empty idempotency key"),
    (M.SEND_SIGNAL, {"target_invocation_id": "inv_1x", "idx": 1, "void": pb.Void()}, "no invocation id"),
    (M.SEND_SIGNAL, {"target_invocation_id": ID, "void": pb.Void()}, "names no signal"),
    (M.SEND_SIGNAL, {"target_invocation_id": ID, "idx": 0, "void": pb.Void()}, "names no signal"),
    (M.SEND_SIGNAL, {"target_invocation_id": ID, "name": "", "void": pb.Void()}, "names no signal"),
    (M.SEND_SIGNAL, {"target_invocation_id": ID, "idx": 1}, "no result"),
    (M.RUN, {"name": "step"}, "no completion id"),
    (M.ATTACH_INVOCATION, {"invocation_id": ID}, "no completion id"),
    (M.ATTACH_INVOCATION, {"result_completion_id": 1}, "addresses nothing"),
    (M.ATTACH_INVOCATION, {"invocation_id": "x", "result_completion_id": 1}, "no invocation id"),
    (M.GET_INVOCATION_OUTPUT, {"workflow_target": {}, "result_completion_id": 1}, "names no workflow"),
    (
        M.GET_INVOCATION_OUTPUT,
        {"idempotent_request_target": {**REQUEST, "idempotency_key": ""}, "result_completion_id": 1},
        "idempotency key",
    ),
    (M.COMPLETE_AWAKEABLE, {"awakeable_id": "prom_1", "value": pb.Value()}, "no awakeable id"),
    (M.COMPLETE_AWAKEABLE, {"awakeable_id": AWAKEABLE}, "no result"),
]


@pytest.mark.parametrize(("type_", "fields"), GOOD)
def test_good_entries_pass(type_: M, fields: dict[str, Any]) -> None:
    validate_entry(entry(type_, **fields))


def test_every_type_has_a_good_sample() -> None:
    assert {type_ for type_, _ in GOOD} == set(ENTRY_HANDLERS)


@pytest.mark.parametrize(("type_", "fields", "says"), BAD)
def test_bad_entries_are_refused(type_: M, fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidEntry, match=says) as refused:
        validate_entry(entry(type_, **fields))
    assert type_.name in str(refused.value)


@pytest.mark.parametrize("type_", [0x0000, 0x0003, 0x0006, 0x0400, 0x040F, 0x0415, 0x8011, 0xFBFF, 0xFC00])
def test_what_is_no_command_of_an_sdk_is_refused(type_: int) -> None:
    with pytest.raises(InvalidEntry, match=f"0x{type_:04X}"):
        validate_entry(Entry(type_, b""))


def test_what_a_handler_may_not_do_is_refused() -> None:
    write = entry(M.SET_STATE, key=b"k", value=pb.Value())
    with pytest.raises(InvalidEntry, match="shared handler"):
        validate_entry(write, ServiceType.VIRTUAL_OBJECT, HandlerType.SHARED)
    validate_entry(write, ServiceType.VIRTUAL_OBJECT, HandlerType.EXCLUSIVE)
    validate_entry(write, ServiceType.WORKFLOW, HandlerType.WORKFLOW)
    promise = entry(M.PEEK_PROMISE, key="p", result_completion_id=1)
    with pytest.raises(InvalidEntry, match="outside a workflow"):
        validate_entry(promise, ServiceType.VIRTUAL_OBJECT, HandlerType.EXCLUSIVE)
    validate_entry(promise, ServiceType.WORKFLOW, HandlerType.SHARED)


def test_whom_an_entry_is_about() -> None:
    call = {**CALL, "key": "k", "result_completion_id": 2}
    by_id = Addressed(AddressKind.INVOCATION, invocation_id=ID)
    by_request = {"idempotent_request_target": {**REQUEST, "service_key": "k"}, "result_completion_id": 1}
    by_workflow = {"workflow_target": {"workflow_name": "W", "workflow_key": "k"}, "result_completion_id": 1}
    cases: list[tuple[M, dict[str, Any], Addressed | None]] = [
        (M.CALL, call, Addressed(AddressKind.CALL, "S", "h", "k")),
        (M.CALL, {**call, "idempotency_key": "i"}, Addressed(AddressKind.CALL, "S", "h", "k", "i")),
        (M.ONE_WAY_CALL, CALL, Addressed(AddressKind.CALL, "S", "h", "")),
        (M.ATTACH_INVOCATION, {"invocation_id": ID, "result_completion_id": 1}, by_id),
        (M.ATTACH_INVOCATION, by_request, Addressed(AddressKind.REQUEST, "S", "h", "k", "i")),
        (M.GET_INVOCATION_OUTPUT, by_workflow, Addressed(AddressKind.WORKFLOW_RUN, "W", "", "k")),
        (M.SEND_SIGNAL, {"target_invocation_id": ID, "idx": 1, "void": pb.Void()}, by_id),
        (M.COMPLETE_AWAKEABLE, {"awakeable_id": AWAKEABLE, "value": pb.Value()}, by_id),
        (M.RUN, {"result_completion_id": 1}, None),
    ]
    for type_, fields, expected in cases:
        assert addressed(entry(type_, **fields)) == expected
    unkeyed = {"idempotent_request_target": REQUEST, "result_completion_id": 1}
    assert addressed(entry(M.ATTACH_INVOCATION, **unkeyed)) == Addressed(AddressKind.REQUEST, "S", "h", None, "i")


GOOD_PAYLOADS = {int(type_): entry(type_, **fields).payload for type_, fields in GOOD}


@st.composite
def hostile_entries(draw: st.DrawFn) -> Entry:
    """Arbitrary bytes, and good payloads with bytes changed, cut or repeated."""
    type_ = draw(st.sampled_from(sorted(GOOD_PAYLOADS)) | st.integers(0, 0xFFFF))
    payload = bytearray(GOOD_PAYLOADS.get(type_, b"")) * draw(st.integers(1, 2))
    for _ in range(draw(st.integers(0, 3))):
        if payload:
            payload[draw(st.integers(0, len(payload) - 1))] = draw(st.integers(0, 255))
    return Entry(type_, bytes(payload)[: draw(st.integers(0, 64))] + draw(st.binary(max_size=8)))


@given(st.lists(hostile_entries(), max_size=6), st.sampled_from(list(ServiceType)), st.booleans())
@settings(max_examples=300, deadline=None)
def test_what_passes_can_be_applied(entries: list[Entry], service_type: ServiceType, exclusive: bool) -> None:
    driver = Driver()
    handler_type = HandlerType.EXCLUSIVE if exclusive else HandlerType.SHARED
    key = None if service_type is ServiceType.SERVICE else "k"
    id_ = driver.invoke(Target("S", "h", key), service_type=service_type, handler_type=handler_type)
    passed = []
    for found in entries:
        with contextlib.suppress(InvalidEntry):
            validate_entry(found, service_type, handler_type)
            callee = None if addressed(found) is None else Callee(driver.id())
            passed.append(ProposedEntry(found, callee))
    driver.do(AttemptOutput(id_, 1, 1, 1, tuple(passed), Suspend((1, 2), (1,))))
    state = dict(driver.tables.state("S", "k"))
    assert driver.reload().state("S", "k") == state


def test_every_payload_class_is_known() -> None:
    assert all(type_ in MESSAGES for type_ in ENTRY_HANDLERS)
