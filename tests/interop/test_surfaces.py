"""The same requests to both servers, with the same application registered: the same statuses, headers and JSON keys.

Texts and ids are each server's own.  Where the two differ on purpose, DIFFERENT says so; `docs/interop.md` explains.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from tests.interop.client import Response, ask
from tests.interop.conftest import Pair
from tests.interop.pairings import Stage

JSON = {"content-type": "application/json"}
HEADERS_COMPARED = ("content-type", "x-restate-error-source", "allow", "location")


class Ask(NamedTuple):
    """One request: to the ingress, or to the admin when *admin*."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = JSON
    admin: bool = False


def post(path: str, value: Any = None, **headers: str) -> Ask:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    if value is None:
        return Ask("POST", path, b"", named)
    return Ask("POST", path, json.dumps(value).encode(), {**JSON, **named})


def get(path: str) -> Ask:
    return Ask("GET", path, b"", {})


def admin(method: str, path: str, value: Any = None) -> Ask:
    return Ask(method, path, b"" if value is None else json.dumps(value).encode(), {} if value is None else JSON, True)


UNKNOWN = "inv_14NAYWOkWeyC4HqaAv3eM70hJLaHxEfgB2"

ASKS = {
    # -- calls --
    "call": post("TestUtilsService/echo", "x"),
    "call by the newer path": post("restate/call/TestUtilsService/echo", "x"),
    "call of an object": post("Counter/k/add", 1),
    "call with an escaped key": post("Counter/a%2Fb%20c/add", 1),
    "call with an empty key": post("Counter//add", 1),
    "call with a trailing slash": post("TestUtilsService/echo/", "x"),
    "call without output": post("Counter/k/reset"),
    "call with GET": Ask("GET", "Counter/k/get", b"", {}),
    "call with PUT": Ask("PUT", "TestUtilsService/echo", b'"x"'),
    "call with a delay": post("TestUtilsService/echo?delay=1s", "x"),
    "terminal failure": post("Failing/k/terminallyFailingCall", {"errorMessage": "no", "metadata": {"a": "b"}}),
    "bad JSON": Ask("POST", "TestUtilsService/echo", b"{"),
    "no body": post("TestUtilsService/echo"),
    "another content type": Ask("POST", "TestUtilsService/echo", b'"x"', {"content-type": "text/plain"}),
    "a charset": Ask("POST", "TestUtilsService/echo", b'"x"', {"content-type": "application/json; charset=utf-8"}),
    "a body where none is taken": post("Counter/k/get", 1),
    "raw bytes": Ask("POST", "TestUtilsService/rawEcho", b"\x00\xff", {"content-type": "image/png"}),
    "a header that is no text": Ask("POST", "TestUtilsService/echo", b'"x"', {**JSON, "x-odd": "\x80"}),
    # -- paths --
    "unknown service": post("Nobody/echo", "x"),
    "unknown handler": post("TestUtilsService/nobody", "x"),
    "no key": post("Counter/add", 1),
    "too many segments": post("a/b/c/d/e/f/g/h/i", 1),
    "root": get(""),
    "one segment": get("TestUtilsService"),
    "health": get("restate/health"),
    "unknown verb": get("restate/nothing"),
    # -- sends --
    "send": post("TestUtilsService/echo/send", "x"),
    "send by the newer path": post("restate/send/TestUtilsService/echo", "x"),
    "send with a delay": post("TestUtilsService/echo/send?delay=10ms", "x"),
    "send with an ISO delay": post("TestUtilsService/echo/send?delay=PT0.01S", "x"),
    "send with a bad delay": post("TestUtilsService/echo/send?delay=soon", "x"),
    "send with a bare number": post("TestUtilsService/echo/send?delay=10", "x"),
    "send with months": post("TestUtilsService/echo/send?delay=P1M", "x"),
    # -- idempotency --
    "idempotent call": post("TestUtilsService/echo", "x", idempotency_key="k1"),
    "idempotent call again": post("TestUtilsService/echo", "y", idempotency_key="k1"),
    "idempotent send of the same": post("TestUtilsService/echo/send", "y", idempotency_key="k1"),
    "output by key": get("restate/invocation/TestUtilsService/echo/k1/output"),
    "attach by key": get("restate/invocation/TestUtilsService/echo/k1/attach"),
    "output by unknown key": get("restate/invocation/TestUtilsService/echo/nobody/output"),
    "attach by unknown key": get("restate/invocation/TestUtilsService/echo/nobody/attach"),
    "output of an unknown service": get("restate/invocation/Nobody/echo/k1/output"),
    "key on a workflow": post("BlockAndWaitWorkflow/w0/run", "x", idempotency_key="k1"),
    # -- workflows --
    "submit": post("BlockAndWaitWorkflow/w1/run/send", "x"),
    "submit again": post("BlockAndWaitWorkflow/w1/run/send", "x"),
    "run again": post("BlockAndWaitWorkflow/w1/run", "x"),
    "output too early": get("restate/workflow/BlockAndWaitWorkflow/w1/output"),
    "output of an unknown key": get("restate/workflow/BlockAndWaitWorkflow/nobody/output"),
    "attach to an unknown key": get("restate/workflow/BlockAndWaitWorkflow/nobody/attach"),
    "unblock": post("BlockAndWaitWorkflow/w1/unblock", "y"),
    "attach": get("restate/workflow/BlockAndWaitWorkflow/w1/attach"),
    "output": get("restate/workflow/BlockAndWaitWorkflow/w1/output"),
    "unblock again": post("BlockAndWaitWorkflow/w1/unblock", "z"),
    # -- ids --
    "output of an unknown id": get(f"restate/invocation/{UNKNOWN}/output"),
    "attach to an unknown id": get(f"restate/invocation/{UNKNOWN}/attach"),
    "output of no id": get("restate/invocation/inv_1nonsense/output"),
    "newer output": get(f"restate/output/{UNKNOWN}"),
    "lookup of a workflow": post(
        "restate/lookup", {"target": "workflow", "workflowName": "BlockAndWaitWorkflow", "workflowKey": "w1"}
    ),
    "lookup of a key": post(
        "restate/lookup",
        {
            "target": "idempotentInvocation",
            "service": "TestUtilsService",
            "handler": "echo",
            "idempotencyKey": "k1",
        },
    ),
    "lookup of nonsense": post("restate/lookup", {"target": "nonsense"}),
    "resolve no awakeable": post("restate/awakeables/nonsense/resolve", "x"),
    "resolve an awakeable that is gone": post(
        "restate/awakeables/sign_1DHmSNeJIUykKeMWF40GK5x91HElaG3dfAAAAEQ/resolve", "x"
    ),
    "reject an awakeable that is gone": Ask(
        "POST", "restate/a/sign_1DHmSNeJIUykKeMWF40GK5x91HElaG3dfAAAAEQ/reject", b"no", {"content-type": "text/plain"}
    ),
    # -- admin --
    "version": admin("GET", "version"),
    "admin health": admin("GET", "health"),
    "cluster health": admin("GET", "cluster-health"),
    "deployments": admin("GET", "deployments"),
    "services": admin("GET", "services"),
    "a service": admin("GET", "services/Counter"),
    "an unknown service": admin("GET", "services/Nobody"),
    "handlers": admin("GET", "services/Counter/handlers"),
    "a handler": admin("GET", "services/Counter/handlers/add"),
    "an unknown handler": admin("GET", "services/Counter/handlers/nobody"),
    "an unknown deployment": admin("GET", "deployments/dp_17tcjGHuvGBwls9k60tthq9"),
    "a deployment that is no id": admin("GET", "deployments/nonsense"),
    "remove without force": admin("DELETE", "deployments/dp_17tcjGHuvGBwls9k60tthq9"),
    "remove an unknown one": admin("DELETE", "deployments/dp_17tcjGHuvGBwls9k60tthq9?force=true"),
    "cancel an unknown one": admin("PATCH", f"invocations/{UNKNOWN}/cancel"),
    "kill an unknown one": admin("PATCH", f"invocations/{UNKNOWN}/kill"),
    "purge an unknown one": admin("PATCH", f"invocations/{UNKNOWN}/purge"),
    "cancel no id": admin("PATCH", "invocations/nonsense/cancel"),
    "the old cancel": admin("DELETE", f"invocations/{UNKNOWN}?mode=cancel"),
    "patch a service": admin("PATCH", "services/ListObject", {"public": True, "idempotency_retention": "2 days"}),
    "patch an unknown service": admin("PATCH", "services/Nobody", {"public": True}),
    "patch with nonsense": admin("PATCH", "services/ListObject", {"idempotency_retention": "soon"}),
    "hide a service": admin("PATCH", "services/MapObject", {"public": False}),
    "call a hidden service": post("MapObject/k/get", "x"),
    "mutate state": admin("POST", "services/Counter/state", {"object_key": "m", "new_state": {"counter": [52]}}),
    "mutate state of nobody": admin("POST", "services/Nobody/state", {"object_key": "m", "new_state": {}}),
    "register nobody": admin("POST", "deployments", {"uri": "http://127.0.0.1:1/"}),
    "register no URI": admin("POST", "deployments", {"uri": "nonsense"}),
    "register bad JSON": Ask("POST", "deployments", b"{", JSON, True),
    "register another type": Ask("POST", "deployments", b"{}", {"content-type": "text/plain"}, True),
    "register the wrong shape": admin("POST", "deployments", {"url": "x"}),
    "unknown route": admin("GET", "nothing"),
    "wrong method": admin("POST", "version"),
}

