"""A handler that tries to leave traces behind when it is cut off: in a ledger, in its module, in its state."""

from __future__ import annotations

import os

import trio
from understudy import ObjectContext, VirtualObject
from understudy import app as understudy_app
from understudy_sim import Call, Choices, External, Stage, faults, scenario

NOTARY_ADDRESS = os.environ.get("NOTARY_ADDRESS", "")
# What this incarnation's finally blocks wrote.  A power cut must take it along.
traces: list[str] = []
CALLS = 6

worker = VirtualObject("Worker")


async def _tell(what: str) -> None:
    host, _, port = NOTARY_ADDRESS.rpartition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(b'{"what": "%s"}\n' % what.encode())
        if not await stream.receive_some():
            raise ConnectionError("the notary hung up")


@worker.handler()
async def work(ctx: ObjectContext, number: int) -> int:
    seen = len(traces)
    mine = f"{ctx.key()}/{number}"
    if mine in traces:
        raise AssertionError("the global of a dead process is still there")
    try:
        await ctx.run_typed("work", lambda: _tell(f"work {mine}"))
    except BaseException as error:
        if isinstance(error, (GeneratorExit, KeyboardInterrupt)):
            traces.append(mine)
        raise
    finally:
        ctx.set("trace", (await ctx.get("trace", type_hint=int) or 0) + 1)
        await ctx.run_typed("finally", lambda: _tell(f"finally {mine}"))
    traces.append(mine)
    return seen


app = understudy_app(services=[worker])


class Notary(External[str]):
    name = "notary"
    port = 7003
    address_variable = "NOTARY_ADDRESS"

    def answer(self, request: dict[str, str]) -> dict[str, bool]:  # type: ignore[override]
        self.ledger.append(request["what"])
        return {"noted": True}


def workload(choices: Choices) -> tuple[Call, ...]:
    return tuple(
        Call(client="ann", service="Worker", key="k", handler="work", argument=number, pause_ms=500)
        for number in range(CALLS)
    )


@scenario(
    app="tests.sim.stage.cut_app:app",
    workload=workload,
    faults=faults.only("endpoint_crash", "server_crash", "pause"),
    seeds=20,
    fails=True,  # P6: what the handler returns comes from its module's memory.
)
async def cut(stage: Stage) -> None:
    notes = stage.external(Notary)

    def explained() -> str:
        for command in stage.accepted("Worker", "work"):
            note = f"finally k/{command.payload.decode()}"
            count, allowed = list(notes).count(note), 1 + stage.interruptions(command.invocation_id)
            if not 1 <= count <= allowed:
                return f"{note} was written {count} times, {allowed} are explained"
        return ""

    def once_a_call() -> bool:
        # A client that gives up may not have been heard at all.
        return stage.state("Worker", "k").get("trace", 0) == len(stage.accepted("Worker", "work"))

    stage.eventually("a finally block runs once for each handler that ended", explained)
    stage.eventually("state is set once a call", once_a_call)
    stage.sometimes("the endpoint was cut", lambda: any(note.startswith("work") for note in notes))
    await stage.play()
