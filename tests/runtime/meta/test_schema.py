"""Manifests to schemas: what is taken over, what is refused and how; registrations as a log."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_runtime.limits import Limits
from understudy_runtime.log.core import LogCorrupt
from understudy_runtime.meta import core
from understudy_runtime.meta.core import MetaState, RegisterDeployment
from understudy_runtime.meta.shell import Meta
from understudy_runtime.model.invocation import HandlerType, OnMaxAttempts, RetryPolicy, ServiceType
from understudy_runtime.model.schema import ManifestError, Schema, parse_manifest

from tests.runtime.node.fakes import FakeWorld
from tests.runtime.node.manifests import manifest

LIMITS = Limits(log_prewrite_bytes=0)


def changed(path: str, value: object) -> dict[str, Any]:
    """The manifest with *value* at *path* (names and indices joined by dots); None removes it."""
    whole = copy.deepcopy(manifest())
    at: Any = whole
    *steps, last = path.split(".")
    for step in steps:
        at = at[int(step)] if isinstance(at, list) else at[step]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return whole


def test_types_and_options_are_taken_over() -> None:
    schema = Schema().with_deployment("dp_1a", parse_manifest(manifest()))
    found = schema.resolve("Counter", "add")
    assert found is not None
    service, add = found
    assert service.type is ServiceType.VIRTUAL_OBJECT
    assert service.keyed
    assert (service.deployment_id, service.revision) == ("dp_1a", 1)
    assert add.type is HandlerType.EXCLUSIVE
    assert service.handlers["get"].type is HandlerType.SHARED
    assert add.options.retry_policy(RetryPolicy()) == RetryPolicy(7, 3000, 60_000, 2)
    assert service.handlers["get"].options.retry_policy(RetryPolicy()) == RetryPolicy(5, 2000, 60_000, 2)
    assert schema.services["Flow"].handlers["run"].type is HandlerType.WORKFLOW
    assert schema.deployments["dp_1a"].protocol_version == 6
    assert schema.resolve("Counter", "nothing") is None
    assert schema.resolve("Nothing", "add") is None


def test_input_and_output_rules() -> None:
    value = changed("services.0.handlers.0.input", {})
    rule = parse_manifest(value).services[0].handlers["echo"].input
    assert (rule.required, rule.content_type) == (False, None)
    rule = parse_manifest(manifest()).services[0].handlers["echo"].input
    assert (rule.required, rule.content_type) == (False, "*/*")
    value = changed("services.0.handlers.0.output", {"setContentTypeIfEmpty": True})
    output = parse_manifest(value).services[0].handlers["echo"].output
    assert (output.content_type, output.set_content_type_if_empty) == (None, True)


def test_on_max_attempts_and_privacy() -> None:
    value = changed("services.0.retryPolicyOnMaxAttempts", "KILL")
    value["services"][0]["handlers"][0]["ingressPrivate"] = True
    handlers = parse_manifest(value).services[0].handlers
    assert handlers["echo"].options.retry_policy(RetryPolicy()).on_max_attempts is OnMaxAttempts.KILL
    assert not handlers["echo"].public
    assert handlers["other"].public


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("protocolMode", None, "protocolMode must be"),
        ("protocolMode", "TELEPATHY", "found 'TELEPATHY'"),
        ("minProtocolVersion", None, "are no range"),
        ("minProtocolVersion", 8, "are no range"),
        ("maxProtocolVersion", "7", "an integer"),
        ("services", None, "services must be an array"),
        ("services", {}, "services must be an array"),
        ("surprise", 1, "the field 'surprise' is unknown"),
        ("services.0.name", "1 2", "no identifier"),
        ("services.0.ty", "MAGIC", "ty must be one of"),
        ("services.1.name", "Echo", "Echo is listed twice"),
        ("services.0.handlers.1.name", "echo", "echo is listed twice"),
        ("services.0.handlers.0.ty", "EXCLUSIVE", "does not fit a SERVICE"),
        ("services.2.handlers.1.ty", "WORKFLOW", "one run handler, found 2"),
        ("services.0.handlers.0.input", {"required": 1}, "input.required"),
        ("services.0.handlers.0.output", {"contentType": 1}, "output.contentType"),
        ("services.0.inactivityTimeout", -1, "integer from 0 on"),
        ("services.0.retryPolicyMaxAttempts", 0, "integer from 1 on"),
        ("services.0.retryPolicyExponentiationFactor", "x", "a number from 1 on"),
        ("services.0.retryPolicyOnMaxAttempts", "SHRUG", "PAUSE or KILL"),
        ("services.0.enableLazyState", 1, "true or false"),
    ],
)
def test_what_is_wrong_is_named(path: str, value: object, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        parse_manifest(changed(path, value))


def test_versions_that_do_not_meet_are_refused() -> None:
    value = changed("minProtocolVersion", 7)
    with pytest.raises(ManifestError, match="speaks protocol versions 7 to 7, this server 5 to 6"):
        parse_manifest(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["services", "name", "ty"]), inner),
    max_leaves=8,
)


@given(JSON)
def test_arbitrary_json_is_a_manifest_or_a_named_error(value: object) -> None:
    with pytest.raises(ManifestError):
        parse_manifest(value)


def test_a_newer_registration_wins_and_dropped_services_go() -> None:
    first = Schema().with_deployment("dp_1a", parse_manifest(manifest()))
    only_echo = {**manifest(), "services": manifest()["services"][:1]}  # type: ignore[index]
    second = first.with_deployment("dp_1b", parse_manifest(only_echo))
    assert second.services["Echo"].deployment_id == "dp_1b"
    assert second.services["Echo"].revision == 2
    assert second.services["Counter"].deployment_id == "dp_1a"
    third = first.with_deployment("dp_1a", parse_manifest(only_echo))
    assert list(third.services) == ["Echo"]


def test_the_same_manifest_is_no_command() -> None:
    state = MetaState()
    command = core.register(state, "dp_1a", manifest())
    assert command is not None
    core.apply(state, command)
    assert core.register(state, "dp_1a", json.dumps(manifest(), indent=2).encode()) is None
    assert core.register(state, "dp_1b", manifest()) is not None


async def test_registrations_survive_a_restart() -> None:
    world = FakeWorld()
    meta = await Meta.open(world, identity=1, limits=LIMITS, observe=lambda event: None)
    assert await meta.register("dp_1a", manifest())
    assert not await meta.register("dp_1a", manifest())
    with pytest.raises(ManifestError, match="no JSON"):
        await meta.register("dp_1a", b"{")
    meta.close()
    world.disk.power_cut()
    again = await Meta.open(world, identity=1, limits=LIMITS, observe=lambda event: None)
    assert again.schema == meta.schema
    assert again.lsn_last == 1


async def test_a_damaged_meta_log_refuses() -> None:
    world = FakeWorld()
    meta = await Meta.open(world, identity=1, limits=LIMITS, observe=lambda event: None)
    for number in range(2):
        await meta.register(f"dp_1{number}", manifest())
    (name,) = world.disk.files
    world.disk.files[name].seen[100] ^= 1
    with pytest.raises(LogCorrupt, match=name):
        await Meta.open(world, identity=1, limits=LIMITS, observe=lambda event: None)


def test_the_command_is_canonical() -> None:
    command = core.register(MetaState(), "dp_1a", manifest())
    assert isinstance(command, RegisterDeployment)
    assert json.loads(command.manifest) == manifest()
    assert b" " not in command.manifest
