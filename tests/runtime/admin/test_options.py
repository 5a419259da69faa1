"""Options of handler, service and server: the nearest that says something counts, in effect and not on paper alone."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from understudy.protocol import service_pb2 as pb
from understudy.protocol.framing import Frame
from understudy.protocol.messages import MessageType
from understudy_runtime.ingress.port import Request
from understudy_runtime.ingress.shell import Ingress
from understudy_runtime.limits import Limits
from understudy_runtime.model.invocation import OnMaxAttempts, RetryPolicy

from tests.runtime.admin.stand import (
    ONE,
    FakeConnect,
    FakeEndpoint,
    Stand,
    finish,
    handler,
    manifest,
    service,
    standing,
)
from tests.runtime.node.stand import END, Dialogue, Script, error, output

SERVER = Limits(log_prewrite_bytes=0)
# Who says an option: (manifest of the handler, of the service, of the server), and which of it counts.
LEVELS = ("server", "service", "handler", "patch", "patch under handler")


@attrs.frozen
class Said:
    """One option, said at each level: the manifest's field, the limit's, the field of a PATCH, and its unit."""

    field: str
    limit: str
    patched: str = ""
    ty: str = "SERVICE"


def network(offered: dict[str, Any], script: Script = finish) -> FakeConnect:
    made = FakeConnect()
    made.endpoints[ONE] = FakeEndpoint(offered, script)
    return made


async def standing_with(stand: Stand, said: Said, level: str, value_ms: int) -> None:
    """Register with *value_ms* said at *level*; whatever is above it says twice as much."""
    own = {said.field: value_ms} if level in ("handler", "patch under handler") else {}
    base = {"handler": 2 * value_ms, "service": value_ms, "patch": 2 * value_ms}.get(level)
    options = {} if base is None else {said.field: base}
    handlers = [handler("h", **own)] if said.ty != "WORKFLOW" else [handler("h", ty="WORKFLOW", **own)]
    stand.network.endpoints[ONE].manifest = manifest(service("S", *handlers, ty=said.ty, **options))
    await stand.register(ONE)
    if level.startswith("patch"):
        wanted_ms = value_ms if level == "patch" else 2 * value_ms
        patched = await stand.ask("PATCH", "/services/S", {said.patched: f"{wanted_ms}ms"})
        assert patched.status == 200, patched


def server_with(said: Said, level: str, value_ms: int) -> Limits:
    return attrs.evolve(SERVER, **{said.limit: value_ms if level == "server" else 3 * value_ms})


def levels(said: Said) -> list[str]:
    return [level for level in LEVELS if said.patched or not level.startswith("patch")]


def cases(*said: Said) -> list[tuple[Said, str]]:
    return [(one, level) for one in said for level in levels(one)]


async def send(stand: Stand, path: str, key: str | None = "k") -> str:
    headers = () if key is None else (("idempotency-key", key),)
    found = await Ingress(stand.node, stand.node.limits).handle(Request("POST", f"{path}/send", headers))
    await wait_all_tasks_blocked()
    return str(json.loads(found.body)["invocationId"])


KEPT = (
    Said("idempotencyRetention", "completion_retention_ms", "idempotency_retention"),
    Said("workflowCompletionRetention", "workflow_retention_ms", "workflow_completion_retention", "WORKFLOW"),
    Said("journalRetention", "journal_retention_ms", "journal_retention"),
)


@pytest.mark.parametrize(("said", "level"), cases(*KEPT), ids=str)
async def test_results_and_journals_are_kept_as_long_as_was_said(
    said: Said, level: str, autojump_clock: MockClock
) -> None:
    async with standing(network(manifest()), limits=server_with(said, level, 60_000)) as stand:
        await standing_with(stand, said, level, 60_000)
        is_flow = said.ty == "WORKFLOW"
        id_ = await send(stand, "/S/key/h" if is_flow else "/S/h", None if is_flow else "k")
        path = f"/invocations/{id_}/journal" if said.field == "journalRetention" else f"/invocations/{id_}"
        assert (await stand.ask("GET", path)).status == 200
        await trio.sleep(58)
        assert (await stand.ask("GET", path)).status == 200
        await trio.sleep(4)
        assert (await stand.ask("GET", path)).status in (404, 410)


TIMEOUTS = (
    Said("inactivityTimeout", "inactivity_timeout_ms", "inactivity_timeout"),
    Said("abortTimeout", "abort_timeout_ms", "abort_timeout"),
)


@pytest.mark.parametrize(("said", "level"), cases(*TIMEOUTS), ids=str)
async def test_attempts_are_given_the_time_that_was_said(said: Said, level: str, autojump_clock: MockClock) -> None:
    asked_after: list[float] = []
    cut_after: list[float] = []

    async def stubborn(dialogue: Dialogue) -> None:
        begun = trio.current_time()
        await dialogue.closed()
        asked = trio.current_time()
        asked_after.append(asked - begun)
        try:
            await trio.sleep_forever()
        finally:
            cut_after.append(trio.current_time() - asked)

    limits = attrs.evolve(server_with(said, level, 5_000), retry_policy=RetryPolicy(attempts_max=1))
    async with standing(network(manifest(), stubborn), limits=limits) as stand:
        await standing_with(stand, said, level, 5_000)
        id_ = await send(stand, "/S/h")
        await trio.sleep(2_000)
        assert (await stand.get(f"/invocations/{id_}"))["status"] == "paused"
    measured = asked_after if said.field == "inactivityTimeout" else cut_after
    assert measured == [pytest.approx(5, abs=0.1)]


POLICY = {
    "retryPolicyInitialInterval": 2_000,
    "retryPolicyExponentiationFactor": 3.0,
    "retryPolicyMaxInterval": 10_000,
    "retryPolicyMaxAttempts": 4,
}
OTHER = {
    "retryPolicyInitialInterval": 1,
    "retryPolicyExponentiationFactor": 1.0,
    "retryPolicyMaxInterval": 1,
    "retryPolicyMaxAttempts": 9,
}


@pytest.mark.parametrize("level", ["server", "service", "handler"])
@pytest.mark.parametrize("end", ["PAUSE", "KILL"])
async def test_a_retry_policy_is_followed_to_its_end(level: str, end: str, autojump_clock: MockClock) -> None:
    begun: list[float] = []

    async def fail(dialogue: Dialogue) -> None:
        begun.append(trio.current_time())
        await dialogue.say(error("no"))

    other = "KILL" if end == "PAUSE" else "PAUSE"
    wanted, unwanted = {**POLICY, "retryPolicyOnMaxAttempts": end}, {**OTHER, "retryPolicyOnMaxAttempts": other}
    of_server = (
        RetryPolicy(2_000, 3_000, 10_000, 4, OnMaxAttempts[end]) if level == "server" else RetryPolicy(7, 1_000, 7)
    )
    own = wanted if level == "handler" else {}
    base = {"server": {}, "service": wanted, "handler": unwanted}[level]
    offered = manifest(service("S", handler("h", **own), **base))
    limits = attrs.evolve(SERVER, retry_policy=of_server)
    async with standing(network(offered, fail), limits=limits) as stand:
        await stand.register(ONE)
        id_ = await send(stand, "/S/h")
        await trio.sleep(100)
        shown = await stand.get(f"/invocations/{id_}")
        waits = [later - earlier for earlier, later in pairwise(begun)]
        # Up to 30 % are drawn on top.
        for wait, least in zip(waits, (2, 6, 10), strict=True):
            assert least <= wait <= 1.31 * least
        if end == "PAUSE":
            assert shown["status"] == "paused"
        else:
            assert (shown["status"], shown["completion_result"]) == ("completed", "failure")
            found = await Ingress(stand.node, limits).handle(Request("GET", f"/restate/attach/{id_}"))
            assert (found.status, json.loads(found.body)["message"]) == (500, "no")


LAZY = [
    (None, None, None, False),
    (None, True, None, True),
    (False, True, None, False),
    (True, False, None, True),
    # The server's limit holds for all: none of the state comes along.
    (False, False, 0, True),
]


@pytest.mark.parametrize(("own", "base", "limit", "is_lazy"), LAZY)
async def test_lazy_state_is_asked_for_key_by_key(
    own: bool | None, base: bool | None, limit: int | None, is_lazy: bool
) -> None:
    starts: list[pb.Start] = []

    async def note(dialogue: Dialogue) -> None:
        starts.append(dialogue.start)
        await dialogue.say(output(b""), END)

    said = [{} if value is None else {"enableLazyState": value} for value in (own, base)]
    offered = manifest(service("S", handler("h", **said[0]), ty="VIRTUAL_OBJECT", **said[1]))
    limits = SERVER if limit is None else attrs.evolve(SERVER, eager_state_bytes_max=limit)
    async with standing(network(offered, note), limits=limits) as stand:
        await stand.register(ONE)
        state = {"object_key": "k", "new_state": {"n": "1"}}
        assert (await stand.ask("POST", "/services/S/state", state)).status == 202
        await send(stand, "/S/k/h")
        assert (starts[0].partial_state, len(starts[0].state_map)) == (is_lazy, 0 if is_lazy else 1)


@pytest.mark.parametrize("key", [None, "k"])
async def test_what_a_handler_calls_is_kept_and_retried_as_the_callee_says(
    key: str | None, autojump_clock: MockClock
) -> None:
    """The callee's options, whoever calls it: over the ingress or from a handler."""
    called: list[str] = []

    async def caller(dialogue: Dialogue) -> None:
        if dialogue.head.target.handler == "callee":
            called.append(dialogue.head.invocation_id)
            await dialogue.say(error("no"))
            return
        call = pb.CallCommand(
            service_name="S", handler_name="callee", invocation_id_notification_idx=1, result_completion_id=2
        )
        if key is not None:
            call.idempotency_key = key
        await dialogue.say(Frame(MessageType.CALL, call.SerializeToString()))
        await dialogue.hear(2)
        await dialogue.say(output(b"told"), END)

    policy = {"retryPolicyMaxAttempts": 3, "retryPolicyInitialInterval": 1, "retryPolicyOnMaxAttempts": "KILL"}
    offered = manifest(
        service("S", handler("caller"), handler("callee", idempotencyRetention=60_000, journalRetention=0, **policy))
    )
    async with standing(network(offered, caller)) as stand:
        await stand.register(ONE)
        await send(stand, "/S/caller")
        await trio.sleep(10)
        assert len(called) == 3
        expected = 404 if key is None else 200
        assert (await stand.ask("GET", f"/invocations/{called[0]}")).status == expected
        await trio.sleep(60)
        assert (await stand.ask("GET", f"/invocations/{called[0]}")).status == 404
