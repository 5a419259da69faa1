"""Services over the admin: what is shown, what can be set, objects' state, invocations listed."""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode

import pytest
import trio
from trio.testing import wait_all_tasks_blocked
from understudy_runtime.ingress.port import Request
from understudy_runtime.ingress.shell import Ingress
from understudy_runtime.ingress.times import parse_duration_ms, rfc3339_nanos, written_duration
from understudy_runtime.limits import Limits
from understudy_runtime.model.commands import Command, Resume
from understudy_runtime.model.invocation import RetryPolicy, Success, Target

from tests.runtime.admin.stand import (
    COUNTER,
    ECHO,
    ONE,
    FakeEndpoint,
    Stand,
    handler,
    manifest,
    network,
    service,
    standing,
)
from tests.runtime.node.stand import END, Dialogue, error, output, sleep

FULL = manifest(
    service(
        "Full",
        handler(
            "own",
            documentation="does it",
            metadata={"b": "2", "a": "1"},
            input={"required": True, "contentType": "text/css"},
            output={"contentType": "application/json", "setContentTypeIfEmpty": True, "jsonSchema": {"title": "Out"}},
            inactivityTimeout=1_500,
            abortTimeout=90_000,
            journalRetention=0,
            idempotencyRetention=3_600_000,
            enableLazyState=True,
            ingressPrivate=True,
            retryPolicyInitialInterval=10,
            retryPolicyMaxInterval=20,
            retryPolicyMaxAttempts=3,
            retryPolicyExponentiationFactor=1.5,
            retryPolicyOnMaxAttempts="KILL",
        ),
        handler("bare"),
        inactivityTimeout=2_000,
        retryPolicyMaxAttempts=7,
    ),
    service("Flow", handler("run", ty="WORKFLOW", workflowCompletionRetention=5_000), ty="WORKFLOW"),
)


async def test_all_that_a_manifest_says_is_shown() -> None:
    limits = Limits(log_prewrite_bytes=0, workflow_retention_ms=7_000, retry_policy=RetryPolicy(attempts_max=None))
    async with standing(network(FULL), limits=limits) as stand:
        await stand.register(ONE)
        full = await stand.get("/services/Full")
        own = await stand.get("/services/Full/handlers/own")
        assert own == {
            "name": "own",
            "documentation": "does it",
            "metadata": {"a": "1", "b": "2"},
            "public": False,
            "input_description": "text/css",
            "output_description": "JSON 'Out'",
            "output_json_schema": {"title": "Out"},
            "idempotency_retention": "1h",
            "journal_retention": "0s",
            "inactivity_timeout": "1s 500ms",
            "abort_timeout": "1m 30s",
            "enable_lazy_state": True,
            "retry_policy": {
                "initial_interval": "10ms",
                "exponentiation_factor": 1.5,
                "max_attempts": 3,
                "max_interval": "20ms",
                "on_max_attempts": "Kill",
            },
        }
        assert [found["name"] for found in full["handlers"]] == ["own", "bare"]
        assert (full["public"], full["inactivity_timeout"], full["retry_policy"]["max_attempts"]) == (True, "2s", 7)
        flow = await stand.get("/v3/services/Flow")
        assert flow["workflow_completion_retention"] == "7s"
        assert flow["handlers"][0]["workflow_completion_retention"] == "5s"
        assert flow["retry_policy"]["max_attempts"] is None


async def test_options_apply_at_once_and_a_discovery_resets_them() -> None:
    async with standing(network(ECHO)) as stand:
        await stand.register(ONE)
        ingress = Ingress(stand.node, stand.node.limits)
        call = Request("POST", "/Echo/echo", (), b"")
        response = await stand.ask("PATCH", "/services/Echo", {"public": False, "idempotency_retention": "PT1H"})
        body = json.loads(response.body)
        assert (body["public"], body["handlers"][0]["public"]) == (False, False)
        assert body["idempotency_retention"] == "1h"
        assert (await ingress.handle(call)).status == 400
        found = stand.node.schema.resolve("Echo", "echo")
        assert found is not None
        assert found[1].options.idempotency_retention_ms == 3_600_000
        deployment = stand.node.schema.deployments[found[0].deployment_id]
        assert deployment.handler("Echo", "echo") == found[1]
        revision = stand.node.schema.revision
        same = await stand.ask("PATCH", "/services/Echo", {"public": None})
        assert (same.status, stand.node.schema.revision) == (200, revision)
        await stand.register(ONE, force=True)
        shown = await stand.get("/services/Echo")
        assert (shown["public"], shown["idempotency_retention"]) == (True, "1d")
        assert (await ingress.handle(call)).status == 200


async def test_a_handler_keeps_what_it_says_itself() -> None:
    async with standing(network(FULL)) as stand:
        await stand.register(ONE)
        await stand.ask("PATCH", "/services/Full", {"inactivity_timeout": "9s", "public": True})
        handlers = stand.node.schema.services["Full"].handlers
        assert handlers["own"].options.inactivity_timeout_ms == 1_500
        assert handlers["bare"].options.inactivity_timeout_ms == 9_000
        assert (handlers["own"].public, handlers["bare"].public) == (False, True)


