"""A backend without a log: it runs the services of the recorded exchanges at once and remembers what is retained."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from understudy_runtime.ingress.backend import Known
from understudy_runtime.ingress.shell import Ingress
from understudy_runtime.limits import Limits
from understudy_runtime.model.actions import Completed, InvokeAcked, RequestAcked
from understudy_runtime.model.commands import Cancel, Invoke, Kill, Purge, Signal
from understudy_runtime.model.invocation import Failure, Result, Status, Success
from understudy_runtime.model.schema import Schema, parse_manifest

TEXT = {"input": {"required": False, "contentType": "application/json"}}
NOTHING_IN = {"input": {}}
NOTHING_OUT = {"output": {"setContentTypeIfEmpty": False}}
RAW = {
    "input": {"required": False, "contentType": "application/octet-stream"},
    "output": {"contentType": "application/octet-stream", "setContentTypeIfEmpty": False},
}


def handler(name: str, *parts: dict[str, object], **fields: object) -> dict[str, object]:
    merged: dict[str, object] = {"name": name, **TEXT}
    for part in parts:
        merged.update(part)
    return {**merged, **fields}


SERVICES = [
    {
        "name": "Greeter",
        "ty": "SERVICE",
        "handlers": [
            *(handler(name) for name in ("greet", "greetTyped", "failTerminal", "failMeta", "sleepy", "awk")),
            handler("noInput", NOTHING_IN),
            handler("noOutput", NOTHING_OUT),
            handler("headers", NOTHING_IN),
            handler("raw", RAW),
        ],
    },
    {"name": "Private", "ty": "SERVICE", "ingressPrivate": True, "handlers": [handler("hidden")]},
    {
        "name": "Counter",
        "ty": "VIRTUAL_OBJECT",
        "handlers": [handler("incr"), handler("peek", NOTHING_IN, ty="SHARED"), handler("key", NOTHING_IN)],
    },
    {
        "name": "Flow",
        "ty": "WORKFLOW",
        "handlers": [
            handler("run"),
            handler("signal", NOTHING_OUT, ty="SHARED"),
            handler("stage", NOTHING_IN, ty="SHARED"),
        ],
    },
    {"name": "KillFast", "ty": "SERVICE", "handlers": [handler("boom")]},
]
MANIFEST = {
    "protocolMode": "BIDI_STREAM",
    "minProtocolVersion": 5,
    "maxProtocolVersion": 6,
    "services": SERVICES,
}


def text(value: object) -> Success:
    return Success(json.dumps(value).encode())


class Engine:
    """The Backend port.  `runs` counts executions; a slow invocation ends when somebody waits for it."""

    def __init__(self) -> None:
        self.schema = Schema().with_deployment("dp_1", parse_manifest(MANIFEST))
        self.invocations: dict[str, Invoke] = {}
        self.results: dict[str, Result] = {}
        self.counters: dict[str, int] = {}
        self.promises: dict[str, str] = {}
        self.signals: dict[tuple[str, int], Result | None] = {}
        self.awaited: list[Result | None] = []
        self.commands: list[object] = []
        self.runs = 0
        self.requests = 0

    def now_ms(self) -> int:
        return 1_795_335_126_316

    def entropy(self, length: int) -> bytes:
        self.requests += 1
        return self.requests.to_bytes(length, "big")

    def new_request_id(self) -> int:
        self.requests += 1
        return self.requests

    async def submit(self, command: Invoke) -> InvokeAcked:
        first = self.invocations.setdefault(command.invocation_id, command)
        self.commands.append(command)
        is_new = first is command
        if is_new and command.target.handler not in ("sleepy", "run"):
            self.end(command)
        return InvokeAcked(command.request_id, command.invocation_id, is_new, first.execution_time_ms)

    async def call(self, command: Invoke) -> tuple[InvokeAcked, Completed | None]:
        acked = await self.submit(command)
        if command.target.handler == "run" and not acked.accepted:
            return InvokeAcked(command.request_id, command.invocation_id, False, 0, conflict=True), None
        result = self.results.get(command.invocation_id) or self.end(command)
        if not command.completion_retention_ms:
            del self.results[command.invocation_id], self.invocations[command.invocation_id]
        return acked, Completed(command.invocation_id, result, 0)

    def end(self, command: Invoke) -> Result:
        self.runs += 1
        result = HANDLERS[command.target.handler](self, command)
        self.results[command.invocation_id] = result
        return result

    async def result(self, invocation_id: str) -> Completed | None:
        return Completed(invocation_id, self.end(self.invocations[invocation_id]), 0)

    def known(self, invocation_id: str) -> Known | None:
        command = self.invocations.get(invocation_id)
        if command is None:
            return None
        result = self.results.get(invocation_id)
        status = Status.INVOKED if result is None else Status.COMPLETED
        return Known(command.target, status, result, 1_795_421_526_316)

    async def request(self, command: Signal | Cancel | Kill | Purge) -> RequestAcked:
        self.commands.append(command)
        assert isinstance(command, Signal)
        place = (command.invocation_id, command.index)
        if place not in self.signals:
            self.signals[place] = command.result
            self.awaited.append(command.result)
        return RequestAcked(command.request_id, command.invocation_id, "accepted")


def greet(engine: Engine, command: Invoke) -> Result:
    if not command.payload:
        return text("hi None")
    try:
        return text("hi " + json.loads(command.payload))
    except ValueError as error:
        return Failure(500, f"the input is no JSON: {error}")


def greet_typed(engine: Engine, command: Invoke) -> Result:
    value = json.loads(command.payload)
    return text({"greeting": "hello " + value["name"]}) if "name" in value else Failure(500, "name is missing")


def fail(engine: Engine, command: Invoke) -> Result:
    metadata = (("k", "v"),) if command.target.handler == "failMeta" else ()
    return Failure(json.loads(command.payload), "told to", metadata)


def incr(engine: Engine, command: Invoke) -> Result:
    key = command.target.key or ""
    engine.counters[key] = engine.counters.get(key, 0) + json.loads(command.payload)
    return text(engine.counters[key])


def awk(engine: Engine, command: Invoke) -> Result:
    result = engine.awaited.pop(0)
    if isinstance(result, Success):
        return text(json.dumps(json.loads(result.value or b"null")))
    assert result is not None
    return result


def signal(engine: Engine, command: Invoke) -> Result:
    engine.promises[command.target.key or ""] = json.loads(command.payload)
    return Success(b"")


def run(engine: Engine, command: Invoke) -> Result:
    return text(f"{json.loads(command.payload)}:{engine.promises.get(command.target.key or '')}")


def stage(engine: Engine, command: Invoke) -> Result:
    return text("waiting") if command.target.key == "w1" else Success(b"")


HANDLERS: dict[str, Callable[[Engine, Invoke], Result]] = {
    "greet": greet,
    "greetTyped": greet_typed,
    "noInput": lambda engine, command: text("none"),
    "noOutput": lambda engine, command: Success(b""),
    "headers": lambda engine, command: text(dict(command.headers)),
    "raw": lambda engine, command: Success(command.payload[::-1]),
    "failTerminal": fail,
    "failMeta": fail,
    "sleepy": lambda engine, command: text("slept"),
    "awk": awk,
    "incr": incr,
    "peek": lambda engine, command: text(engine.counters.get(command.target.key or "", 0)),
    "key": lambda engine, command: text(command.target.key),
    "run": run,
    "signal": signal,
    "stage": stage,
    "boom": lambda engine, command: Failure(500, "retries ran out"),
}


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def ingress(engine: Engine) -> Ingress:
    return Ingress(engine, Limits())
