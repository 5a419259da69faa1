"""How the tables lie in storage: keys, and values as integer-keyed CBOR.

A key is a table's letter, then the partition key where the row belongs to one, then what names the row.  Numbers of
fields are never reused; unknown ones are ignored.  FORMAT grows when an older build could misread what a newer wrote.

    m                               meta: format, counters, epoch
    l <raw id>                      an invocation that runs: what a leader starts with
    z <raw id>                      one that waits: for its time, its lock, what it awaits, or a human
    c <raw id>                      a completed one whose result is kept
    j <raw id> <index>              a journal entry of any of them
    s <partition key> <object> <name>   one value of an object's state
    p <partition key> <object> <name>   one promise of a workflow
    o <partition key> <object>      who holds an object's lock, and who and what waits for it
    w <due ms> <timer id>           a timer
    e <second> <number>             ids of completed invocations to look at when the second is over
    x <target partition> <sequence> an outbox message
    d <source partition>            the last sequence seen of a partition

Format 1 kept whatever was not completed under l, timers under t <partition key> <timer id>, and no locks.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Final

import attrs
import cbor2

from understudy_runtime.log import cbor
from understudy_runtime.log.codec import class_decoder, class_encoder, converters, last_remembered
from understudy_runtime.machine.invocation import Invocation
from understudy_runtime.model import ids
from understudy_runtime.model.commands import (
    Attach,
    Caller,
    Cancel,
    Complete,
    Invoke,
    Kill,
    MutateState,
    Signal,
    Suspend,
)
from understudy_runtime.model.fields import numbered
from understudy_runtime.model.invocation import (
    Entry,
    HandlerType,
    Result,
    RetryPolicy,
    ServiceType,
    Status,
    Target,
)

FORMAT: Final = 2

META: Final = b"m"
LIVE: Final = b"l"
WAITING: Final = b"z"
COMPLETED: Final = b"c"
JOURNAL: Final = b"j"
STATE: Final = b"s"
PROMISE: Final = b"p"
BUSY: Final = b"o"
TIMER: Final = b"w"
TIMER_OLD: Final = b"t"
EXPIRY: Final = b"e"
OUTBOX: Final = b"x"
DEDUP: Final = b"d"

Message = Invoke | Complete | Signal | Attach | Cancel | Kill

_U32: Final = struct.Struct(">I")
_U64: Final = struct.Struct(">Q")


@attrs.frozen
class Timer:
    """A wake-up the tables hold.  `kind` says what it wakes; `completion_id` is that of a sleep."""

    due_ms: int = numbered(1)
    kind: int = numbered(2)
    invocation_id: str = numbered(3)
    completion_id: int = numbered(4, default=0)


@attrs.define(eq=False, slots=True)
class Promise:
    """A workflow's promise: its result once it has one, until then who waits for it."""

    result: Result | None = numbered(1, default=None)
    listeners: tuple[Caller, ...] = numbered(2, default=())


def journal_key(raw: bytes, index: int) -> bytes:
    assert len(raw) == ids.RAW_ID_BYTES, "journal rows are named by raw ids"
    return JOURNAL + raw + _U32.pack(index)


def object_prefix(table: bytes, service: str, key: str) -> bytes:
    """What all rows of an object start with.  Lengths come first, so that no object's prefix starts another's."""
    service_bytes, key_bytes = service.encode(), key.encode()
    lengths = _U32.pack(len(service_bytes)) + _U32.pack(len(key_bytes))
    return table + _U64.pack(ids.partition_key_for_key(key)) + lengths + service_bytes + key_bytes


def object_place(key: bytes) -> tuple[str, str]:
    """(service, key) of an object's row that has nothing behind its prefix."""
    service_length, key_length = _U32.unpack(key[9:13])[0], _U32.unpack(key[13:17])[0]
    assert len(key) == 17 + service_length + key_length, "a row of the object as a whole"
    return key[17 : 17 + service_length].decode(), key[17 + service_length :].decode()


def timer_key(due_ms: int, timer_id: int) -> bytes:
    return TIMER + _U64.pack(due_ms) + _U64.pack(timer_id)


def timer_place(key: bytes) -> tuple[int, int]:
    """(due time, timer id) of a timer's key."""
    assert key[:1] == TIMER, "a timer's key"
    return int(_U64.unpack(key[1:9])[0]), int(_U64.unpack(key[9:])[0])


def old_timer_id(key: bytes) -> int:
    """The timer id in a key of format 1."""
    assert key[:1] == TIMER_OLD, "a timer's key of format 1"
    return int(_U64.unpack(key[-8:])[0])


