"""Steps of a journal as people say them: one line each, values shown as far as they are short text.

For reports about journals, not for the hot path; nothing is decided by these texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Any, Final

from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import is_command
from understudy.vm import Leaf, VmError, codes
from understudy.vm.awaits import CANCEL
from understudy.vm.journal import decode, type_name

VALUE_CHARS_MAX: Final = 60


def command_in_words(type_: int, payload: bytes) -> str:
    """The command of *type_* in *payload*; its type and size when the bytes are no such command."""
    say = _WORDS.get(type_)
    try:
        message: Any = decode(type_, payload)
    except (VmError, ValueError):
        return f"{type_name(type_)} ({len(payload)} bytes that cannot be decoded)"
    return say(message) if say is not None else type_name(type_)


def key_in_words(key: Leaf, frames: Iterable[Frame]) -> str:
    """What the completion id or signal *key* is, given the journal's *frames*."""
    if isinstance(key, str):
        return f"the signal {key!r}"
    if key == CANCEL:
        return "a cancel"
    if key < 0:
        return f"the awakeable {-key - 16}"
    index = -1
    for frame in frames:
        if not is_command(frame.type):
            continue
        index += 1
        message: Any = decode(frame.type, frame.payload)
        if getattr(message, "result_completion_id", 0) == key:
            return f"the result of step {index}, {command_in_words(frame.type, frame.payload)}"
        if getattr(message, "invocation_id_notification_idx", 0) == key:
            return f"the invocation id of step {index}, {command_in_words(frame.type, frame.payload)}"
    return f"completion {key}"


def value_in_words(value: bytes) -> str:
    """Short printable text as it is, else how long it is."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return f"{len(value)} bytes"
    return text if text.isprintable() and len(text) <= VALUE_CHARS_MAX else f"{len(value)} bytes"


def _with(value: bytes) -> str:
    return f" with {value_in_words(value)}" if value else ""


def _named(message: Any) -> str:
    return f", named {message.name!r}" if message.name else ""


def _failure(failure: pb.Failure) -> str:
    return f"failure {failure.code}: {failure.message}"


def _target(message: Any) -> str:
    parts = (message.service_name, message.key, message.handler_name)
    with_key = f" (idempotency key {message.idempotency_key!r})" if message.idempotency_key else ""
    return "/".join(part for part in parts if part) + _with(message.parameter) + with_key


def _state_key(message: Any) -> str:
    return repr(message.key.decode("utf-8", "replace"))


def _output(message: Any) -> str:
    if message.WhichOneof("result") == "failure":
        return f"end with {_failure(message.failure)}"
    return f"return {value_in_words(message.value.content) or 'nothing'}"


def _set(message: Any) -> str:
    return f"set state {_state_key(message)} to {value_in_words(message.value.content)}{_named(message)}"


def _complete_promise(message: Any) -> str:
    if message.WhichOneof("completion") == "completion_failure":
        return f"reject promise {message.key!r} with {_failure(message.completion_failure)}"
    return f"resolve promise {message.key!r}{_with(message.completion_value.content)}"


def _complete_awakeable(message: Any) -> str:
    if message.WhichOneof("result") == "failure":
        return f"reject awakeable {message.awakeable_id} with {_failure(message.failure)}"
    return f"resolve awakeable {message.awakeable_id}{_with(message.value.content)}"


def _send_signal(message: Any) -> str:
    if message.WhichOneof("signal_id") == "idx":
        return f"cancel {message.target_invocation_id}" if message.idx == 1 else f"send signal {message.idx}"
    if message.WhichOneof("result") == "failure":
        return f"send signal {message.name!r} to {message.target_invocation_id}: {_failure(message.failure)}"
    return f"send signal {message.name!r} to {message.target_invocation_id}{_with(message.value.content)}"


_WORDS: Final = MappingProxyType[int, Callable[[Any], str]](
    {
        codes.INPUT: lambda m: f"the input{_with(m.value.content)}",
        codes.OUTPUT: _output,
        codes.GET_LAZY_STATE: lambda m: f"get state {_state_key(m)}{_named(m)}",
        codes.GET_EAGER_STATE: lambda m: f"get state {_state_key(m)}{_named(m)}",
        codes.GET_LAZY_STATE_KEYS: lambda m: f"get the state's keys{_named(m)}",
        codes.GET_EAGER_STATE_KEYS: lambda m: f"get the state's keys{_named(m)}",
        codes.SET_STATE: _set,
        codes.CLEAR_STATE: lambda m: f"clear state {_state_key(m)}{_named(m)}",
        codes.CLEAR_ALL_STATE: lambda m: f"clear all state{_named(m)}",
        codes.GET_PROMISE: lambda m: f"wait for promise {m.key!r}",
        codes.PEEK_PROMISE: lambda m: f"look at promise {m.key!r}",
        codes.COMPLETE_PROMISE: _complete_promise,
        codes.SLEEP: lambda m: f"sleep{_named(m)}",
        codes.CALL: lambda m: f"call {_target(m)}",
        codes.ONE_WAY_CALL: lambda m: f"send {_target(m)}{', later' if m.invoke_time else ''}",
        codes.SEND_SIGNAL: _send_signal,
        codes.RUN: lambda m: f"run {m.name!r}",
        codes.ATTACH_INVOCATION: lambda m: f"attach to {m.invocation_id}",
        codes.GET_INVOCATION_OUTPUT: lambda m: f"look at the output of {m.invocation_id}",
        codes.COMPLETE_AWAKEABLE: _complete_awakeable,
    }
)
