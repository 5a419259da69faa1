"""What has nowhere to go on is shown with its reason, listed, and gets out as it is told."""

from __future__ import annotations

import json

import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from understudy_runtime.model.invocation import Target

from tests.runtime.admin.stand import ECHO, ONE, TWO, FakeConnect, FakeEndpoint, Stand, standing
from tests.runtime.node.stand import Dialogue, sleep, suspension


async def bound(dialogue: Dialogue) -> None:
    """Journal a sleep of a minute; suspend when asked to."""
    if len(dialogue.known) == 1:
        await dialogue.say(sleep(1, 1_700_000_060_000))
    await dialogue.say(suspension(1))


def network() -> FakeConnect:
    made = FakeConnect()
    made.endpoints[ONE] = FakeEndpoint(ECHO, bound)
    made.endpoints[TWO] = FakeEndpoint(ECHO)
    return made


async def orphan(stand: Stand) -> tuple[str, str]:
    """An invocation bound to a deployment that was removed, and that deployment's id."""
    _, one = await stand.register(ONE)
    acked = await stand.client.send(Target("Echo", "echo"), key="k")
    await wait_all_tasks_blocked()
    assert (await stand.ask("DELETE", f"/deployments/{one['id']}?force=true")).status == 202
    return acked.invocation_id, str(one["id"])


async def parked(stand: Stand) -> list[str]:
    return [one["id"] for one in (await stand.get("/invocations?status=parked"))["invocations"]]


async def test_it_is_shown_before_it_wakes_and_after(autojump_clock: MockClock) -> None:
    async with standing(network()) as stand:
        id_, one = await orphan(stand)
        shown = await stand.get(f"/invocations/{id_}")
        assert (shown["status"], one in shown["parked"]["reason"]) == ("suspended", True)
        assert await parked(stand) == [id_]
        await trio.sleep(70)
        shown = await stand.get(f"/invocations/{id_}")
        assert (shown["status"], one in shown["parked"]["reason"]) == ("parked", True)
        assert await parked(stand) == [id_]
        assert (await stand.get("/invocations"))["invocations"] == [shown]
        assert "retry_count" not in shown
        journal = await stand.get(f"/invocations/{id_}/journal")
        assert (journal["status"], journal["deployment_id"], len(journal["entries"])) == ("parked", one, 3)


async def test_an_attempt_that_runs_is_not_parked() -> None:
    async def busy(dialogue: Dialogue) -> None:
        await dialogue.say(sleep(1, 1_900_000_000_000))
        await dialogue.closed()

    async with standing(network()) as stand:
        stand.network.endpoints[ONE].script = busy
        id_, _ = await orphan(stand)
        shown = await stand.get(f"/invocations/{id_}")
        assert (shown["status"], "parked" in shown) == ("running", False)
        assert await parked(stand) == []


async def test_a_cancel_alone_does_not_get_it_out(autojump_clock: MockClock) -> None:
    async with standing(network()) as stand:
        id_, _ = await orphan(stand)
        assert (await stand.ask("PATCH", f"/invocations/{id_}/cancel")).status == 202
        await trio.sleep(10)
        assert (await stand.get(f"/invocations/{id_}"))["status"] == "parked"
        assert (await stand.ask("PATCH", f"/invocations/{id_}/kill")).status == 200
        assert await parked(stand) == []


async def test_it_goes_on_where_it_is_moved(autojump_clock: MockClock) -> None:
    async with standing(network()) as stand:
        id_, _ = await orphan(stand)
        await trio.sleep(70)
        assert (await stand.ask("PATCH", f"/invocations/{id_}/resume")).status == 200
        await wait_all_tasks_blocked()
        assert await parked(stand) == [id_]
        nowhere = await stand.ask("PATCH", f"/invocations/{id_}/resume?deployment=latest")
        assert nowhere.status == 400
        _, two = await stand.register(TWO)
        body = {"invocation_ids": [id_], "deployment": "Latest"}
        batch = await stand.ask("POST", "/internal/invocations_batch_operations/resume", body)
        assert json.loads(batch.body)["succeeded"] == [id_]
        await wait_all_tasks_blocked()
        shown = await stand.get(f"/invocations/{id_}")
        assert (shown["status"], shown["pinned_deployment_id"], "parked" in shown) == ("completed", two["id"], False)


async def test_what_is_bound_to_nothing_waits_for_whoever_offers_it(autojump_clock: MockClock) -> None:
    async with standing(network()) as stand:
        _, one = await stand.register(ONE)
        later = stand.world.now_ms() + 1_000
        acked = await stand.client.send(Target("Echo", "echo"), key="k", execution_time_ms=later)
        assert (await stand.ask("DELETE", f"/deployments/{one['id']}?force=true")).status == 202
        await trio.sleep(10)
        shown = await stand.get(f"/invocations/{acked.invocation_id}")
        assert shown["status"] == "parked"
        assert shown["parked"]["ways_out"][0] == "offer the service Echo again"
        await stand.register(TWO)
        await trio.sleep(10)
        assert (await stand.get(f"/invocations/{acked.invocation_id}"))["status"] == "completed"
