"""The messages written by hand say, byte for byte, what protobuf says; those read by hand mean what it reads."""

from __future__ import annotations

from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from understudy.protocol import service_pb2 as pb
from understudy.vm import encoding, journal

ids = st.integers(1, 2**32 - 1)
names = st.text(max_size=200)
blobs = st.binary(max_size=300)


@given(ids, names)
def test_run(completion_id: int, name: str) -> None:
    expected = pb.RunCommand(result_completion_id=completion_id, name=name).SerializeToString()
    assert encoding.run_command(completion_id, name) == expected


@given(ids, blobs)
def test_propose(completion_id: int, value: bytes) -> None:
    expected = pb.ProposeRunCompletion(result_completion_id=completion_id, value=value).SerializeToString()
    assert encoding.propose_value(completion_id, value) == expected


@given(blobs)
def test_output(value: bytes) -> None:
    expected = pb.OutputCommand(value=pb.Value(content=value)).SerializeToString()
    assert encoding.output_value(value) == expected


@given(blobs, blobs, names)
def test_set_state(key: bytes, value: bytes, name: str) -> None:
    expected = pb.SetStateCommand(key=key, value=pb.Value(content=value), name=name).SerializeToString()
    assert encoding.set_state_command(key, value, name) == expected


@given(blobs, st.none() | blobs, names)
def test_get_eager_state(key: bytes, value: bytes | None, name: str) -> None:
    message = pb.GetEagerStateCommand(key=key, name=name)
    if value is None:
        message.void.SetInParent()
    else:
        message.value.CopyFrom(pb.Value(content=value))
    assert encoding.get_eager_state_command(key, value, name) == message.SerializeToString()


@given(st.integers(0, 2**63), ids, names)
def test_sleep(wake_up_time_ms: int, completion_id: int, name: str) -> None:
    message = pb.SleepCommand(wake_up_time=wake_up_time_ms, result_completion_id=completion_id, name=name)
    assert encoding.sleep_command(wake_up_time_ms, completion_id, name) == message.SerializeToString()


@given(names, names, names, st.none() | st.text(min_size=1, max_size=200), blobs, ids, ids)
def test_call(
    service: str, handler: str, key: str, idempotency_key: str | None, parameter: bytes, id_key: int, result_key: int
) -> None:
    message = pb.CallCommand(
        service_name=service,
        handler_name=handler,
        parameter=parameter,
        key=key,
        idempotency_key=idempotency_key,
        invocation_id_notification_idx=id_key,
        result_completion_id=result_key,
    )
    target = (service, handler, key, idempotency_key)
    assert encoding.call_command(target, parameter, id_key, result_key) == message.SerializeToString()


# -- what is read by hand is what protobuf reads, or is left to it --

notifications = st.builds(
    lambda key, value, kind: _note(key, value, kind),
    st.one_of(st.integers(0, 300), ids),
    st.binary(max_size=200),
    st.sampled_from(["value", "void", "failure", "invocation_id"]),
)


def _note(key: int, value: bytes, kind: str) -> bytes:
    message = pb.Notification(completion_id=key)
    if kind == "value":
        message.value.content = value
        message.value.SetInParent()
    elif kind == "invocation_id":
        message.invocation_id = "inv_1x"
    else:
        getattr(message, kind).SetInParent()
    return message.SerializeToString()


def tampered(payloads: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Messages, messages with a byte changed or cut off, and any bytes."""
    changed = st.builds(
        lambda data, at, byte: data[: at % (len(data) + 1)] + bytes([byte]) + data[at % (len(data) + 1) + 1 :],
        payloads,
        st.integers(0, 250),
        st.integers(0, 255),
    )
    return st.one_of(payloads, changed, st.builds(lambda data, cut: data[:cut], payloads, st.integers(0, 20)), blobs)


def by_protobuf(payload: bytes) -> object:
    """What protobuf makes of a notification; None for what it cannot read."""
    try:
        message = pb.Notification.FromString(payload)
    except DecodeError:
        return None
    if message.WhichOneof("id") != "completion_id":
        return None
    kind = message.WhichOneof("result")
    return message.completion_id, (kind, message.value.content if kind == "value" else None)


@settings(max_examples=500)
@given(tampered(notifications))
def test_notifications_read_by_hand(payload: bytes) -> None:
    plain = journal.decode_plain(payload)
    assert plain is None or plain == by_protobuf(payload)


@given(st.integers(1, 16_383), st.binary(max_size=100))
def test_the_plain_notifications_are_read_by_hand(key: int, value: bytes) -> None:
    assert journal.decode_plain(_note(key, value, "value")) == (key, ("value", value))
    assert journal.decode_plain(_note(key, b"", "void")) == (key, ("void", None))


@settings(max_examples=500)
@given(
    st.binary(max_size=3),
    st.text(max_size=3),
    tampered(st.builds(encoding.get_eager_state_command, blobs, blobs, names)),
)
def test_eager_reads_read_by_hand(key: bytes, name: str, payload: bytes) -> None:
    head = encoding.eager_state_head(key, name)
    for one in (payload, head + payload):
        value = journal.eager_value(one, head)
        if value is not ...:
            message = pb.GetEagerStateCommand.FromString(one)
            assert (message.key, message.name) == (key, name)
            assert value == (message.value.content if message.WhichOneof("result") == "value" else None)


@given(blobs, st.none() | st.binary(max_size=100), names)
def test_the_plain_eager_reads_are_read_by_hand(key: bytes, value: bytes | None, name: str) -> None:
    payload = encoding.get_eager_state_command(key, value, name)
    assert journal.eager_value(payload, encoding.eager_state_head(key, name)) == value


sleeps = st.builds(encoding.sleep_command, st.integers(0, 2**63), ids, names)


@settings(max_examples=500)
@given(tampered(sleeps), sleeps)
def test_sleeps_compared_by_hand(recorded: bytes, attempted: bytes) -> None:
    if journal.same_sleep(recorded, attempted):
        assert pb.SleepCommand.FromString(recorded).name == pb.SleepCommand.FromString(attempted).name


@given(st.integers(1, 2**63), ids, st.integers(1, 2**63), ids, names)
def test_the_same_sleeps_are_told_by_hand(first: int, one: int, second: int, other: int, name: str) -> None:
    recorded, attempted = encoding.sleep_command(first, one, name), encoding.sleep_command(second, other, name)
    assert journal.same_sleep(recorded, attempted)
