"""The admin against recorded exchanges of a real server, in their order: status, headers, keys, values, codes.

What is not played, and what differs on purpose, is listed here by name with its reason.
"""

from __future__ import annotations

import json
from typing import Any, Final

import trio
from trio.testing import wait_all_tasks_blocked
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MessageType
from understudy_runtime.ingress.port import Request, Response
from understudy_runtime.ingress.shell import Ingress
from understudy_runtime.invoker.port import TransportError, WrongHttpVersion
from understudy_runtime.limits import Limits
from understudy_runtime.model.ids import deployment_id, invocation_id_text
from understudy_runtime.model.invocation import Status, Target
from understudy_runtime.node import until

from tests.runtime.admin.recorded import PLACES, Exchange, Marks, exchanges, manifest_of
from tests.runtime.admin.stand import FakeConnect, FakeEndpoint, FakeTransport, Stand, standing
from tests.runtime.node.stand import END, Dialogue, error, output, sleep

DAY_MS: Final = 86_400_000
LIMITS: Final = Limits(log_prewrite_bytes=0, journal_retention_ms=DAY_MS)
NO_UI: Final = "there is no web UI"
NO_OPENAPI: Final = "services describe themselves by their schemas, not as OpenAPI"
OTHER_TESTS: Final = "a call through the ingress: its own tests have it"
NOT_PLAYED: Final = {
    "root redirects to ui": NO_UI,
    "ui without slash": NO_UI,
    "service openapi": NO_OPENAPI,
    "workflow openapi": NO_OPENAPI,
    "handler sees it": OTHER_TESTS,
}
# What our answer says instead, and why: (exchange, place in the answer).
ON_PURPOSE: Final = {
    ("version", ".version"): "the version is ours",
    ("version", ".features"): "the features of a real server are not ours",
    ("cluster-health", ".cluster_name"): "the cluster is called as this test calls it",
    ("patch wrong kind", "status"): "Lambda is not supported: 400 at once, where a real server asks AWS",
    ("patch wrong kind", ".restate_code"): "as above",
}


class Network(FakeConnect):
    """The recorded endpoints, one that only speaks HTTP/1.1 and serves no manifest, and nobody else."""

    def __call__(self, endpoint: Any) -> FakeTransport:
        if endpoint.uri == "http://localhost:1/" and self.stranger is not None:
            found = FakeEndpoint(failure=self.stranger[endpoint.use_http_11])
            self.made.append(FakeTransport(found, endpoint))
            return self.made[-1]
        return super().__call__(endpoint)

    stranger: dict[bool, Exception] | None = None


STRANGER: Final = {
    False: WrongHttpVersion("it answered in HTTP/1.1", reached=True),
    True: TransportError("404", reached=True, status=404),
}


def failure_output() -> Frame:
    failed = pb.Failure(code=409, message="cancelled")
    return Frame(MessageType.OUTPUT, pb.OutputCommand(failure=failed).SerializeToString())


async def unwinding(dialogue: Dialogue) -> None:
    """Run until cancelled; PauseFast fails instead, and Flow ends."""
    if dialogue.head.target.service == "Flow":
        await dialogue.say(output(b"1"), END)
        return
    if dialogue.head.target.service == "PauseFast":
        await dialogue.say(error("pause me"))
        return
    if len(dialogue.known) == 1:
        await dialogue.say(sleep(1, 1_900_000_000_000))
    await dialogue.hear(1)
    await dialogue.say(failure_output(), END)


def network(recorded: list[Exchange]) -> Network:
    by_name = {exchange.name: exchange for exchange in recorded}
    made = Network()
    for place, name in (
        ("endpoint", "register main endpoint"),
        ("endpoint_b", "register breaking dry run allowed"),
        ("endpoint_c", "register dry run"),
    ):
        services = by_name[name].answer["json"]["services"]
        made.endpoints[f"{PLACES[place]}/"] = FakeEndpoint(
            manifest_of(services), script=unwinding, sdk_version="restate-sdk-python/1.3.0"
        )
    return made


