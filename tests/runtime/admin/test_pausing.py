"""Pause, resume and restart as an operator asks for them, on a running node."""

from __future__ import annotations

import json
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked
from understudy.protocol.messages import MessageType
from understudy_runtime.limits import Limits
from understudy_runtime.model.ids import partition_key_of
from understudy_runtime.model.invocation import Target

from tests.runtime.admin.stand import (
    COUNTER,
    ECHO,
    ONE,
    TWO,
    FakeEndpoint,
    Stand,
    handler,
    manifest,
    network,
    service,
    standing,
)
from tests.runtime.node.stand import END, Dialogue, error, output, propose, run, sleep, suspension

FAR_MS = 1_900_000_000_000
KEPT = Limits(log_prewrite_bytes=0, journal_retention_ms=86_400_000)


async def act(stand: Stand, invocation_id: str, action: str, query: str = "") -> tuple[int, Any]:
    """Status and JSON of an action's answer."""
    response = await stand.ask("PATCH", f"/invocations/{invocation_id}/{action}{query}")
    await wait_all_tasks_blocked()
    return response.status, json.loads(response.body) if response.body else None


async def status_of(stand: Stand, invocation_id: str) -> str:
    return str((await stand.get(f"/invocations/{invocation_id}"))["status"])


async def asleep(dialogue: Dialogue) -> None:
    if len(dialogue.known) == 1:
        await dialogue.say(sleep(1, FAR_MS))
    await dialogue.closed()


async def suspended(dialogue: Dialogue) -> None:
    if len(dialogue.known) == 1:
        await dialogue.say(sleep(1, FAR_MS))
    await dialogue.say(suspension(1))


async def test_a_running_attempt_is_cut_and_begun_again() -> None:
    async with standing(network(COUNTER, asleep)) as stand:
        await stand.register(ONE)
        acked = await stand.client.send(Target("Counter", "add", "a"), key="k")
        await wait_all_tasks_blocked()
        attempts = stand.network.endpoints[ONE].attempts
        assert await act(stand, acked.invocation_id, "pause") == (202, None)
        assert (await status_of(stand, acked.invocation_id), len(attempts)) == ("paused", 1)
        assert await act(stand, acked.invocation_id, "pause") == (200, None)
        next_one = await stand.client.send(Target("Counter", "add", "a"), key="next")
        await wait_all_tasks_blocked()
        assert await status_of(stand, next_one.invocation_id) == "pending"
        assert await act(stand, acked.invocation_id, "resume") == (200, None)
        assert (await status_of(stand, acked.invocation_id), len(attempts)) == ("running", 2)
        assert await act(stand, acked.invocation_id, "resume") == (200, None)
        assert len(attempts) == 2


async def test_who_is_suspended_is_resumed_and_may_move() -> None:
    net = network(ECHO, suspended)
    async with standing(net) as stand:
        await stand.register(ONE)
        acked = await stand.client.send(Target("Echo", "echo"), key="k")
        await wait_all_tasks_blocked()
        assert await status_of(stand, acked.invocation_id) == "suspended"
        assert (await act(stand, acked.invocation_id, "resume"))[0] == 200
        assert (await status_of(stand, acked.invocation_id), len(net.endpoints[ONE].attempts)) == ("suspended", 2)
        net.endpoints[TWO] = FakeEndpoint(ECHO)
        _, two = await stand.register(TWO)
        assert (await act(stand, acked.invocation_id, "resume", "?deployment=latest"))[0] == 200
        shown = await stand.get(f"/invocations/{acked.invocation_id}")
        assert (shown["status"], shown["pinned_deployment_id"]) == ("completed", two["id"])


async def refusing(dialogue: Dialogue) -> None:
    """Journal a sleep, then fail, and ask for an hour."""
    if len(dialogue.known) == 1:
        await dialogue.say(sleep(1, FAR_MS))
    await dialogue.say(error("closed", 3_600_000))


async def test_a_retry_that_waits_is_made_now_and_may_move(autojump_clock: trio.testing.MockClock) -> None:
    net = network(ECHO, refusing)
    async with standing(net) as stand:
        await stand.register(ONE)
        acked = await stand.client.send(Target("Echo", "echo"), key="k")
        await wait_all_tasks_blocked()
        assert await status_of(stand, acked.invocation_id) == "backing-off"
        assert (await act(stand, acked.invocation_id, "resume"))[0] == 200
        assert (await status_of(stand, acked.invocation_id), len(net.endpoints[ONE].attempts)) == ("backing-off", 2)
        net.endpoints[TWO] = FakeEndpoint(ECHO)
        _, two = await stand.register(TWO)
        body = {"invocation_ids": [acked.invocation_id], "deployment": "Latest"}
        batch = await stand.ask("POST", "/internal/invocations_batch_operations/resume", body)
        assert json.loads(batch.body) == {"succeeded": [acked.invocation_id], "failed": []}
        await wait_all_tasks_blocked()
        shown = await stand.get(f"/invocations/{acked.invocation_id}")
        assert (shown["status"], shown["pinned_deployment_id"]) == ("completed", two["id"])
        assert trio.current_time() < 60


