"""What can be told apart at a point: plain values, read off commands, frames and messages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MessageType
from understudy_runtime.ingress.port import Request, Response
from understudy_runtime.log.codec import decode_commands
from understudy_runtime.log.core import FRAME_MAGIC, SEGMENT_HEADER, read_frame
from understudy_runtime.log.core import Frame as LogFrame
from understudy_runtime.model.commands import AttemptOutput, Command, Delivered, Invoke

from understudy_sim.kernel.disk import Medium
from understudy_sim.kernel.pipes import Control, Pipe
from understudy_sim.stage.exchange import Opening
from understudy_sim.stage.truth import Truth

# A segment of a partition's log.
SEGMENT: Final = re.compile(r"partition-(\d+)/\d+\.log")


def commands_in(medium: Medium, path: str, writes: Sequence[bytes]) -> Iterator[tuple[int, Command]]:
    """The commands that *writes* to the file at *path* hold, each with its partition; none where it is no log."""
    segment = SEGMENT.fullmatch(path)
    if segment is None or not any(data.startswith(FRAME_MAGIC) for data in writes):
        return
    header = medium.visible_bytes(path, SEGMENT_HEADER.size)
    _, format_, _, _, identity, _, _ = SEGMENT_HEADER.unpack(header)
    for data in writes:
        frame = read_frame(data, 0, identity, format_)
        if isinstance(frame, LogFrame):
            for command in decode_commands(frame.payload):
                yield int(segment[1]), command


def command_details(command: Command, partition: int, truth: Truth) -> dict[str, Any]:
    """What a command says, for `where`: of whom it speaks, and what an attempt's output holds."""
    inner = command.message if type(command) is Delivered else command
    details: dict[str, Any] = {"command": type(command).__name__, "partition": partition}
    if inner is not command:
        details["message"] = type(inner).__name__
    id_ = getattr(inner, "invocation_id", "")
    invoke = inner if type(inner) is Invoke else truth.commands.get(id_)
    details["invocation"] = id_
    if invoke is not None:
        target = invoke.target
        details.update(service=target.service, handler=target.handler, key=target.key)
    elif hasattr(inner, "service"):
        details.update(service=inner.service, key=getattr(inner, "key", None))
    if type(command) is AttemptOutput:
        details["entry"] = tuple(message_name(one.entry.type) for one in command.entries)
        details["step"] = tuple(
            pb.RunCommand.FromString(one.entry.payload).name
            for one in command.entries
            if one.entry.type == MessageType.RUN
        )
        details["end"] = "" if command.end is None else type(command.end).__name__
    return details


def message_details(pipe: Pipe, item: object) -> dict[str, Any]:
    """What a message is: bytes, an end, a request, frames; `carries` names the frames."""
    if isinstance(item, bytes):
        return {"to": pipe.link[1], "what": "bytes"}
    if isinstance(item, Control):
        return {"to": pipe.link[1], "what": "end" if item is Control.EOF else "reset"}
    if isinstance(item, Request | Response):
        return {"to": pipe.link[1], "what": type(item).__name__.lower()}
    frames: tuple[Frame, ...] = item.frames if isinstance(item, Opening) else item if isinstance(item, tuple) else ()
    carries = tuple(message_name(frame.type) for frame in frames)
    return {"to": pipe.link[1], "what": "start" if isinstance(item, Opening) else "frames", "carries": carries}


def message_name(type_: int) -> str:
    """The protocol's name for a type of message: run, call, run_completion, …"""
    try:
        return MessageType(type_).name.lower()
    except ValueError:
        return f"custom {type_:#06x}"
