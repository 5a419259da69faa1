"""The meta log's commands: what is decided, what comes back after a restart, and logs of older builds."""

from __future__ import annotations

import json
from typing import Any

import attrs
import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_runtime.limits import Limits
from understudy_runtime.meta import core
from understudy_runtime.meta.checkpoint import Checkpoint
from understudy_runtime.meta.core import (
    META_TAGS,
    Found,
    MetaCommand,
    MetaState,
    MoveDeployment,
    PatchService,
    RegisterDeployment,
    RemoveDeployment,
)
from understudy_runtime.meta.shell import META_CODEC, Meta
from understudy_runtime.model.endpoint import Endpoint
from understudy_runtime.model.registration import DeploymentPatch, Registration, RegistrationRefused, Why
from understudy_runtime.model.schema import Options, Origin, Schema, parse_manifest

from tests.runtime.node.fakes import FakeWorld
from tests.runtime.node.manifests import manifest

LIMITS = Limits(log_prewrite_bytes=0)
ONE = Endpoint(uri="http://one:1/", additional_headers=(("a", "b"),), metadata=(("git", "abc"),))
TWO = Endpoint(uri="http://two:1/", use_http_11=True)
MANIFEST = core.canonical_manifest(manifest())
EVERY_COMMAND: list[MetaCommand] = [
    RegisterDeployment("dp_1a", MANIFEST, ONE, "sdk/1", "HTTP/2.0", 5),
    RegisterDeployment("dp_1b", MANIFEST, TWO),
    PatchService("Echo", True, 1, None, 0, 3, 4),
    PatchService("Flow", workflow_retention_ms=9),
    MoveDeployment("dp_1a", TWO, b"", "sdk/2", "HTTP/1.1"),
    MoveDeployment("dp_1b", ONE, MANIFEST),
    RemoveDeployment("dp_1a"),
]


def only(*names: str) -> dict[str, Any]:
    value = manifest()
    services = value["services"]
    assert isinstance(services, list)
    return {**value, "services": [service for service in services if service["name"] in names]}


def discovered(value: dict[str, Any], endpoint: Endpoint = ONE) -> Found:
    return core.found(json.dumps(value).encode(), Origin(endpoint=endpoint, created_ms=7))


def test_every_command_is_in_the_list() -> None:
    assert {type(command) for command in EVERY_COMMAND} | {Checkpoint} == set(META_TAGS.values())


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=lambda command: type(command).__name__)
def test_commands_come_back_from_their_bytes(command: MetaCommand) -> None:
    assert META_CODEC.decode(META_CODEC.encode([command])) == [command]


def test_a_log_of_an_older_build_is_read() -> None:
    payload = cbor2.dumps([[1, {1: "dp_1a", 2: MANIFEST}]])
    (command,) = META_CODEC.decode(payload)
    state = MetaState()
    core.apply(state, command)
    deployment = state.schema.deployments["dp_1a"]
    assert deployment.origin == Origin()
    assert state.schema == Schema().with_deployment("dp_1a", parse_manifest(manifest()))
    assert core.register(state, "dp_1a", manifest()) is None


async def test_a_restart_brings_everything_back() -> None:
    world = FakeWorld()
    meta = await Meta.open(world, identity=1, limits=LIMITS, observe=lambda event: None)
    for command in EVERY_COMMAND:
        await meta.append(command)
    meta.close()
    world.disk.power_cut()
    again = await Meta.open(world, identity=1, limits=LIMITS, observe=lambda event: None)
    assert again.schema == meta.schema
    assert again.schema.revision == len(EVERY_COMMAND)
    assert list(again.schema.deployments) == ["dp_1b"]


PLAYS = st.lists(
    st.tuples(
        st.sampled_from(["register", "force", "remove", "patch", "move", "overwrite"]),
        st.integers(0, 3),
        st.sampled_from([("Echo",), ("Echo", "Flow"), ("Counter", "Flow"), ("Echo", "Counter", "Flow")]),
    ),
    max_size=12,
)