# Requests that the two answer differently on purpose or not yet, and what ours answers.
DIFFERENT: dict[str, str] = {}


def asked(stage: Stage, one: Ask) -> Response:
    base = stage.server.admin if one.admin else stage.server.ingress
    return ask(one.method, f"{base}/{one.path}", one.body if one.body or one.method == "POST" else None, one.headers)


def told(response: Response, *, is_racing: bool = False) -> dict[str, Any]:
    """What is compared of an answer."""
    headers = {name: response.headers[name] for name in HEADERS_COMPARED if name in response.headers}
    if "location" in headers:
        headers["location"] = headers["location"].partition("dp_1")[0]
    found: dict[str, Any] = {"status": response.status, "headers": headers}
    found["id"] = "x-restate-id" in response.headers
    # Whether the workflow has ended when somebody attaches is a matter of milliseconds.
    found["expires"] = "idempotency-expires" in response.headers and not is_racing
    if headers.get("content-type", "").startswith("application/json") and response.body:
        found["body"] = shape(json.loads(response.body))
    else:
        found["body"] = bool(response.body)
    return found


# Each server's own words, and one default: our server keeps no journals of what has ended unless it is told to.
FREE = ("version", "ingress_endpoint", "features", "cluster_name", "message", "journal_retention")


def shape(value: Any) -> Any:
    """A JSON value with its keys but without what differs from run to run."""
    if isinstance(value, dict):
        return {key: "…" if key in FREE else shape(item) for key, item in sorted(value.items())}
    if isinstance(value, list):
        shapes = [shape(item) for item in value]
        return sorted(shapes, key=json.dumps)  # Both list in an order of their own.
    if isinstance(value, str) and (value.startswith(("inv_1", "dp_1", "http://")) or value[4:5] == "-"):
        return value[:5].rstrip("0123456789-")
    return value


@pytest.fixture(scope="module")
def answers(pair: Pair) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Both servers' answers to all requests, each server asked in order."""

    def all_of(stage: Stage) -> dict[str, dict[str, Any]]:
        return {name: told(asked(stage, one), is_racing=name == "attach") for name, one in ASKS.items()}

    with ThreadPoolExecutor(2) as executor:
        official, ours = executor.map(all_of, pair)
    return {name: (official[name], ours[name]) for name in ASKS}


@pytest.mark.parametrize("name", ASKS)
def test_the_same_answer(answers: dict[str, tuple[dict[str, Any], dict[str, Any]]], name: str) -> None:
    official, ours = answers[name]
    if name in DIFFERENT:
        assert ours != official, "they agree now: take it out of DIFFERENT"
    else:
        assert ours == official