async def test_two_batches_stop_and_go(autojump_clock: trio.testing.MockClock) -> None:
    async with standing(network(COUNTER, asleep), partition_count=4) as stand:
        await stand.register(ONE)
        sent = [await stand.client.send(Target("Counter", "add", str(key))) for key in range(6)]
        ids = [acked.invocation_id for acked in sent]
        await wait_all_tasks_blocked()
        for action, status in (("pause", "paused"), ("resume", "running")):
            batch = await stand.ask("POST", f"/internal/invocations_batch_operations/{action}", {"invocation_ids": ids})
            assert json.loads(batch.body) == {"succeeded": ids, "failed": []}
            await wait_all_tasks_blocked()
            assert {await status_of(stand, id_) for id_ in ids} == {status}


async def stepping(dialogue: Dialogue) -> None:
    """Two steps, each executed when it has no result yet; the answer is how many were, and the endpoint's name."""
    types = [frame.type for frame in dialogue.known]
    executed = 0
    for number in (1, 2):
        if types.count(MessageType.RUN) < number:
            await dialogue.say(run(number))
        if types.count(MessageType.RUN_COMPLETION) < number:
            await dialogue.say(propose(number, b"step"))
            executed += 1
    seed = dialogue.start.random_seed
    await dialogue.say(output(b"%d %d %b" % (executed, seed, dialogue.head.deployment_id.encode())), END)


async def completed(stand: Stand) -> str:
    """The id of an invocation that has made both steps."""
    sent = await stand.client.send(Target("Echo", "echo"), key="k")
    await wait_all_tasks_blocked()
    return sent.invocation_id


async def result_of(stand: Stand, invocation_id: str) -> list[str]:
    found = await stand.node.result(invocation_id)
    assert found is not None
    return found.result.value.decode().split()  # type: ignore[union-attr]


async def test_a_restart_runs_all_or_the_rest() -> None:
    net = network(ECHO, stepping)
    async with standing(net, limits=KEPT, partition_count=4) as stand:
        _, one = await stand.register(ONE)
        old = await completed(stand)
        (count, seed, place) = await result_of(stand, old)
        assert (count, place) == ("2", one["id"])
        net.endpoints[TWO] = FakeEndpoint(ECHO, stepping)
        _, two = await stand.register(TWO)
        journal = (await stand.get(f"/invocations/{old}/journal"))["entries"]
        first_step = [entry["type"] for entry in journal].index(MessageType.RUN)
        for query, steps, keeps_seed, place in (
            ("", "2", False, two["id"]),
            ("?deployment=keep", "2", False, one["id"]),
            (f"?deployment={one['id']}", "2", False, one["id"]),
            (f"?from={first_step}", "1", True, two["id"]),
            (f"?from={first_step}&deployment=Keep", "1", True, one["id"]),
        ):
            status, body = await act(stand, old, "restart-as-new", query)
            assert (status, set(body)) == (200, {"new_invocation_id"}), query
            new = body["new_invocation_id"]
            assert partition_key_of(new) == partition_key_of(old)
            found = await result_of(stand, new)
            assert (found[0], found[2]) == (steps, place), query
            assert (found[1] == seed) is keeps_seed, query
        for query, status in (
            ("?from=99", 400),
            (f"?from={len(journal) - 1}", 400),
            (f"?deployment=dp_1{'0' * 22}", 400),
            ("?deployment=zap", 400),
        ):
            assert (await act(stand, old, "restart-as-new", query))[0] == status, query
        body = {"invocation_ids": [old, old], "deployment": "Keep"}
        batch = await stand.ask("POST", "/internal/invocations_batch_operations/restart-as-new", body)
        ((pair,), failed) = json.loads(batch.body).values()
        assert (pair["old_invocation_id"], failed) == (old, [])
        assert (await result_of(stand, pair["new_invocation_id"]))[2] == one["id"]
        assert (await act(stand, old, "purge-journal"))[0] == 200
        assert (await act(stand, old, "restart-as-new"))[0] == 410


async def test_a_restart_goes_on_only_where_it_can() -> None:
    net = network(ECHO, stepping)
    net.endpoints[TWO] = FakeEndpoint(manifest(service("Other", handler("x"))))
    net.endpoints["http://old:1/"] = FakeEndpoint(manifest(service("Echo", handler("echo")), maxProtocolVersion=5))
    async with standing(net, limits=KEPT) as stand:
        await stand.register(ONE)
        old = await completed(stand)
        _, two = await stand.register(TWO)
        _, five = await stand.register("http://old:1/")
        for place in (two["id"], five["id"]):
            assert (await act(stand, old, "restart-as-new", f"?deployment={place}"))[0] == 400
        # With nothing but its input it may begin anywhere; what it did before was for another version.
        assert (await act(stand, old, "restart-as-new", "?from=1"))[0] == 400
        status, body = await act(stand, old, "restart-as-new")
        assert (status, await result_of(stand, body["new_invocation_id"])) == (200, [five["id"]])


async def test_who_was_never_bound_is_restarted_without_a_place() -> None:
    async with standing(network(ECHO, stepping), limits=KEPT) as stand:
        _, one = await stand.register(ONE)
        held = await stand.client.send(Target("Echo", "echo"), key="k", execution_time_ms=stand.world.now_ms() + 9_999)
        assert (await act(stand, held.invocation_id, "restart-as-new"))[0] == 425
        assert (await act(stand, held.invocation_id, "kill"))[0] == 200
        assert (await act(stand, held.invocation_id, "restart-as-new", f"?deployment={one['id']}"))[0] == 409
        assert (await act(stand, held.invocation_id, "restart-as-new", "?deployment=keep"))[0] == 200
