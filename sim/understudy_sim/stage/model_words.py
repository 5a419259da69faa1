"""The reference model's words: what it keeps of an invocation, and what a stored entry means."""

from __future__ import annotations

import struct
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple

import attrs
from understudy.protocol import service_pb2 as pb
from understudy.protocol.messages import MessageType as M
from understudy_runtime.model import commands as c
from understudy_runtime.model.invocation import Failure, Result, Status, Success, Target

VOID: Final = "void"


class Note(NamedTuple):
    """A notification: its type, whom it answers (completion id, signal index or signal name) and what it says."""

    type: int
    answers: int | str
    says: Any


def saying(result: Result | None) -> Any:
    return VOID if result is None else result


def key_of(target: Target) -> tuple[str, str]:
    assert target.key is not None, f"P1: {target.service}/{target.handler} has no key"
    return target.service, target.key


def one_of(message: Any, group: str) -> Any:
    """What the oneof *group* of *message* says, in the model's words."""
    field = message.WhichOneof(group)
    value = None if field is None else getattr(message, field)
    if isinstance(value, pb.Failure):
        return Failure(value.code, value.message, tuple((pair.key, pair.value) for pair in value.metadata))
    if isinstance(value, pb.Value):
        return Success(value.content)
    if isinstance(value, pb.StateKeys):
        return tuple(value.keys)
    return Success(value) if isinstance(value, bytes) else value if isinstance(value, str) else VOID


def note_of(type_: int, payload: bytes) -> Note:
    """A stored notification entry in the model's words."""
    message = pb.Notification.FromString(payload)
    field = message.WhichOneof("id")
    assert field is not None, "P7: a notification answers something"
    return Note(type_, getattr(message, field), one_of(message, "result"))


def input_of(command: c.Invoke) -> bytes:
    """The first entry of a journal, as protobuf writes it: what the invocation was asked, and with which headers."""
    message = pb.InputCommand(value=pb.Value(content=command.payload))
    for name, value in command.headers:
        message.headers.add(key=name, value=value)
    return message.SerializeToString()


def resolves(awaiting: c.Suspend, entry: tuple[int, bytes] | Note) -> bool:
    if not isinstance(entry, Note):
        return False
    if entry.type != M.SIGNAL_NOTIFICATION:
        return entry.answers in awaiting.completions
    return entry.answers in awaiting.signals or entry.answers in awaiting.named_signals


def version_of(state: Mapping[bytes, bytes]) -> str:
    """The digest that names a whole state, by which a state mutation says what it was made for."""
    pairs = enumerate(sorted(state.items()))
    text = b"".join(struct.pack(">Q", n) + b"\1" + name + b"\2" + value + b"\3" for n, (name, value) in pairs)
    return urlsafe_b64encode(sha256(text).digest()).decode().rstrip("=")


def second_of(expires_ms: int) -> int:
    """The second at whose begin *expires_ms* is over."""
    return (expires_ms + 999) // 1000


class Timer(NamedTuple):
    """`what` is start, sleep or retention."""

    due_ms: int
    what: str
    invocation_id: str
    completion_id: int


@attrs.define
class Invocation:
    command: c.Invoke
    status: Status
    callers: list[c.Caller]
    birth: int  # the record that accepted it
    journal: list[tuple[int, bytes] | Note] = attrs.Factory(list)
    lease: int = 0
    lease_entries: int = 0  # journal length when the lease began
    stored_ms: int = (
        0  # when it began, or something of it was stored after that: what is told of tries counts from here
    )
    attempt: tuple[int, int] = (0, 0)  # (epoch, attempt) heard last
    awaiting: c.Suspend | None = None
    result: Result | None = None
    expires_ms: int = 0
    journal_until_ms: int = 0
    expects: dict[int, int] = attrs.Factory(dict)  # completion id -> type of the completion that will answer it
    callees: list[str] = attrs.Factory(list)
    is_pinned: bool = False  # something of it is journaled: it stays where it ran
    protocol: int = 0  # the version it speaks there


@attrs.define
class Effects:
    """What one record must have done: touched rows, and `wanted`, the visible actions in order."""

    invocations: dict[str, None] = attrs.Factory(dict)
    keys: dict[tuple[str, str], None] = attrs.Factory(dict)
    wanted: list[tuple[Any, ...]] = attrs.Factory(list)
    accepted: list[c.Invoke] = attrs.Factory(list)
    completed: dict[str, Result] = attrs.Factory(dict)
    placed: list[tuple[str, c.Invoke]] = attrs.Factory(list)  # calls journaled: (caller's id, what it asked for)
    cancels: list[tuple[str, str]] = attrs.Factory(list)  # cancels journaled: (who sent it, to whom)
