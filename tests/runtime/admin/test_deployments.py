"""Registrations end to end: the admin, a node, endpoints in memory."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from understudy_runtime.invoker.port import TransportError, WrongHttpVersion
from understudy_runtime.model.endpoint import Endpoint
from understudy_runtime.model.ids import parse_deployment_id
from understudy_runtime.model.invocation import Success, Target
from understudy_runtime.model.registration import Registration, RegistrationRefused, Why
from understudy_runtime.node import Deployment, Node

from tests.runtime.admin.stand import (
    COUNTER,
    ECHO,
    LIMITS,
    ONE,
    TWO,
    FakeConnect,
    FakeEndpoint,
    FakeTransport,
    finish,
    handler,
    manifest,
    service,
    standing,
)
from tests.runtime.node.fakes import FakeDisk, FakeFile, FakeWorld
from tests.runtime.node.stand import ignore

ECHO_TARGET = Target("Echo", "echo")


def network(**endpoints: FakeEndpoint) -> FakeConnect:
    """Endpoints by host name, each at port 1."""
    made = FakeConnect()
    for name, endpoint in endpoints.items():
        made.endpoints[f"http://{name}:1/"] = endpoint
    return made


async def test_what_is_registered_can_be_called_at_once() -> None:
    async with standing(network(one=FakeEndpoint())) as stand:
        assert stand.network.running
        response = await stand.ask("POST", "/deployments", {"uri": "http://ONE:1", "metadata": {"git": "abc"}})
        body = json.loads(response.body)
        assert response.status == 201
        assert ("location", f"deployments/{body['id']}") in response.headers
        parse_deployment_id(body["id"])
        assert (body["min_protocol_version"], body["max_protocol_version"]) == (5, 7)
        assert body["sdk_version"] == "an-sdk/1.0"
        assert [found["name"] for found in body["services"]] == ["Echo"]
        completed = await stand.client.call(ECHO_TARGET)
        assert completed.result == Success(body["id"].encode())
        (listed,) = (await stand.get("/deployments"))["deployments"]
        assert listed["uri"] == ONE
        assert listed["metadata"] == {"git": "abc"}
        assert (listed["protocol_type"], listed["http_version"]) == ("BidiStream", "HTTP/2.0")
        assert listed["services"] == [{"name": "Echo", "revision": 1}]


async def test_a_known_address_is_answered_without_asking_it() -> None:
    endpoint = FakeEndpoint()
    async with standing(network(one=endpoint)) as stand:
        _, first = await stand.register(ONE)
        assert await stand.register(ONE) == (200, first)
        assert endpoint.discovered == 1
        again = await stand.ask("POST", "/v2/deployments", {"uri": ONE, "force": False})
        assert again.status == 409
        forced = await stand.ask("POST", "/v2/deployments", {"uri": ONE})
        assert forced.status == 200
        assert endpoint.discovered == 2


async def test_force_keeps_the_id_and_takes_everything_else_anew() -> None:
    endpoint = FakeEndpoint(manifest(service("Echo", handler("echo")), service("Gone", handler("x"))))
    async with standing(network(one=endpoint)) as stand:
        _, first = await stand.register(ONE, additional_headers={"x-key": "secret"})
        assert (await stand.ask("PATCH", "/services/Echo", {"public": False})).status == 200
        endpoint.manifest = ECHO
        stand.world.wall_ms += 5_000
        before = await stand.get(f"/deployments/{first['id']}")
        status, second = await stand.register(ONE, force=True)
        after = await stand.get(f"/deployments/{first['id']}")
        assert (status, second["id"]) == (200, first["id"])
        assert before["additional_headers"] == {"x-key": "***"}
        assert "additional_headers" not in after
        assert after["created_at"] > before["created_at"]
        (echo,) = after["services"]
        assert (echo["revision"], echo["public"]) == (2, True)
        assert (await stand.ask("GET", "/services/Gone")).status == 404
        assert not stand.network.made[-1].closed
        assert all(transport.closed for transport in stand.network.made[:-1])


async def test_a_dry_run_changes_nothing() -> None:
    async with standing(network(one=FakeEndpoint())) as stand:
        response = await stand.ask("POST", "/deployments", {"uri": ONE, "dry_run": True})
        assert response.status == 201
        assert await stand.get("/deployments") == {"deployments": []}
        assert stand.network.made[-1].closed
        status, body = await stand.register(ONE)
        assert (status, body["services"][0]["revision"]) == (201, 1)
        assert json.loads(response.body)["id"] != body["id"]


async def test_a_newer_deployment_takes_new_calls_and_its_removal_gives_them_back() -> None:
    waiting = FakeEndpoint()
    async with standing(network(one=waiting, two=FakeEndpoint())) as stand:
        _, one = await stand.register(ONE)
        _, two = await stand.register(TWO)
        assert two["services"][0]["revision"] == 2
        assert (await stand.client.call(ECHO_TARGET)).result == Success(two["id"].encode())
        assert (await stand.ask("DELETE", f"/deployments/{two['id']}")).status == 501
        assert (await stand.ask("DELETE", f"/deployments/{two['id']}?force=true")).status == 202
        assert (await stand.ask("DELETE", f"/deployments/{two['id']}?force=true")).status == 404
        assert (await stand.get("/services/Echo"))["revision"] == 1
        assert (await stand.client.call(ECHO_TARGET)).result == Success(one["id"].encode())
        await stand.ask("DELETE", f"/deployments/{one['id']}?force=true")
        assert await stand.get("/services") == {"services": []}


async def test_an_attempt_in_flight_stays_where_it_runs() -> None:
    running = trio.Event()
    go_on = trio.Event()

    async def slow(dialogue: Any) -> None:
        running.set()
        await go_on.wait()
        await finish(dialogue)

    async with standing(network(one=FakeEndpoint(script=slow), two=FakeEndpoint())) as stand:
        _, one = await stand.register(ONE)
        results = []

        async def call() -> None:
            results.append((await stand.client.call(ECHO_TARGET)).result)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await running.wait()
            await stand.register(TWO)
            await stand.register(ONE, force=True)
            await stand.ask("DELETE", f"/deployments/{one['id']}?force=true")
            go_on.set()
        assert results == [Success(one["id"].encode())]


async def test_deployments_survive_a_restart_with_their_ways() -> None:
    net = network(one=FakeEndpoint(), two=FakeEndpoint(COUNTER))
    async with standing(net) as stand:
        _, one = await stand.register(ONE, additional_headers={"a": "b"}, use_http_11=True)
        _, two = await stand.register(TWO)
        await stand.ask("PATCH", "/services/Counter", {"inactivity_timeout": "3s"})
        await stand.ask("PATCH", f"/deployments/{one['id']}", {"additional_headers": {"a": "c"}})
        await stand.ask("DELETE", f"/deployments/{two['id']}?force=true")
        _, two = await stand.register(TWO)
        await stand.ask("PATCH", "/services/Counter", {"public": False, "abort_timeout": "1h"})
        before = await stand.get("/deployments"), await stand.get("/services")
        world = stand.world
    world.disk.power_cut()
    net.made.clear()
    async with standing(net, world=world) as stand:
        assert (await stand.get("/deployments"), await stand.get("/services")) == before
        assert [transport.at.uri for transport in net.made] == [ONE, TWO]
        assert net.made[0].at == Endpoint(uri=ONE, use_http_11=True, additional_headers=(("a", "c"),))
        assert (await stand.client.call(ECHO_TARGET)).result == Success(one["id"].encode())


REFUSALS = {
    "nobody there": (FakeEndpoint(failure=TransportError("refused", reached=False)), 500, "META0003"),
    "not mounted": (FakeEndpoint(failure=TransportError("404", reached=True, status=404)), 500, "META0003"),
    "always busy": (FakeEndpoint(failure=TransportError("503", reached=True, status=503)), 500, "META0003"),
    "too slow": (FakeEndpoint(seconds=11), 500, "META0003"),
    "another version": (FakeEndpoint(failure=WrongHttpVersion("1.1", reached=True)), 500, "META0014"),
    "wrong label": (FakeEndpoint(failure=TransportError("type", reached=True, status=200)), 500, "META0013"),
    "no JSON": (FakeEndpoint(b"{"), 500, "META0013"),
    "bottomless": (FakeEndpoint(b"[" * 100_000), 500, "META0013"),
    "endless number": (
        FakeEndpoint(manifest(service("S", handler("h", input={"jsonSchema": {"maximum": float("inf")}})))),
        500,
        "META0013",
    ),
    "no mode": (FakeEndpoint(manifest(protocolMode=None)), 500, "META0013"),
    "unknown field": (FakeEndpoint(manifest(surprise=1)), 500, "META0013"),
    "old protocol": (FakeEndpoint(manifest(minProtocolVersion=1, maxProtocolVersion=4)), 500, "META0012"),
    "misfit": (FakeEndpoint(manifest(service("S", handler("h", ty="EXCLUSIVE")))), 400, None),
    "reserved": (FakeEndpoint(manifest(service("restate", handler("h")))), 400, "META0005"),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_refused_endpoints(case: str, autojump_clock: trio.testing.MockClock) -> None:
    endpoint, status, code = REFUSALS[case]
    async with standing(network(one=endpoint)) as stand:
        found, body = await stand.register(ONE)
        assert (found, body["restate_code"]) == (status, code)
        assert code is None or body["message"].startswith(f"[{code}] ")
        assert await stand.get("/deployments") == {"deployments": []}
        assert all(transport.closed for transport in stand.network.made)


async def test_an_endpoint_that_is_not_ready_is_asked_again(autojump_clock: trio.testing.MockClock) -> None:
    busy = FakeEndpoint(failure=TransportError("busy", reached=True, status=503), failures_left=2)
    async with standing(network(one=busy)) as stand:
        status, _ = await stand.register(ONE)
        assert (status, busy.discovered) == (201, 3)


async def test_a_service_changes_its_type_only_when_told() -> None:
    plain = manifest(service("Echo", handler("echo")), service("Also", handler("x")), service("Same", handler("x")))
    typed = manifest(
        service("Echo", handler("echo"), ty="VIRTUAL_OBJECT"),
        service("Same", handler("x")),
        service("Also", handler("x"), ty="VIRTUAL_OBJECT"),
    )
    async with standing(network(one=FakeEndpoint(plain), two=FakeEndpoint(typed), three=FakeEndpoint(typed))) as stand:
        await stand.register(ONE)
        status, body = await stand.register(TWO)
        assert (status, body["restate_code"]) == (409, "META0006")
        named = [name for name in ("Echo", "Also", "Same") if name in body["message"]]
        assert named == ["Echo", "Also"]
        assert (await stand.register(TWO, dry_run=True))[0] == 409
        assert len((await stand.get("/deployments"))["deployments"]) == 1
        status, body = await stand.register(TWO, breaking=True)
        assert (status, body["services"][0]["ty"]) == (201, "VirtualObject")
        status, _ = await stand.register(ONE, force=True)
        assert status == 200


async def test_two_registrations_of_one_address_make_one_deployment() -> None:
    async with standing(network(one=FakeEndpoint(seconds=0.01))) as stand:
        found = []

        async def register() -> None:
            found.append(await stand.register(ONE))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(register)
        assert sorted(status for status, _ in found) == [200, 200, 201]
        assert len({body["id"] for _, body in found}) == 1


async def test_a_deployment_moves() -> None:
    elsewhere = FakeEndpoint(manifest(service("Echo", handler("echo")), service("More", handler("x"))))
    ahead = FakeEndpoint(manifest(service("Echo", handler("echo")), maxProtocolVersion=6))
    async with standing(network(one=FakeEndpoint(), two=elsewhere, three=ahead, four=FakeEndpoint(COUNTER))) as stand:
        _, one = await stand.register(ONE)
        _, four = await stand.register("http://four:1/")
        at = f"/deployments/{one['id']}"

        async def patch(**fields: Any) -> tuple[int, dict[str, Any]]:
            response = await stand.ask("PATCH", at, fields)
            return response.status, json.loads(response.body)

        before = await stand.get(at)
        assert await patch() == (200, before)
        assert stand.network.endpoints[ONE].discovered == 1
        status, body = await patch(uri=TWO, dry_run=True)
        assert (status, body["uri"]) == (200, TWO)
        assert await stand.get(at) == before
        status, body = await patch(uri=TWO)
        assert (status, body["uri"], len(body["services"])) == (200, TWO, 1)
        assert body["created_at"] == before["created_at"]
        assert (await stand.client.call(ECHO_TARGET)).result == Success(one["id"].encode())
        assert len(elsewhere.attempts) == 1
        status, body = await patch(overwrite=True)
        assert [(s["name"], s["revision"]) for s in body["services"]] == [("Echo", 1), ("More", 1)]
        status, body = await patch(uri="http://three:1/")
        assert (status, body["restate_code"]) == (400, "META0016")
        status, body = await patch(uri="http://four:1")
        assert (status, body["restate_code"]) == (409, "META0004")
        status, body = await patch(uri="http://nobody:1")
        assert (status, body["restate_code"]) == (500, "META0003")
        status, body = await patch(arn="arn:aws:lambda:x:1:function:f:1")
        assert status == 400
        unknown = "dp_1" + "0" * 22
        assert (await stand.ask("PATCH", f"/deployments/{unknown}", {"uri": ONE})).status == 404
        assert (await stand.ask("PUT", at, {"uri": ONE})).status == 405
        replaced = await stand.ask("PUT", f"/v2{at}", {"uri": ONE})
        assert (replaced.status, json.loads(replaced.body)["uri"]) == (200, ONE)
        assert four["id"] != one["id"]


async def test_the_services_of_the_server_itself_stay() -> None:
    own = Deployment("dp_1" + "0" * 22, FakeTransport(FakeEndpoint(), Endpoint()), ECHO)
    async with standing(network(two=FakeEndpoint()), deployments=[own]) as stand:
        (shown,) = (await stand.get("/deployments"))["deployments"]
        assert shown["uri"] == "in-process://localhost/"
        assert (await stand.ask("DELETE", f"/deployments/{own.id}?force=true")).status == 400
        assert (await stand.ask("PATCH", f"/deployments/{own.id}", {"uri": TWO})).status == 400
        assert (await stand.register(TWO))[0] == 201


async def test_a_node_that_reaches_nobody_says_so() -> None:
    world = FakeWorld()
    async with standing(network(one=FakeEndpoint()), world=world) as stand:
        _, one = await stand.register(ONE)
    world.disk.power_cut()
    node = Node(world, LIMITS, observe=ignore)
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        with pytest.raises(RegistrationRefused) as refused:
            await node.registrar.register(Registration(endpoint=Endpoint(uri=TWO)))
        assert refused.value.why is Why.BAD_ADDRESS
        assert list(node.schema.deployments) == [one["id"]]
        assert node.registrar.transports == {}
        nursery.cancel_scope.cancel()


async def test_a_registration_that_is_given_up_leaves_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with standing(network(one=FakeEndpoint(seconds=5))) as stand:
        with trio.move_on_after(1) as scope:
            await stand.register(ONE)
        assert scope.cancelled_caught
        assert await stand.get("/deployments") == {"deployments": []}
        assert stand.network.made[-1].closed
        assert (await stand.register(ONE))[0] == 201


class SlowFile(FakeFile):
    async def fdatasync(self) -> None:
        await trio.lowlevel.checkpoint()
        await super().fdatasync()


class SlowDisk(FakeDisk):
    """A disk whose syncs take a while, so that others come in between."""

    def open(self, path: str, *, create: bool = False) -> SlowFile:
        super().open(path, create=create)
        return SlowFile(self, self.files[path])


async def test_a_registration_that_is_being_written_is_written_whole() -> None:
    world = FakeWorld(SlowDisk())
    async with standing(network(one=FakeEndpoint()), world=world) as stand:
        with trio.CancelScope() as scope:
            world.disk.before_write = lambda data: scope.cancel()
            await stand.register(ONE)
        world.disk.before_write = lambda data: None
        (deployment,) = stand.node.schema.deployments.values()
        assert deployment.origin.endpoint.uri == ONE
        assert (await stand.client.call(ECHO_TARGET)).result == Success(deployment.id.encode())
        schema = stand.node.schema
    world.disk.power_cut()
    async with standing(network(one=FakeEndpoint()), world=world) as stand:
        assert stand.node.schema == schema
