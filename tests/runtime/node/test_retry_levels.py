"""Retry policies of server, service and handler: which counts, and how it ends, for requests and for calls."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MessageType
from understudy_runtime.limits import Limits
from understudy_runtime.model.events import Event, RetryScheduled
from understudy_runtime.model.invocation import Failure, OnMaxAttempts, RetryPolicy, Status, Target
from understudy_runtime.node import Deployment, Node

from tests.runtime.node.fakes import FakeWorld
from tests.runtime.node.stand import END, Client, Dialogue, ScriptedTransport, error, output, suspension


def policy(attempts: int, end: str, **more: float) -> dict[str, object]:
    return {"retryPolicyMaxAttempts": attempts, "retryPolicyOnMaxAttempts": end, **more}


SERVER = {
    OnMaxAttempts.PAUSE: RetryPolicy(10, 1000, 10, 2, OnMaxAttempts.PAUSE),
    OnMaxAttempts.KILL: RetryPolicy(10, 1000, 10, 2, OnMaxAttempts.KILL),
}
MANIFEST: dict[str, object] = {
    "protocolMode": "BIDI_STREAM",
    "minProtocolVersion": 5,
    "maxProtocolVersion": 6,
    "services": [
        {"name": "Plain", "ty": "SERVICE", "handlers": [{"name": "h"}, {"name": "call"}]},
        {
            "name": "Pausing",
            "ty": "SERVICE",
            **policy(3, "PAUSE"),
            "handlers": [
                {"name": "inherits"},
                {"name": "kills", "retryPolicyOnMaxAttempts": "KILL"},
                {"name": "own", **policy(4, "KILL")},
                {"name": "once", "retryPolicyMaxAttempts": 1},
            ],
        },
        {
            "name": "Killing",
            "ty": "VIRTUAL_OBJECT",
            **policy(3, "KILL", retryPolicyInitialInterval=100, retryPolicyMaxInterval=250),
            "handlers": [
                {"name": "inherits"},
                {"name": "pauses", "retryPolicyOnMaxAttempts": "PAUSE"},
                {"name": "own", **policy(4, "PAUSE", retryPolicyInitialInterval=40)},
                {"name": "steep", "retryPolicyExponentiationFactor": 5.0, "retryPolicyMaxAttempts": 4},
            ],
        },
    ],
}
P, K = "pause", "kill"
# Target: attempts, and how it ends when the server's own policy pauses, and when it kills.
LEVELS = {
    "Plain/h": (2, P, K),
    "Pausing/inherits": (3, P, P),
    "Pausing/kills": (3, K, K),
    "Pausing/own": (4, K, K),
    "Pausing/once": (1, P, P),
    "Killing/inherits": (3, K, K),
    "Killing/pauses": (3, P, P),
    "Killing/own": (4, P, P),
}


def target_of(name: str) -> Target:
    service, handler = name.split("/")
    return Target(service, handler, "k" if service == "Killing" else None)


class Stand:
    """A node whose handlers all fail, but for Plain/call, which calls another and passes on what it got."""

    def __init__(self, server: OnMaxAttempts, callee: str = "") -> None:
        self.events: list[Event] = []
        self.callee = callee
        self.tried: dict[str, int] = {}
        self.transport = ScriptedTransport(self.script)
        self.node = Node(
            FakeWorld(),
            Limits(log_prewrite_bytes=0, retry_policy=SERVER[server]),
            deployments=[Deployment("dp_1a", self.transport, MANIFEST)],
            observe=self.events.append,
        )
        self.client = Client(self.node)

    async def script(self, d: Dialogue) -> None:
        name = f"{d.head.target.service}/{d.head.target.handler}"
        self.tried[name] = self.tried.get(name, 0) + 1
        if name != "Plain/call":
            await d.say(error(f"{name} fails"))
        elif len(d.known) == 1:
            await d.say(self.call(), suspension(2))
        else:
            answer = pb.Notification.FromString(d.known[-1].payload)
            await d.say(output(answer.failure.message.encode()), END)

    def call(self) -> Frame:
        target = target_of(self.callee)
        message = pb.CallCommand(
            service_name=target.service,
            handler_name=target.handler,
            key=target.key or "",
            invocation_id_notification_idx=1,
            result_completion_id=2,
        )
        return Frame(MessageType.CALL, message.SerializeToString())

    def delays(self) -> list[int]:
        return [e.delay_ms for e in self.events if isinstance(e, RetryScheduled)]


@pytest.mark.parametrize("server", OnMaxAttempts)
@pytest.mark.parametrize("name", LEVELS)
async def test_the_nearest_level_counts(name: str, server: OnMaxAttempts, autojump_clock: MockClock) -> None:
    attempts, *ends = LEVELS[name]
    stand = Stand(server)
    async with trio.open_nursery() as nursery:
        await nursery.start(stand.node.run)
        asked = await stand.client.send(target_of(name), key="i")
        await trio.sleep(60)
        known = stand.node.known(asked.invocation_id)
        assert known is not None
        assert stand.tried == {name: attempts}
        if ends[server is OnMaxAttempts.KILL] == P:
            assert (known.status, known.result) == (Status.PAUSED, None)
        else:
            assert (known.status, known.result) == (Status.COMPLETED, Failure(500, f"{name} fails"))
        assert stand.node.invokers[0].job_count == 0
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("name", LEVELS)
async def test_calls_have_the_policy_of_their_callee(name: str, autojump_clock: MockClock) -> None:
    attempts, end, _ = LEVELS[name]
    stand = Stand(OnMaxAttempts.PAUSE, callee=name)
    async with trio.open_nursery() as nursery:
        await nursery.start(stand.node.run)
        asked = await stand.client.send(Target("Plain", "call"), key="i")
        await trio.sleep(60)
        assert stand.tried[name] == attempts
        known = stand.node.known(asked.invocation_id)
        assert known is not None
        assert known.status is (Status.SUSPENDED if end == P else Status.COMPLETED)
        if end == K:
            done = await stand.node.result(asked.invocation_id)
            assert done is not None
            assert getattr(done.result, "value", None) == f"{name} fails".encode()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("Killing/inherits", [100, 200]), ("Killing/own", [40, 80, 160]), ("Killing/steep", [100, 250, 250])],
)
async def test_intervals_are_merged_field_by_field(name: str, wanted: list[int], autojump_clock: MockClock) -> None:
    """What a level leaves open is the next one's: the factor is the server's where no handler says one."""
    stand = Stand(OnMaxAttempts.PAUSE)
    stand.node.limits = attrs.evolve(
        stand.node.limits, retry_policy=attrs.evolve(SERVER[OnMaxAttempts.PAUSE], factor_thousandths=2000)
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(stand.node.run)
        await stand.client.send(target_of(name), key="i")
        await trio.sleep(60)
        for found, least in zip(stand.delays(), wanted, strict=True):
            assert least + 3 <= found <= max(least * 1.3, least + 3)
        nursery.cancel_scope.cancel()