async def counting(dialogue: Dialogue) -> None:
    """Answer with the state under `n` as the endpoint is given it."""
    state = {entry.key: entry.value for entry in dialogue.start.state_map}
    await dialogue.say(output(state.get(b"n", b"nothing")), END)


async def value_of(stand: Stand, key: str) -> bytes:
    result = (await stand.client.call(Target("Counter", "add", key))).result
    assert isinstance(result, Success)
    return result.value


@pytest.mark.parametrize("partition_count", [1, 4])
async def test_state_is_replaced(partition_count: int) -> None:
    async with standing(network(COUNTER, counting), partition_count=partition_count) as stand:
        await stand.register(ONE)
        for key in ("a", "b", "ä"):
            change = {"object_key": key, "new_state": {"n": [52, 49], "m": key}}
            assert (await stand.ask("POST", "/services/Counter/state", change)).status == 202
            assert await value_of(stand, key) == b"41"
        stale = {"object_key": "a", "new_state": {}, "version": "not-this-one"}
        assert (await stand.ask("POST", "/services/Counter/state", stale)).status == 202
        assert await value_of(stand, "a") == b"41"
        # The digest of {"m": "a", "n": "41"}, made by hand with the rule of the CLI.
        fresh = {"object_key": "a", "new_state": {"n": "5"}, "version": digest({b"m": b"a", b"n": b"41"})}
        assert (await stand.ask("POST", "/services/Counter/state", fresh)).status == 202
        assert await value_of(stand, "a") == b"5"
        assert (await stand.ask("POST", "/services/Counter/state", {"object_key": "a", "new_state": {}})).status == 202
        assert await value_of(stand, "a") == b"nothing"
        assert await value_of(stand, "b") == b"41"


def digest(state: dict[bytes, bytes]) -> str:
    """The version of a state: SHA-256 over its entries in the order of their keys, as base64url."""
    hashed = hashlib.sha256()
    for index, key in enumerate(sorted(state)):
        hashed.update(index.to_bytes(8, "big") + b"\x01" + key + b"\x02" + state[key] + b"\x03")
    return urlsafe_b64encode(hashed.digest()).rstrip(b"=").decode()


async def test_state_waits_for_its_turn_but_its_request_does_not() -> None:
    go_on = trio.Event()

    async def slow(dialogue: Dialogue) -> None:
        await go_on.wait()
        await counting(dialogue)

    async with standing(network(COUNTER, slow)) as stand:
        await stand.register(ONE)
        await stand.client.send(Target("Counter", "add", "a"))
        await wait_all_tasks_blocked()
        with trio.fail_after(5):
            change = {"object_key": "a", "new_state": {"n": "7"}}
            assert (await stand.ask("POST", "/services/Counter/state", change)).status == 202
        assert stand.node.partitions[0].tables.state("Counter", "a") == {}
        go_on.set()
        assert await value_of(stand, "a") == b"7"


async def test_invocations_are_listed_without_what_is_their_callers() -> None:
    async def hold(dialogue: Dialogue) -> None:
        await dialogue.closed()

    async with standing(network(COUNTER, hold), partition_count=2) as stand:
        await stand.register(ONE)
        for key in ("a", "b", "c"):
            await stand.client.send(Target("Counter", "add", key), b"secret", key="k")
        await wait_all_tasks_blocked()
        whole = await stand.get("/invocations")
        listed = whole["invocations"]
        assert whole["complete"]
        assert len(listed) == 3
        assert sorted(found["target"] for found in listed) == ["Counter/a/add", "Counter/b/add", "Counter/c/add"]
        assert {found["status"] for found in listed} == {"running"}
        assert "secret" not in str(listed)
        assert await stand.get("/invocations?limit=2") == {"invocations": listed[:2], "complete": False}
        assert (await stand.get("/invocations?service=Nope"))["invocations"] == []
        (one,) = [found for found in listed if found["target_service_key"] == "a"]
        assert await stand.get(f"/invocations/{one['id']}") == one
        assert (one["idempotency_key"], one["journal_size"], one["target_service_ty"]) == ("k", 1, "virtual_object")
        killed = await stand.ask("DELETE", f"/invocations/{one['id']}?mode=Kill")
        assert killed.status == 202
        shown = await stand.get(f"/invocations/{one['id']}")
        assert (shown["status"], shown["completion_result"]) == ("completed", "failure")
        assert len((await stand.get("/invocations"))["invocations"]) == 2


@pytest.mark.parametrize("duration_ms", [0, 1, 999, 1_000, 61_001, 86_400_000, 1 << 50])
def test_durations_read_back(duration_ms: int) -> None:
    assert parse_duration_ms(written_duration(duration_ms)) == duration_ms


async def test_a_node_that_stops_takes_no_state() -> None:
    async with standing(network(COUNTER), limits=Limits(log_prewrite_bytes=0, drain_timeout_ms=1)) as stand:
        await stand.register(ONE)
        with trio.fail_after(5):
            await stand.node.drain()
        change = {"object_key": "a", "new_state": {}}
        assert (await stand.ask("POST", "/services/Counter/state", change)).status == 503


