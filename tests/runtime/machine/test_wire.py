"""What is written by hand equals what protobuf writes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from understudy.protocol import service_pb2 as pb
from understudy_runtime.machine import wire
from understudy_runtime.model.invocation import Failure, Result, Success

U32 = st.integers(0, 2**32 - 1)
TEXT = st.text(max_size=200)
BYTES = st.binary(max_size=300)
FAILURES = st.builds(Failure, U32, TEXT, st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple))
RESULTS: st.SearchStrategy[Result | None] = st.none() | st.builds(Success, BYTES) | FAILURES


def with_result(notification: pb.Notification, result: Result | None) -> bytes:
    if result is None:
        notification.void.SetInParent()
    elif isinstance(result, Success):
        notification.value.SetInParent()
        notification.value.content = result.value
    else:
        pairs = [pb.FailureMetadata(key=key, value=value) for key, value in result.metadata]
        notification.failure.CopyFrom(pb.Failure(code=result.code, message=result.message, metadata=pairs))
    return notification.SerializeToString()


@given(U32, RESULTS)
def test_completions(completion_id: int, result: Result | None) -> None:
    expected = with_result(pb.Notification(completion_id=completion_id), result)
    assert wire.completion(completion_id, result) == expected


@given(U32, st.text(max_size=20), RESULTS)
def test_signals(index: int, name: str, result: Result | None) -> None:
    notification = pb.Notification(signal_name=name) if name else pb.Notification(signal_id=index)
    assert wire.signal(index, name, result) == with_result(notification, result)


@given(U32, TEXT)
def test_invocation_ids(completion_id: int, text: str) -> None:
    expected = pb.Notification(completion_id=completion_id, invocation_id=text).SerializeToString()
    assert wire.invocation_id_completion(completion_id, text) == expected


@given(U32, st.lists(BYTES, max_size=5))
def test_state_keys(completion_id: int, keys: list[bytes]) -> None:
    expected = pb.Notification(completion_id=completion_id, state_keys=pb.StateKeys(keys=keys)).SerializeToString()
    assert wire.state_keys_completion(completion_id, keys) == expected


@given(st.lists(st.tuples(TEXT, TEXT), max_size=4), BYTES)
def test_input(headers: list[tuple[str, str]], payload: bytes) -> None:
    pairs = [pb.Header(key=key, value=value) for key, value in headers]
    expected = pb.InputCommand(headers=pairs, value=pb.Value(content=payload)).SerializeToString()
    assert wire.input_command(headers, payload) == expected


@given(FAILURES)
def test_failures_come_back(failure: Failure) -> None:
    assert wire.failure_from(pb.Failure.FromString(wire.failure_message(failure))) == failure


@given(st.integers(0, 2**64 - 1))
def test_varints(value: int) -> None:
    assert pb.Start.FromString(b"\x48" + wire.varint(value)).random_seed == value
