"""What commands, journal entries, results and messages are called in a chronicle: one short line each, for people.

Payloads are shown shortened.  Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from understudy.protocol.framing import Frame
from understudy.protocol.messages import MESSAGES, MessageType
from understudy_runtime.ingress.port import Request, Response
from understudy_runtime.model import commands as c
from understudy_runtime.model.invocation import Failure, Result, Success, Target

from understudy_sim.kernel.pipes import Control
from understudy_sim.stage.exchange import Opening
from understudy_sim.stage.model_words import VOID, Note

VALUE_CHARACTERS_MAX: Final = 80
CONTROLS: Final = MappingProxyType({Control.EOF: "end of stream", Control.RESET: "reset"})


def shortened(text: str, characters_max: int = VALUE_CHARACTERS_MAX) -> str:
    return text if len(text) <= characters_max else text[: characters_max - 1] + "…"


def value_text(value: bytes) -> str:
    """Bytes as text, whatever they are."""
    return shortened(value[: 4 * VALUE_CHARACTERS_MAX].decode("utf-8", "backslashreplace"))


def target_text(target: Target) -> str:
    """`service/handler`, or `service/key/handler`."""
    key = () if target.key is None else (target.key,)
    return "/".join((target.service, *key, target.handler))


def result_text(result: Result | None) -> str:
    """How something ended."""
    match result:
        case Success():
            return value_text(result.value) or "nothing"
        case Failure():
            return shortened(f"failure {result.code}: {result.message}")
    return "nothing"


# --- journal entries --------------------------------------------------------------------------------------------


def type_text(type_: int) -> str:
    """`CALL`; a number for what has no name."""
    return MessageType(type_).name if type_ in MESSAGES else f"0x{type_:04X}"


def _called(command: Any) -> str:
    return "/".join(part for part in (command.service_name, command.key, command.handler_name) if part)


# What is worth telling of a command, beside its name.
TELLING: Final[Mapping[int, Callable[[Any], str]]] = MappingProxyType(
    {
        int(MessageType.CALL): _called,
        int(MessageType.ONE_WAY_CALL): _called,
        int(MessageType.RUN): lambda command: str(command.name),
        int(MessageType.SET_STATE): lambda command: f"{value_text(command.key)} = {value_text(command.value.content)}",
        int(MessageType.CLEAR_STATE): lambda command: value_text(command.key),
        int(MessageType.GET_LAZY_STATE): lambda command: value_text(command.key),
        int(MessageType.GET_EAGER_STATE): lambda command: value_text(command.key),
        int(MessageType.GET_PROMISE): lambda command: str(command.key),
        int(MessageType.PEEK_PROMISE): lambda command: str(command.key),
        int(MessageType.COMPLETE_PROMISE): lambda command: str(command.key),
        int(MessageType.COMPLETE_AWAKEABLE): lambda command: str(command.awakeable_id),
        int(MessageType.SEND_SIGNAL): lambda command: str(command.name or command.idx),
        int(MessageType.SLEEP): lambda command: f"until {command.wake_up_time} ms",
        int(MessageType.OUTPUT): lambda command: value_text(command.value.content) or str(command.failure.message),
    }
)


def command_entry_text(type_: int, payload: bytes) -> str:
    """A journaled command: `CALL TicketObject/seat-1/reserve`."""
    tell = TELLING.get(type_)
    detail = "" if tell is None else tell(MESSAGES[MessageType(type_)].FromString(payload))
    return f"{type_text(type_)} {shortened(detail)}".rstrip()


def entry_text(entry: tuple[int, bytes] | Note) -> str:
    """An entry as the reference model keeps it."""
    if not isinstance(entry, Note):
        return command_entry_text(*entry)
    says = entry.says
    told = "nothing" if says == VOID else result_text(says) if isinstance(says, Success | Failure) else str(says)
    return shortened(f"{type_text(entry.type)} {entry.answers}: {told}")


# --- commands ---------------------------------------------------------------------------------------------------


def _invoke(command: c.Invoke) -> str:
    return target_text(command.target)


def _output(command: c.AttemptOutput) -> str:
    names = [type_text(one.entry.type) for one in command.entries]
    if command.end is not None:
        names.append(type(command.end).__name__)
    return f"lease {command.lease}, attempt {command.attempt}: {', '.join(names) or 'nothing'}"


def _complete(command: c.Complete) -> str:
    return f"completion {command.completion_id}: {result_text(command.result)}"


def _signal(command: c.Signal) -> str:
    return f"{command.name or command.index}: {result_text(command.result)}"


COMMANDS: Final[Mapping[type, Callable[[Any], str]]] = MappingProxyType(
    {
        c.Invoke: _invoke,
        c.AttemptOutput: _output,
        c.TimerFired: lambda command: f"timer {command.timer_id}, due at {command.due_ms} ms",
        c.Complete: _complete,
        c.Signal: _signal,
        c.Delivered: lambda command: (
            f"from partition {command.source_partition}, number {command.sequence}: {command_text(command.message)}"
        ),
        c.OutboxDelivered: lambda command: f"partition {command.target_partition} has all up to {command.sequence}",
        c.LeaderElected: lambda command: f"epoch {command.epoch}",
        c.MutateState: lambda command: f"{command.service}/{command.key}",
        c.RestartAsNew: lambda command: f"as {command.new_invocation_id}",
        c.Refuse: lambda command: command.failure.message,
    }
)


def command_text(command: c.Command) -> str:
    """A command of the log: `Invoke CartObject/ann/checkout`."""
    tell = COMMANDS.get(type(command))
    return shortened(f"{type(command).__name__} {tell(command) if tell is not None else ''}".rstrip(), 160)


def invocation_of(command: c.Command) -> str:
    """Whom a command is about; empty for nobody, or when only the tables know."""
    if isinstance(command, c.Delivered):
        return invocation_of(command.message)
    return str(getattr(command, "invocation_id", ""))


# --- messages ---------------------------------------------------------------------------------------------------


def frames_text(frames: Sequence[Frame]) -> str:
    """`CALL, RUN ×3, END`."""
    told: list[str] = []
    counts: list[int] = []
    for frame in frames:
        name = type_text(frame.type)
        if told and told[-1] == name:
            counts[-1] += 1
        else:
            told.append(name)
            counts.append(1)
    return ", ".join(name if count == 1 else f"{name} ×{count}" for name, count in zip(told, counts, strict=True))


def item_text(item: object) -> tuple[str, str]:
    """What travels where there are no bytes, and the invocation it is about (empty: not said)."""
    match item:
        case Control():
            return CONTROLS[item], ""
        case Opening():
            return f"attempt: {frames_text(item.frames)}", item.head.invocation_id
        case Request():
            return shortened(f"{item.method} {item.target}", 160), ""
        case Response():
            return f"{item.status} {value_text(item.body)}".rstrip(), dict(item.headers).get("x-restate-id", "")
        case tuple():
            return frames_text([one for one in item if isinstance(one, Frame)]), ""
    return type(item).__name__, ""