async def test_what_fails_says_how(autojump_clock: trio.testing.MockClock) -> None:
    async def refuse(dialogue: Dialogue) -> None:
        await dialogue.say(error("the shop is closed", 60_000))

    async with standing(network(ECHO, refuse)) as stand:
        await stand.register(ONE)
        acked = await stand.client.send(Target("Echo", "echo"), key="k")
        await trio.sleep(61)
        await wait_all_tasks_blocked()
        shown = await stand.get(f"/invocations/{acked.invocation_id}")
        assert (shown["status"], shown["retry_count"], shown["last_failure"]) == (
            "backing-off",
            2,
            "the shop is closed",
        )
        assert shown["last_failure_error_code"] == 500
        assert "in_flight" not in shown
        assert (shown["attempts"], shown["next_retry_at"]) == (2, rfc3339_nanos(stand.world.now_ms() + 59_000))


async def test_what_is_not_paused_is_not_asked_to_move() -> None:
    """It may be paused when the request is applied, and nobody has looked whether it can run there."""

    async def stall(dialogue: Dialogue) -> None:
        await dialogue.say(sleep(1, 1_700_000_000_001))
        await trio.sleep_forever()

    async with standing(network(ECHO, stall)) as stand:
        await stand.register(ONE)
        acked = await stand.client.send(Target("Echo", "echo"), key="k")
        await wait_all_tasks_blocked()
        proposed: list[Command] = []
        partition = stand.node.partition_for(acked.invocation_id)
        propose = partition.propose

        def noted(command: Command) -> None:
            proposed.append(command)
            propose(command)

        partition.propose = noted  # type: ignore[method-assign]
        at = f"/invocations/{acked.invocation_id}"
        for place in ("latest", "dp_1" + "0" * 22):
            assert (await stand.ask("PATCH", f"{at}/resume?deployment={place}")).status == 409
        assert proposed == []
        unknown = acked.invocation_id[:-1] + "0"
        assert (await stand.ask("PATCH", f"/invocations/{unknown}/resume?deployment=latest")).status == 404
        delayed = await stand.client.send(
            Target("Echo", "echo"), key="later", execution_time_ms=stand.world.now_ms() + 60_000
        )
        later = f"/invocations/{delayed.invocation_id}"
        assert (await stand.ask("PATCH", f"{later}/resume?deployment=latest")).status == 425
        assert not any(isinstance(command, Resume) for command in proposed)


STUBBORN = manifest(service("Echo", handler("echo"), retryPolicyMaxAttempts=1))


async def failing(dialogue: Dialogue) -> None:
    """Journal a step, then fail."""
    await dialogue.say(sleep(1, 1_700_000_000_001) if len(dialogue.known) == 1 else error("no"), error("no"))


async def test_a_paused_invocation_goes_on_where_it_is_told() -> None:
    net = network(STUBBORN, failing)
    net.endpoints["http://two:1/"] = FakeEndpoint(manifest(service("Other", handler("x"))))
    net.endpoints["http://three:1/"] = FakeEndpoint(manifest(service("Echo", handler("echo")), minProtocolVersion=6))
    net.endpoints["http://four:1/"] = FakeEndpoint(manifest(service("Echo", handler("echo")), maxProtocolVersion=5))
    async with standing(net) as stand:
        _, one = await stand.register(ONE)
        acked = await stand.client.send(Target("Echo", "echo"), key="k")
        at = f"/invocations/{acked.invocation_id}"
        await wait_all_tasks_blocked()
        shown = await stand.get(at)
        assert (shown["status"], shown["pinned_deployment_id"]) == ("paused", one["id"])
        attempts = len(net.endpoints[ONE].attempts)
        assert (await stand.ask("PATCH", f"{at}/resume")).status == 200
        await wait_all_tasks_blocked()
        assert (await stand.get(at))["status"] == "paused"
        assert len(net.endpoints[ONE].attempts) == attempts + 1
        _, two = await stand.register("http://two:1/")
        _, four = await stand.register("http://four:1/")
        for place in (two["id"], four["id"], "dp_1" + "0" * 22, "dp_x"):
            assert (await stand.ask("PATCH", f"{at}/resume?deployment={place}")).status == 400
        body = {"invocation_ids": [acked.invocation_id], "deployment": "Latest"}
        batch = await stand.ask("POST", "/internal/invocations_batch_operations/resume", body)
        assert [found["invocation_id"] for found in json.loads(batch.body)["failed"]] == [acked.invocation_id]
        _, three = await stand.register("http://three:1/")
        batch = await stand.ask("POST", "/internal/invocations_batch_operations/resume", body)
        assert json.loads(batch.body)["succeeded"] == [acked.invocation_id]
        await wait_all_tasks_blocked()
        shown = await stand.get(at)
        assert (shown["status"], shown["pinned_deployment_id"]) == ("completed", three["id"])
