"""One attempt's dialogue, from the server's side: frames in, entries and perhaps an end out.

Sans-IO and pure: clock readings and entropy come in as values.  The order of messages is the table DIALOGUE; what may
be said at all is KINDS; everything that breaks either fails the attempt, after what came before it was kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from types import MappingProxyType
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import FLAG_REQUESTED_ACK, Frame
from understudy.protocol.messages import MessageType

from understudy_runtime.invoker.callee import ENTROPY_BYTES_PER_CALL, CalleeUnknown, resolve_callee
from understudy_runtime.invoker.core import AttemptFailure
from understudy_runtime.limits import Limits
from understudy_runtime.machine.invocation import Invocation
from understudy_runtime.machine.validate import InvalidEntry, validate_entry
from understudy_runtime.model.commands import AttemptEnd, Callee, Finished, ProposedEntry, Suspend
from understudy_runtime.model.invocation import Entry, Failure
from understudy_runtime.model.schema import Schema
from understudy_runtime.model.values import frozen

PROTOCOL_VIOLATION: Final = 571
INTERNAL: Final = 500
M = TypeVar("M", bound=Message)


class State(IntEnum):
    OPEN = 0
    OUTPUT = 1  # the result is journaled; only the end is missing
    OVER = 2


class Kind(IntEnum):
    COMMAND = 0
    OUTPUT = 1
    PROPOSAL = 2
    SUSPENSION = 3
    ERROR = 4
    END = 5


DIALOGUE: Final = MappingProxyType(
    {
        State.OPEN: MappingProxyType(
            {
                Kind.COMMAND: State.OPEN,
                Kind.OUTPUT: State.OUTPUT,
                Kind.PROPOSAL: State.OPEN,
                Kind.SUSPENSION: State.OVER,
                Kind.ERROR: State.OVER,
            }
        ),
        State.OUTPUT: MappingProxyType(
            {
                Kind.OUTPUT: State.OUTPUT,
                Kind.PROPOSAL: State.OUTPUT,
                Kind.ERROR: State.OVER,
                Kind.END: State.OVER,
            }
        ),
        State.OVER: MappingProxyType({}),
    }
)

CALLS: Final = frozenset({int(MessageType.CALL), int(MessageType.ONE_WAY_CALL)})
ADDRESSED: Final = CALLS | {int(MessageType.ATTACH_INVOCATION), int(MessageType.GET_INVOCATION_OUTPUT)}
COMMANDS: Final = (
    MessageType.CALL,
    MessageType.ONE_WAY_CALL,
    MessageType.ATTACH_INVOCATION,
    MessageType.GET_INVOCATION_OUTPUT,
    MessageType.GET_LAZY_STATE,
    MessageType.SET_STATE,
    MessageType.CLEAR_STATE,
    MessageType.CLEAR_ALL_STATE,
    MessageType.GET_LAZY_STATE_KEYS,
    MessageType.GET_EAGER_STATE,
    MessageType.GET_EAGER_STATE_KEYS,
    MessageType.GET_PROMISE,
    MessageType.PEEK_PROMISE,
    MessageType.COMPLETE_PROMISE,
    MessageType.SLEEP,
    MessageType.SEND_SIGNAL,
    MessageType.RUN,
    MessageType.COMPLETE_AWAKEABLE,
)
KINDS: Final = MappingProxyType(
    {int(type_): Kind.COMMAND for type_ in COMMANDS}
    | {
        int(MessageType.OUTPUT): Kind.OUTPUT,
        int(MessageType.PROPOSE_RUN_COMPLETION): Kind.PROPOSAL,
        int(MessageType.SUSPENSION): Kind.SUSPENSION,
        int(MessageType.ERROR): Kind.ERROR,
        int(MessageType.END): Kind.END,
    }
)
# Both tables as one: in each state, what a message of a type is and the state after it.
MOVES: Final = MappingProxyType(
    {
        state: {type_: (kind, following[kind]) for type_, kind in KINDS.items() if kind in following}
        for state, following in DIALOGUE.items()
    }
)


class Violation(Exception):
    """The SDK said something it must not: the attempt fails with *code* and this message."""

    def __init__(self, message: str, code: int = PROTOCOL_VIOLATION) -> None:
        super().__init__(message)
        self.code = code


@frozen
class Step:
    """What one flush of the SDK comes to: entries to journal, then an end or a failure, or neither.

    `acks` are the indexes of the commands whose storing the SDK wants to be told.
    """

    entries: tuple[ProposedEntry, ...]
    end: AttemptEnd | None = None
    failed: AttemptFailure | None = None
    acks: tuple[int, ...] = ()


def entropy_bytes(frames: Sequence[Frame]) -> int:
    """How many random bytes `AttemptCore.received` needs for *frames*: some for each call, for its callee's id."""
    calls = 0
    for frame in frames:
        if frame.type in CALLS:
            calls += 1
    return ENTROPY_BYTES_PER_CALL * calls


