"""Handlers played against a fake link: what the tests of the steps and of the ends share."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from google.protobuf.message import Message
from understudy import (
    VirtualObject,
    Workflow,
    app,
)
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MESSAGES
from understudy.protocol.messages import MessageType as T

from tests.sdk.fakes import FakeHost, FakeLink, start

Handler = Callable[[Any], Awaitable[Any]]


async def play(
    handler: Handler,
    *frames: Frame,
    kind: str = "exclusive",
    host: FakeHost | None = None,
    link: FakeLink | None = None,
) -> FakeLink:
    """Run *handler* as a handler of a workflow's or object's kind over *frames*."""
    flow = Workflow("Flow")
    thing = VirtualObject("Thing")
    decorated: dict[str, Callable[[Handler], Handler]] = {
        "exclusive": thing.handler("handle"),
        "shared": thing.handler("handle", kind="shared"),
        "main": flow.main("handle"),
        "beside": flow.handler("handle"),
    }

    async def handle(ctx: Any) -> Any:
        return await handler(ctx)

    decorated[kind](handle)
    link = link or FakeLink(*(frames or start()))
    async with anyio.create_task_group() as tasks:
        host = host or FakeHost()
        host.tasks = tasks
        service = "Thing" if thing.handlers else "Flow"
        await app([thing, flow]).attempt(service=service, handler="handle", version=6, link=link, host=host)
    return link


def said(link: FakeLink) -> list[Message]:
    return [MESSAGES[T(frame.type)].FromString(frame.payload) for frame in link.sent]


def output(link: FakeLink) -> Any:
    assert link.types()[-1] is T.END
    message = pb.OutputCommand.FromString(link.sent[-2].payload)
    assert message.WhichOneof("result") == "value", message
    return json.loads(message.value.content) if message.value.content else None


def failure(link: FakeLink) -> tuple[int, str]:
    message = pb.OutputCommand.FromString(link.sent[-2].payload)
    return message.failure.code, message.failure.message