async def ask(stand: Stand, marks: Marks, exchange: Exchange) -> Response:
    body = exchange.body or {}
    if "note" in body:
        raw = json.dumps({"invocation_ids": [invocation_id_text(bytes(24))] * 1001}).encode()
    elif "text" in body:
        raw = body["text"].encode()
    else:
        raw = json.dumps(marks.fill(body["json"])).encode() if body else b""
    request = Request(exchange.method, marks.fill(exchange.path), exchange.headers, raw)
    if exchange.surface == "ingress":
        return await Ingress(stand.node, stand.node.limits).handle(request)
    return await stand.admin.handle(request)


def differences(marks: Marks, exchange: Exchange, response: Response) -> list[tuple[str, str]]:
    """(place, what differs) of one answer."""
    found: list[tuple[str, str]] = []
    if response.status != exchange.status:
        found.append(("status", f"{exchange.status} recorded, {response.status} found: {response.body!r}"))
    headers = dict(response.headers)
    for name in ("location", "allow", "content-type"):
        lines = marks.differences(exchange.answer_headers.get(name), headers.get(name), name)
        found += [(name, line) for line in lines]
    answer = exchange.answer
    if answer is None:
        found += [("body", f"a body: {response.body!r}")] if response.body else []
    elif "json" in answer:
        found += [(line.partition(":")[0], line) for line in marks.differences(answer["json"], parsed(response.body))]
    return found


def parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode()


async def start(stand: Stand, target: Target, status: Status, *, delay_ms: int = 0) -> str:
    """The id of a new invocation that has come to *status*."""
    execution_time_ms = stand.world.now_ms() + delay_ms if delay_ms else 0
    acked = await stand.client.send(target, key=f"k{stand.world.drawn}", execution_time_ms=execution_time_ms)

    def has_come() -> bool:
        known = stand.node.known(acked.invocation_id)
        return known is not None and known.status is status

    with trio.fail_after(60):
        await until(has_come)
    return acked.invocation_id


async def prepare(stand: Stand, marks: Marks) -> None:
    """The invocations that the exchanges of files `invocations` and `batch` are about."""
    running = Target("Greeter", "sleepy")
    marks.values["invocation_id:52"] = invocation_id_text(bytes(24))
    marks.values["invocation_id:49"] = await start(stand, Target("Flow", "run", "w"), Status.COMPLETED)
    for number in (60, 64, 66, 67, 68):
        marks.values[f"invocation_id:{number}"] = await start(stand, running, Status.INVOKED)
    marks.values["invocation_id:62"] = await start(stand, running, Status.SCHEDULED, delay_ms=3_600_000)
    await start(stand, Target("Counter", "hold", "k"), Status.INVOKED)
    marks.values["invocation_id:63"] = await start(stand, Target("Counter", "incr", "k"), Status.INBOXED)
    marks.values["invocation_id:65"] = await start(stand, Target("PauseFast", "stall"), Status.PAUSED)


async def test_the_recorded_exchanges(autojump_clock: trio.testing.MockClock) -> None:
    recorded = exchanges()
    names = {exchange.name for exchange in recorded}
    assert set(NOT_PLAYED) <= names
    assert {name for name, _ in ON_PURPOSE} <= names
    marks = Marks()
    marks.values["deployment_id:3"] = deployment_id(bytes(16))
    unexpected: list[str] = []
    excused: set[tuple[str, str]] = set()
    net = network(recorded)
    async with standing(net, limits=LIMITS) as stand:
        for exchange in recorded:
            if exchange.name in NOT_PLAYED:
                continue
            net.stranger = STRANGER if "{{port}}" in str(exchange.body) else None
            if exchange.name == "cancel unknown id":
                await prepare(stand, marks)
            response = await ask(stand, marks, exchange)
            await wait_all_tasks_blocked()
            for place, line in differences(marks, exchange, response):
                known = {key for key in ON_PURPOSE if key[0] == exchange.name and place.startswith(key[1])}
                excused |= known
                if not (known or is_masked(place, line)):
                    unexpected.append(f"{exchange.file}: {exchange.name}: {line}")
    assert not unexpected, "\n".join(unexpected)
    assert excused == set(ON_PURPOSE)


def is_masked(place: str, line: str) -> bool:
    """Header values are masked, everywhere."""
    return ".additional_headers." in place and line.endswith("'***' found")
