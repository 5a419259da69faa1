"""The frames an attempt opens with: the start message and the whole journal."""

from __future__ import annotations

from understudy.protocol.framing import Frame
from understudy.protocol.messages import MessageType

from understudy_runtime.machine.invocation import Invocation
from understudy_runtime.machine.tables import Tables
from understudy_runtime.machine.wire import chunk, varint
from understudy_runtime.model.invocation import ServiceType, Status

_START = int(MessageType.START)


def start_message(
    tables: Tables, invocation_id: str, *, retry_count: int, now_ms: int, eager_state_bytes_max: int
) -> list[Frame]:
    """Start and journal of an INVOKED invocation, as frames.

    *retry_count* is the number of failed attempts since the last stored command; state above *eager_state_bytes_max*
    is left out and marked partial, so that the SDK asks for it key by key.
    """
    invocation = tables.invocation(invocation_id)
    assert invocation is not None, "only what is known has attempts"
    assert invocation.status is Status.INVOKED, "only what is INVOKED has attempts"
    assert retry_count >= 0, "a count"
    entries = tables.entries(invocation)
    assert entries, "a journal starts with its Input"
    idle_ms = max(0, now_ms - invocation.last_append_ms)
    state, is_partial = eager_state(tables, invocation, eager_state_bytes_max)
    frames = [Frame(_START, start_payload(invocation, len(entries), state, is_partial, retry_count, idle_ms))]
    frames += [Frame(entry.type, entry.payload) for entry in entries]
    return frames


def eager_state(tables: Tables, invocation: Invocation, bytes_max: int) -> tuple[list[tuple[bytes, bytes]], bool]:
    """The state an attempt is given at once, sorted by name, and whether it is only part of it."""
    key = invocation.target.key
    if invocation.service_type is ServiceType.SERVICE or key is None or bytes_max == 0:
        return [], True  # Even when there is none: a handler that wants its state late asks for all of it.
    chosen: list[tuple[bytes, bytes]] = []
    total = 0
    for name, value in sorted(tables.state(invocation.target.service, key).items()):
        total += len(name) + len(value)
        if total > bytes_max:
            return chosen, True
        chosen.append((name, value))
    return chosen, False


def start_payload(
    invocation: Invocation,
    known_entries: int,
    state: list[tuple[bytes, bytes]],
    is_partial: bool,
    retry_count: int,
    idle_ms: int,
) -> bytes:
    """A Start message.  Empty fields are left out, as protobuf does."""
    assert known_entries >= 1, "an attempt knows at least its Input"
    raw, text = invocation.raw, invocation.id.encode()
    parts = [b"\x0a%c%b\x12%c%b\x18" % (len(raw), raw, len(text), text), varint(known_entries)]
    for name, value in state:
        pair = (chunk(b"\x0a", name) if name else b"") + (chunk(b"\x12", value) if value else b"")
        parts.append(chunk(b"\x22", pair))
    if is_partial:
        parts.append(b"\x28\x01")
    if invocation.target.key:
        parts.append(chunk(b"\x32", invocation.target.key.encode()))
    if retry_count:
        parts.append(b"\x38" + varint(retry_count))
    if idle_ms:
        parts.append(b"\x40" + varint(idle_ms))
    if invocation.random_seed:
        parts.append(b"\x48" + varint(invocation.random_seed))
    return b"".join(parts)