def expiry_prefix(bucket: int) -> bytes:
    return EXPIRY + _U64.pack(bucket)


def expiry_key(bucket: int, number: int) -> bytes:
    return EXPIRY + _U64.pack(bucket) + _U32.pack(number)


def expiry_chunk(key: bytes) -> tuple[int, int]:
    """(second, number) of an expiry row."""
    assert key[:1] == EXPIRY, "an expiry row's key"
    assert len(key) == 13, "it names a second and a chunk in it"
    return int(_U64.unpack(key[1:9])[0]), int(_U32.unpack(key[9:])[0])


def outbox_key(target_partition: int, sequence: int) -> bytes:
    return OUTBOX + _U32.pack(target_partition) + _U64.pack(sequence)


def outbox_place(key: bytes) -> tuple[int, int]:
    """(target partition, sequence) of an outbox key."""
    assert key[:1] == OUTBOX, "an outbox key"
    assert len(key) == 13, "an outbox key names a partition and a sequence"
    return int(_U32.unpack(key[1:5])[0]), int(_U64.unpack(key[5:])[0])


def dedup_key(source_partition: int) -> bytes:
    return DEDUP + _U32.pack(source_partition)


def dedup_source(key: bytes) -> int:
    assert key[:1] == DEDUP, "a dedup key"
    assert len(key) == 5, "a dedup key names a partition"
    return int(_U32.unpack(key[1:])[0])


def encode(value: Any) -> bytes:
    """Plain values (numbers, text, bytes, lists, integer-keyed maps) as bytes."""
    return cbor.encode_plain(value)


def decode(data: bytes) -> Any:
    return cbor2.loads(data)


_encode_timer: Final = class_encoder(Timer)
_decode_timer: Final = class_decoder(Timer)
_encode_promise: Final = class_encoder(Promise)
_decode_promise: Final = class_decoder(Promise)
_encode_message, _decode_message = converters(Message)
_encode_target: Final = class_encoder(Target)
_decode_target: Final = class_decoder(Target)
_encode_policy: Final = last_remembered(class_encoder(RetryPolicy))
_decode_policy: Final = class_decoder(RetryPolicy)
_encode_suspend: Final = class_encoder(Suspend)
_decode_suspend: Final = class_decoder(Suspend)
_encode_mutation: Final = class_encoder(MutateState)
_decode_mutation: Final = class_decoder(MutateState)
_encode_result, _decode_result = converters(Result)


def encode_timer(timer: Timer) -> bytes:
    return _encode_timer(timer)


def decode_timer(data: bytes) -> Timer:
    timer: Timer = _decode_timer(cbor2.loads(data))
    return timer


def encode_promise(promise: Promise) -> bytes:
    return _encode_promise(promise)


def decode_promise(data: bytes) -> Promise:
    promise: Promise = _decode_promise(cbor2.loads(data))
    return promise


def encode_busy(holder: str | None, inbox: Mapping[int, str | MutateState]) -> bytes:
    """An object's lock and inbox: [holder, [place, id], ...], a mutation as the map of its fields."""
    parts = [cbor.encode_plain(holder)]
    for sequence, waits in inbox.items():
        item = cbor.encode_text(waits) if type(waits) is str else _encode_mutation(waits)
        parts.append(cbor.encode_array((cbor.encode_int(sequence), item)))
    return cbor.encode_array(parts)


def decode_busy(data: bytes) -> tuple[str | None, dict[int, str | MutateState]]:
    holder, *waiting = cbor2.loads(data)
    inbox = {place: waits if type(waits) is str else _decode_mutation(waits) for place, waits in waiting}
    return holder, inbox


def encode_message(message: Message) -> bytes:
    return _encode_message(message)


def decode_message(data: bytes) -> Message:
    message: Message = _decode_message(cbor2.loads(data))
    return message


def encode_entry(entry: Entry) -> bytes:
    return cbor.encode_array((cbor.encode_int(entry.type), cbor.encode_bytes(entry.payload)))


def decode_entry(data: bytes) -> Entry:
    return Entry(*cbor2.loads(data))


