"""The program interpreter: objects in three layers that run small programs over state, calls, runs and awakeables.

A program is ``{"commands": [{"kind": n, …}]}``; the numbers are the contract's.  A command that starts something leaves
a future under its own index, which is awaited at once or, if an "await promise" names it, there.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

from understudy import Context, ObjectContext, ObjectSharedContext, Service, TerminalError, VirtualObject

from tests.interop.services.options import LAZY_STATE

HELPER = "ServiceInterpreterHelper"
COUNTER = "counter"
LAYERS = 3
INCREMENT = {"commands": [{"kind": 4}]}

helper = Service(HELPER)
layers = tuple(VirtualObject(f"ObjectInterpreterL{number}", enable_lazy_state=LAZY_STATE) for number in range(LAYERS))


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


# --- the helper ---------------------------------------------------------------------------------------------


def increment(ctx: Context, interpreter: Mapping[str, Any]) -> None:
    """Tell an interpreter to count one."""
    layer, key = interpreter["layer"], interpreter["key"]
    ctx.generic_send(f"ObjectInterpreterL{layer}", "interpret", as_json(INCREMENT), key)


@helper.handler("ping")
async def ping(ctx: Context) -> None:
    return None


@helper.handler("echo")
async def echo(ctx: Context, text: str) -> str:
    return text


@helper.handler("echoLater")
async def echo_later(ctx: Context, request: dict[str, Any]) -> str:
    await ctx.sleep(timedelta(milliseconds=request["sleep"]))
    return str(request["parameter"])


@helper.handler("terminalFailure")
async def terminal_failure(ctx: Context) -> None:
    raise TerminalError("bye")


@helper.handler("incrementIndirectly")
async def increment_indirectly(ctx: Context, interpreter: dict[str, Any]) -> None:
    increment(ctx, interpreter)


@helper.handler("resolveAwakeable")
async def resolve_awakeable(ctx: Context, awakeable_id: str) -> None:
    ctx.resolve_awakeable(awakeable_id, "ok")


@helper.handler("rejectAwakeable")
async def reject_awakeable(ctx: Context, awakeable_id: str) -> None:
    ctx.reject_awakeable(awakeable_id, "error")


@helper.handler("incrementViaAwakeableDance")
async def increment_via_awakeable_dance(ctx: Context, request: dict[str, Any]) -> None:
    awakeable_id, resolved = ctx.awakeable()
    ctx.resolve_awakeable(request["txPromiseId"], awakeable_id)
    await resolved
    increment(ctx, request["interpreter"])


# --- the interpreter ----------------------------------------------------------------------------------------


class Interpreter:
    """One run of one program."""

    def __init__(self, ctx: ObjectContext, layer: int) -> None:
        self.ctx = ctx
        self.layer = layer
        self.started: dict[int, tuple[str, Awaitable[Any], Callable[[Any], str]]] = {}

    async def run(self, program: Mapping[str, Any]) -> None:
        commands = program["commands"]
        awaited_later = {command["index"] for command in commands if command["kind"] == 15}
        for index, command in enumerate(commands):
            await ACTIONS[command["kind"]](self, index, command)
            if index not in awaited_later:
                await self.settle(index)

    async def settle(self, index: int) -> None:
        """Await what command *index* started, if anything, and hold its result against what was expected."""
        if index not in self.started:
            return
        expected, future, read = self.started.pop(index)
        try:
            found = read(await future)
        except TerminalError:
            found = "rejected"
        if found != expected:
            raise TerminalError(f"command {index} was expected to give {expected!r} but gave {found!r}")

    def call_helper(self, handler: str, value: Any) -> Any:
        return self.ctx.generic_call(HELPER, handler, as_json(value) if value is not None else b"")

    def send_helper(self, handler: str, value: Any, delay_ms: int | None = None) -> None:
        delay = None if delay_ms is None else timedelta(milliseconds=delay_ms)
        self.ctx.generic_send(HELPER, handler, as_json(value), send_delay=delay)

    @property
    def me(self) -> dict[str, Any]:
        return {"layer": self.layer, "key": self.ctx.key()}

    # -- state --

    async def set_state(self, _: int, command: Mapping[str, Any]) -> None:
        self.ctx.set(f"key-{command['key']}", f"value-{command['key']}")

    async def get_state(self, _: int, command: Mapping[str, Any]) -> None:
        await self.ctx.get(f"key-{command['key']}", type_hint=str)

    async def clear_state(self, _: int, command: Mapping[str, Any]) -> None:
        self.ctx.clear(f"key-{command['key']}")

    async def increment(self, _: int, command: Mapping[str, Any]) -> None:
        self.ctx.set(COUNTER, (await self.ctx.get(COUNTER, type_hint=int) or 0) + 1)

    async def increment_indirectly(self, _: int, command: Mapping[str, Any]) -> None:
        self.send_helper("incrementIndirectly", self.me)

    async def increment_via_delayed_call(self, _: int, command: Mapping[str, Any]) -> None:
        self.send_helper("incrementIndirectly", self.me, command["duration"])

    async def increment_via_awakeable(self, _: int, command: Mapping[str, Any]) -> None:
        awakeable_id, theirs = self.ctx.awakeable(type_hint=str)
        self.send_helper("incrementViaAwakeableDance", {"interpreter": self.me, "txPromiseId": awakeable_id})
        self.ctx.resolve_awakeable(await theirs, "ok")

    # -- waiting --

    async def sleep(self, _: int, command: Mapping[str, Any]) -> None:
        await self.ctx.sleep(timedelta(milliseconds=command["duration"]))

    async def await_promise(self, _: int, command: Mapping[str, Any]) -> None:
        await self.settle(command["index"])

    # -- calls --

    async def call_service(self, index: int, command: Mapping[str, Any]) -> None:
        expected = f"hello-{index}"
        self.started[index] = expected, self.call_helper("echo", expected), json.loads

    async def call_slow_service(self, index: int, command: Mapping[str, Any]) -> None:
        expected = f"hello-{index}"
        request = {"parameter": expected, "sleep": command["sleep"]}
        self.started[index] = expected, self.call_helper("echoLater", request), json.loads

    async def recover_terminal_call(self, index: int, command: Mapping[str, Any]) -> None:
        try:
            await self.call_helper("terminalFailure", None)
        except TerminalError:
            return
        raise TerminalError(f"command {index} was expected to fail")

    async def leave_terminal_call(self, _: int, command: Mapping[str, Any]) -> None:
        self.call_helper("terminalFailure", None)

    async def call_next_layer(self, index: int, command: Mapping[str, Any]) -> None:
        target, key = f"ObjectInterpreterL{self.layer + 1}", str(command["key"])
        future = self.ctx.generic_call(target, "interpret", as_json(command["program"]), key)
        self.started[index] = "", future, bytes.decode

    # -- runs --

    async def side_effect(self, index: int, command: Mapping[str, Any]) -> None:
        expected = f"hello-{index}"
        found = await self.ctx.run_typed("sideEffect", lambda: expected)
        if found != expected:
            raise TerminalError(f"command {index} was expected to give {expected!r} but gave {found!r}")

    async def throwing_side_effect(self, _: int, command: Mapping[str, Any]) -> None:
        def throw_every_other_time() -> None:
            if random.getrandbits(1):
                raise ValueError("an unlucky execution")

        await self.ctx.run_typed("throwingSideEffect", throw_every_other_time)

    async def slow_side_effect(self, _: int, command: Mapping[str, Any]) -> None:
        await self.ctx.run_typed("slowSideEffect", lambda: time.sleep(0.05))

    # -- awakeables --

    async def resolve_awakeable(self, index: int, command: Mapping[str, Any]) -> None:
        awakeable_id, future = self.ctx.awakeable(type_hint=str)
        self.started[index] = "ok", future, str
        self.send_helper("resolveAwakeable", awakeable_id)

    async def reject_awakeable(self, index: int, command: Mapping[str, Any]) -> None:
        awakeable_id, future = self.ctx.awakeable(type_hint=str)
        self.started[index] = "rejected", future, str
        self.send_helper("rejectAwakeable", awakeable_id)


ACTIONS: Mapping[int, Callable[[Interpreter, int, Mapping[str, Any]], Awaitable[None]]] = {
    1: Interpreter.set_state,
    2: Interpreter.get_state,
    3: Interpreter.clear_state,
    4: Interpreter.increment,
    5: Interpreter.increment_indirectly,
    6: Interpreter.sleep,
    7: Interpreter.call_service,
    8: Interpreter.call_slow_service,
    9: Interpreter.increment_via_delayed_call,
    10: Interpreter.side_effect,
    11: Interpreter.throwing_side_effect,
    12: Interpreter.slow_side_effect,
    13: Interpreter.recover_terminal_call,
    14: Interpreter.leave_terminal_call,
    15: Interpreter.await_promise,
    16: Interpreter.resolve_awakeable,
    17: Interpreter.reject_awakeable,
    18: Interpreter.increment_via_awakeable,
    19: Interpreter.call_next_layer,
}


def add_handlers(number: int, layer: VirtualObject) -> None:
    """Give one layer its handlers."""

    @layer.handler("interpret")
    async def interpret(ctx: ObjectContext, program: dict[str, Any]) -> None:
        await Interpreter(ctx, number).run(program)

    @layer.handler("counter", kind="shared")
    async def count(ctx: ObjectSharedContext) -> int:
        return await ctx.get(COUNTER, type_hint=int) or 0


for _number, _layer in enumerate(layers):
    add_handlers(_number, _layer)