def decide(state: MetaState, word: str, number: int, names: tuple[str, ...], step: int) -> MetaCommand | None:
    endpoint = Endpoint(uri=f"http://h{number}:1/")
    schema = state.schema
    known = core.known_at(schema, endpoint)
    if word in ("register", "force"):
        wanted = Registration(endpoint=endpoint, force=word == "force")
        if core.before_discovery(schema, wanted) is not None:
            return None
        return core.after_discovery(schema, wanted, discovered(only(*names), endpoint), f"dp_{step}").command
    if word == "patch":
        return core.patch_service(schema, names[0], Options(abort_timeout_ms=step))
    id_ = known.id if known else "dp_none"
    if word == "remove":
        return core.remove(schema, id_)
    patch = DeploymentPatch(additional_headers=(("n", str(step)),), overwrite=word == "overwrite")
    moved = core.before_move(schema, id_, patch)
    return core.after_move(schema, id_, patch, discovered(only(*names), moved)).command


@given(PLAYS)
def test_whatever_happens_the_schema_holds_together(play: list[tuple[str, int, tuple[str, ...]]]) -> None:
    state = MetaState()
    applied: list[MetaCommand] = []
    for step, (word, number, names) in enumerate(play):
        try:
            command = decide(state, word, number, names, step)
        except RegistrationRefused as refused:
            assert refused.why is Why.UNKNOWN  # noqa: PT017 - what else may come is an error
            continue
        if command is not None:
            core.apply(state, command)
            applied.append(command)
            check(state)
    again = MetaState()
    for command in META_CODEC.decode(META_CODEC.encode(applied)):
        core.apply(again, command)
    assert again == state


def check(state: MetaState) -> None:
    schema = state.schema
    uris = [deployment.origin.endpoint.uri for deployment in schema.deployments.values()]
    assert len(set(uris)) == len(uris), "an address has one deployment"
    assert set(state.manifests) == set(schema.deployments)
    offered = [found for deployment in schema.deployments.values() for found in deployment.services.values()]
    assert {found.name for found in offered} == set(schema.services)
    for service in schema.services.values():
        same = [found for found in offered if found.name == service.name]
        assert service == schema.deployments[service.deployment_id].services[service.name]
        assert service.revision == max(found.revision for found in same)
        assert len({found.revision for found in same}) == len(same), "no revision twice"


def refusal(function: Any, *arguments: Any) -> Why:
    with pytest.raises(RegistrationRefused) as refused:
        function(*arguments)
    return refused.value.why


def test_what_is_refused() -> None:
    state = MetaState()
    core.apply(state, RegisterDeployment("dp_1a", MANIFEST, ONE))
    core.apply(state, RegisterDeployment("dp_1b", core.canonical_manifest(only("Echo")), TWO))
    core.apply(state, RegisterDeployment("dp_1own", core.canonical_manifest(only("Echo"))))
    schema = state.schema
    twice = Registration(endpoint=ONE, once=True)
    assert refusal(core.before_discovery, schema, twice) is Why.ALREADY_KNOWN
    taken = DeploymentPatch(uri=TWO.uri)
    assert refusal(core.before_move, schema, "dp_1a", taken) is Why.ADDRESS_TAKEN
    assert refusal(core.before_move, schema, "dp_1own", taken) is Why.IN_PROCESS
    assert refusal(core.before_move, schema, "dp_1c", taken) is Why.UNKNOWN
    assert refusal(core.remove, schema, "dp_1c") is Why.UNKNOWN
    assert refusal(core.patch_service, schema, "Nope", Options()) is Why.UNKNOWN
    retyped = only("Echo")
    retyped["services"] = [{**retyped["services"][0], "ty": "VIRTUAL_OBJECT"}]
    overwrite = DeploymentPatch(overwrite=True)
    assert refusal(core.after_move, schema, "dp_1a", overwrite, discovered(retyped)) is Why.TYPE_CHANGED
    ranged = discovered({**manifest(), "maxProtocolVersion": 6})
    assert refusal(core.after_move, schema, "dp_1a", DeploymentPatch(use_http_11=True), ranged) is Why.VERSIONS_CHANGED


def test_only_what_can_be_patched_is_in_the_command() -> None:
    state = MetaState()
    core.apply(state, RegisterDeployment("dp_1a", MANIFEST, ONE))
    patchable = {field.name for field in attrs.fields(PatchService)} - {"service"}
    for field in attrs.fields(Options):
        value: Any = True if field.type in ("bool | None", bool | None) else 5
        options = Options(**{field.name: value})
        if field.name in patchable:
            assert core.patch_service(state.schema, "Flow", options) is not None
        else:
            with pytest.raises(AssertionError):
                core.patch_service(state.schema, "Flow", options)