# The fields of an invocation's row: number, name.  Each value is its own plain form and left out when it is empty.
_PLAIN_FIELDS: Final = (
    (5, "idempotency_key"),
    (6, "execution_time_ms"),
    (7, "created_ms"),
    (8, "completion_retention_ms"),
    (9, "random_seed"),
    (11, "schema_revision"),
    (13, "lease"),
    (14, "start_sequence"),
    (15, "lease_entries"),
    (16, "inbox_sequence"),
    (17, "attempt_epoch"),
    (18, "attempt_last"),
    (20, "deployment_id"),
    (21, "protocol_version"),
    (22, "journal_length"),
    (23, "command_count"),
    (24, "last_append_ms"),
    (25, "open_completions"),
    (26, "completion_id_last"),
    (27, "signals"),
    (31, "completed_ms"),
    (32, "expires_ms"),
    (33, "birth"),
    (34, "journal_retention_ms"),
)

_plain_values: Final = attrgetter(*(name for _, name in _PLAIN_FIELDS))


_PLAIN_KEYS: Final = tuple(cbor.encode_int(number) for number, _ in _PLAIN_FIELDS)
_ID, _TARGET, _SERVICE_TYPE, _HANDLER_TYPE, _POLICY, _STATUS = (cbor.encode_int(n) for n in (1, 2, 3, 4, 10, 12))
_CALLERS, _TIMERS, _AWAITING, _RESULT = (cbor.encode_int(n) for n in (19, 28, 29, 30))


def encode_invocation(invocation: Invocation) -> bytes:
    """Everything about *invocation* but its journal."""
    encode_int, encode_plain = cbor.encode_int, cbor.encode_plain
    parts: list[bytes] = [
        b"",
        _ID,
        cbor.encode_text(invocation.id),
        _TARGET,
        _encode_target(invocation.target),
        _SERVICE_TYPE,
        encode_int(invocation.service_type),
        _HANDLER_TYPE,
        encode_int(invocation.handler_type),
        _POLICY,
        _encode_policy(invocation.retry_policy),
        _STATUS,
        encode_int(invocation.status),
    ]
    for key, value in zip(_PLAIN_KEYS, _plain_values(invocation), strict=True):
        if value:
            parts += (key, encode_int(value) if type(value) is int else encode_plain(value))
        elif value == "":
            parts += (key, encode_plain(value))
    if invocation.callers:
        parts += (_CALLERS, encode_plain([plain_caller(caller) for caller in invocation.callers]))
    if invocation.timers:
        parts += (_TIMERS, encode_plain(invocation.timers))
    if invocation.awaiting is not None:
        parts += (_AWAITING, _encode_suspend(invocation.awaiting))
    if invocation.result is not None:
        parts += (_RESULT, _encode_result(invocation.result))
    parts[0] = cbor.head(cbor.MAP, len(parts) // 2)
    return b"".join(parts)


def plain_caller(caller: Caller) -> tuple[str | int, ...]:
    """A caller's plain form; its birth is left out when nothing is said about it."""
    pair = (caller.invocation_id, caller.completion_id)
    return (*pair, caller.birth) if caller.birth else pair


def decode_invocation(data: bytes, stored_under: bytes, raw: bytes = b"") -> Invocation:
    """The invocation of a row of table *stored_under*, its journal left in storage.  *raw* is its id, if known."""
    assert stored_under in (LIVE, WAITING, COMPLETED), "invocations lie in three tables"
    row: dict[int, Any] = cbor2.loads(data)
    invocation = Invocation(
        id=row[1],
        target=_decode_target(row[2]),
        service_type=ServiceType(row[3]),
        handler_type=HandlerType(row[4]),
        idempotency_key=None,
        execution_time_ms=0,
        created_ms=0,
        completion_retention_ms=0,
        random_seed=0,
        retry_policy=_decode_policy(row[10]),
        schema_revision=0,
        status=Status(row[12]),
        callers=[Caller(*fields) for fields in row.get(19, ())],
        timers=timers_of(row),
        awaiting=_decode_suspend(row[29]) if 29 in row else None,
        result=_decode_result(row[30]) if 30 in row else None,
        stored_under=stored_under,
    )
    for number, name in _PLAIN_FIELDS:
        if number in row:
            setattr(invocation, name, row[number])
    if stored_under == COMPLETED and not invocation.journal_retention_ms:
        invocation.journal_length = 0  # Format 1 wrote how long it had been.
    if raw:
        invocation.take_raw(raw)
    invocation.journal_stored = invocation.journal_length
    invocation.journal = None if invocation.journal_stored else []
    return invocation


def timers_of(row: dict[int, Any]) -> dict[int, int]:
    """The timers of an invocation's row, id to due time.

    Format 1 wrote ids alone; a completed one has the timer of its retention.
    """
    found = row.get(28, {})
    return found if isinstance(found, dict) else dict.fromkeys(found, row.get(32, 0))