class AttemptCore:
    """The dialogue of one attempt of *invocation*; *journal_has_output* when the journal sent has an Output."""

    def __init__(self, invocation: Invocation, limits: Limits, *, journal_has_output: bool) -> None:
        self._service_type = invocation.service_type
        self._handler_type = invocation.handler_type
        self._limits = limits
        # Commands journaled before, Input included: the index of the next one.
        self._commands = invocation.command_count
        self.state = State.OUTPUT if journal_has_output else State.OPEN

    def received(self, frames: Sequence[Frame], schema: Schema, *, now_ms: int, entropy: bytes) -> Step:
        """Take one flush of the SDK.  Frames behind the terminal message are ignored."""
        entries: list[ProposedEntry] = []
        acks: tuple[int, ...] = ()
        drawn = 0
        for frame in frames:
            try:
                move = MOVES[self.state].get(frame.type)
                if move is None:
                    raise self._misplaced(frame)
                kind, self.state = move
                terminal = TERMINAL.get(kind)
                if terminal is not None:
                    return terminal(tuple(entries), frame.payload)
                entry = self._checked(frame)
                if kind is not Kind.PROPOSAL:
                    if frame.flags & FLAG_REQUESTED_ACK:
                        acks += (self._commands,)
                    self._commands += 1
                if frame.type not in ADDRESSED:
                    entries.append(ProposedEntry(entry))
                    continue
                draw = entropy[drawn : drawn + ENTROPY_BYTES_PER_CALL] if frame.type in CALLS else b""
                assert len(draw) == ENTROPY_BYTES_PER_CALL or frame.type not in CALLS, "entropy for every call"
                drawn += len(draw)
                entries.append(ProposedEntry(entry, self._callee(schema, entry, now_ms, draw)))
            except Violation as violation:
                self.state = State.OVER
                return Step(tuple(entries), failed=AttemptFailure(Failure(violation.code, str(violation))))
        return Step(tuple(entries), acks=acks)

    def closed(self) -> AttemptFailure | None:
        """The SDK's side of the stream ended; a failure when it had not said how the attempt ends."""
        if self.state is State.OVER:
            return None
        self.state = State.OVER
        return AttemptFailure(Failure(INTERNAL, "the endpoint ended the stream without End, Suspension or Error"))

    def _misplaced(self, frame: Frame) -> Violation:
        """Why a message that is no move is none."""
        if frame.type not in KINDS:
            return Violation(f"a message of type 0x{frame.type:04X} cannot come from an endpoint")
        return Violation(f"a message of type 0x{frame.type:04X} is out of place ({self.state.name.lower()})")

    def _checked(self, frame: Frame) -> Entry:
        entry = Entry(frame.type, frame.payload)
        if len(frame.payload) > self._limits.message_bytes_max:
            raise Violation(
                f"a message of {len(frame.payload)} bytes is above the limit of {self._limits.message_bytes_max}"
            )
        try:
            validate_entry(entry, self._service_type, self._handler_type)
        except InvalidEntry as error:
            raise Violation(str(error)) from error
        return entry

    def _callee(self, schema: Schema, entry: Entry, now_ms: int, entropy: bytes) -> Callee | None:
        try:
            return resolve_callee(
                schema,
                entry,
                now_ms=now_ms,
                entropy=entropy,
                limits=self._limits,
            )
        except CalleeUnknown as error:
            raise Violation(str(error), INTERNAL) from error


def on_suspension(entries: tuple[ProposedEntry, ...], payload: bytes) -> Step:
    message = parse(pb.Suspension, payload)
    suspend = Suspend(
        tuple(message.waiting_completions),
        tuple(message.waiting_signals),
        tuple(message.waiting_named_signals),
    )
    if not (suspend.completions or suspend.signals or suspend.named_signals):
        raise Violation("a suspension that waits for nothing would never end")
    return Step(entries, end=suspend)


def on_error(entries: tuple[ProposedEntry, ...], payload: bytes) -> Step:
    message = parse(pb.Error, payload)
    delay = message.next_retry_delay if message.HasField("next_retry_delay") else None
    failure = Failure(message.code or INTERNAL, message.message)
    return Step(entries, failed=AttemptFailure(failure, retry_delay_ms=delay))


def on_end(entries: tuple[ProposedEntry, ...], payload: bytes) -> Step:
    return Step(entries, end=Finished())


def parse(class_: type[M], payload: bytes) -> M:
    """Raises Violation when *payload* is no *class_*."""
    try:
        return class_.FromString(payload)
    except DecodeError as error:
        raise Violation(f"{class_.__name__} cannot be decoded: {error}") from error


TERMINAL: Final = MappingProxyType[Kind, Callable[[tuple[ProposedEntry, ...], bytes], Step]](
    {Kind.SUSPENSION: on_suspension, Kind.ERROR: on_error, Kind.END: on_end}
)
