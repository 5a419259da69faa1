"""The messages written by hand say, byte for byte, what protobuf says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from understudy.protocol import service_pb2 as pb
from understudy.vm import encoding

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
