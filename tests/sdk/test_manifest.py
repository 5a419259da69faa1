"""The manifest: the recorded SDK's words for the same services, and a refusal where a version lacks a field."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
import pydantic
import pytest
from understudy import (
    Context,
    InvocationRetryPolicy,
    ObjectContext,
    ObjectSharedContext,
    Service,
    VirtualObject,
    Workflow,
    WorkflowContext,
    WorkflowSharedContext,
    app,
)
from understudy.api.manifest import FIELD_SINCE, ManifestError
from understudy.api.schema import schema_of

JSON = "application/json"


def services() -> list[Any]:
    greeter = Service(
        "Greeter",
        description="says hello",
        metadata={"team": "a"},
        inactivity_timeout=timedelta(seconds=30),
        abort_timeout=timedelta(minutes=2),
        journal_retention=timedelta(days=2),
        idempotency_retention=timedelta(hours=5),
        ingress_private=True,
        invocation_retry_policy=InvocationRetryPolicy(
            initial_interval=timedelta(milliseconds=100),
            exponentiation_factor=1.5,
            max_interval=timedelta(seconds=9),
            max_attempts=7,
            on_max_attempts="kill",
        ),
    )

    @greeter.handler()
    async def greet(ctx: Context, name: str) -> str:
        """greets"""
        return name

    @greeter.handler(metadata={"x": "y"})
    async def other(ctx: Context) -> None: ...

    counter = VirtualObject("Counter", enable_lazy_state=False)

    @counter.handler()
    async def add(ctx: ObjectContext, number: int) -> int:
        return number

    @counter.handler(kind="shared", enable_lazy_state=True)
    async def get(ctx: ObjectSharedContext) -> int:
        return 0

    flow = Workflow("Flow")

    @flow.main(workflow_retention=timedelta(days=3))
    async def run(ctx: WorkflowContext, order: dict[str, Any]) -> list[Any]:
        return []

    @flow.handler()
    async def poke(ctx: WorkflowSharedContext) -> None: ...

    return [greeter, counter, flow]


def typed(type_: Any) -> dict[str, Any]:
    return {"contentType": JSON, "jsonSchema": type_}


VOID = {"setContentTypeIfEmpty": False}
RECORDED_V4 = {
    "protocolMode": "BIDI_STREAM",
    "minProtocolVersion": 5,
    "maxProtocolVersion": 6,
    "services": [
        {
            "name": "Greeter",
            "ty": "SERVICE",
            "handlers": [
                {
                    "name": "greet",
                    "input": {"required": False, **typed({"type": "string"})},
                    "output": {**VOID, **typed({"type": "string"})},
                    "documentation": "greets",
                },
                {"name": "other", "input": {}, "output": VOID, "metadata": {"x": "y"}},
            ],
            "documentation": "says hello",
            "metadata": {"team": "a"},
            "inactivityTimeout": 30000,
            "abortTimeout": 120000,
            "journalRetention": 172800000,
            "idempotencyRetention": 18000000,
            "ingressPrivate": True,
            "retryPolicyInitialInterval": 100,
            "retryPolicyMaxInterval": 9000,
            "retryPolicyMaxAttempts": 7,
            "retryPolicyExponentiationFactor": 1.5,
            "retryPolicyOnMaxAttempts": "KILL",
        },
        {
            "name": "Counter",
            "ty": "VIRTUAL_OBJECT",
            "handlers": [
                {
                    "name": "add",
                    "ty": "EXCLUSIVE",
                    "input": {"required": False, **typed({"type": "integer"})},
                    "output": {**VOID, **typed({"type": "integer"})},
                },
                {
                    "name": "get",
                    "ty": "SHARED",
                    "input": {},
                    "output": {**VOID, **typed({"type": "integer"})},
                    "enableLazyState": True,
                },
            ],
            "enableLazyState": False,
        },
        {
            "name": "Flow",
            "ty": "WORKFLOW",
            "handlers": [
                {
                    "name": "run",
                    "ty": "WORKFLOW",
                    "input": {"required": False, **typed({"type": "object"})},
                    "output": {**VOID, **typed({"type": "array", "items": True})},
                    "workflowCompletionRetention": 259200000,
                },
                {"name": "poke", "ty": "SHARED", "input": {}, "output": VOID},
            ],
        },
    ],
}


def test_the_recorded_manifest() -> None:
    assert app(services()).manifest(4) == RECORDED_V4


def test_request_response_is_said_when_asked_for_or_over_http_1() -> None:
    assert app([], protocol="request_response").manifest(4)["protocolMode"] == "REQUEST_RESPONSE"
    assert app([], protocol="bidi").manifest(4, over_http1=True)["protocolMode"] == "BIDI_STREAM"
    assert app([]).manifest(4, over_http1=True)["protocolMode"] == "REQUEST_RESPONSE"


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_field_newer_than_the_version_is_refused_by_name(version: int) -> None:
    with pytest.raises(ManifestError) as caught:
        app(services()).manifest(version)
    newer = [field for field, since in FIELD_SINCE.items() if since > version]
    assert any(field in str(caught.value) for field in newer)


def test_a_plain_service_can_be_told_in_every_version() -> None:
    service = Service("S")

    @service.handler()
    async def plain(ctx: Context, value: str) -> str:
        return value

    for version in (1, 2, 3, 4):
        assert app([service]).manifest(version)["services"][0]["handlers"][0]["name"] == "plain"


@dataclass
class Point:
    x: int


class Struct(msgspec.Struct):
    x: int


class Model(pydantic.BaseModel):
    x: int


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (None, True),
        (Any, True),
        (Point, True),
        (str, {"type": "string"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (dict, {"type": "object"}),
        (list, {"type": "array", "items": True}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (int | None, {"type": ["integer", "null"]}),
        (int | str, True),
        (Point | None, True),
    ],
)
def test_schemas(hint: Any, schema: Any) -> None:
    assert schema_of(hint) == schema


def test_schemas_of_models() -> None:
    assert schema_of(Model)["properties"]["x"]["type"] == "integer"
    assert "Struct" in str(schema_of(Struct))
    assert schema_of(Model | None)["type"] == ["object", "null"]


# -- definitions --


def test_a_handler_needs_a_context_and_may_take_one_argument() -> None:
    service = Service("S")

    async def none() -> None: ...

    async def three(ctx: Context, a: int, b: int) -> None: ...

    def sync(ctx: Context) -> None: ...

    for function in (none, three):
        with pytest.raises(ValueError, match=r"expected \(ctx\)"):
            service.handler()(function)
    with pytest.raises(TypeError, match="async def"):
        service.handler()(sync)


def test_names_are_given_once() -> None:
    service = Service("S")

    @service.handler("same")
    async def first(ctx: Context) -> None: ...

    async def second(ctx: Context) -> None: ...

    with pytest.raises(ValueError, match="two handlers named 'same'"):
        service.handler("same")(second)
    with pytest.raises(ValueError, match="two services are named 'S'"):
        app([service, Service("S")])
    with pytest.raises(TypeError, match="is no Service"):
        app([object()])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="needs a name"):
        Service("")


def test_options_that_do_not_fit_are_refused() -> None:
    thing, flow = VirtualObject("O"), Workflow("W")
    with pytest.raises(ValueError, match="expected 'exclusive' or 'shared'"):
        thing.handler(kind="other")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="workflow_retention"):
        thing.handler(workflow_retention=timedelta(1))  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="idempotency_retention"):
        flow.main(idempotency_retention=timedelta(1))  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="no option 'kind'"):
        flow.handler(kind="shared")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unheard_of"):
        thing.handler(unheard_of=1)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="not both"):
        thing.handler(enable_lazy_state=True, state_preload=True)
    with pytest.raises(TypeError, match="enable_lazy_state"):
        Service("S", enable_lazy_state=True)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="a list of keys"):
        VirtualObject("P", state_preload="key")
    assert VirtualObject("P", state_preload=False).options.enable_lazy_state is True


@pytest.mark.parametrize(
    ("preload", "lazy", "keys"),
    [(None, None, None), (True, False, None), (False, True, None), ([], True, None), (["b", "a"], True, ["b", "a"])],
)
def test_which_state_is_preloaded(preload: Any, lazy: bool | None, keys: list[str] | None) -> None:
    thing = VirtualObject("O")

    @thing.handler(state_preload=preload)
    async def handle(ctx: ObjectContext) -> None: ...

    (described,) = app([thing]).manifest(5)["services"][0]["handlers"]
    assert (described.get("enableLazyState"), described.get("eagerStateKeysWhitelist")) == (lazy, keys)
    if keys is not None:
        with pytest.raises(ManifestError, match="eagerStateKeysWhitelist"):
            app([thing]).manifest(4)
