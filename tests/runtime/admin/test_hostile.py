"""Requests that are wrong, by hand and by chance: the status that says how, never an error of ours."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from understudy_runtime.admin import bodies, core
from understudy_runtime.admin.asked import TEXT_TYPE, Malformed, Node, Respond
from understudy_runtime.ingress.port import Request
from understudy_runtime.limits import Limits
from understudy_runtime.model.ids import ENTROPY_BYTES, deployment_id, invocation_id_for, invocation_id_text
from understudy_runtime.model.invocation import HandlerType, Target
from understudy_runtime.model.schema import Schema, parse_manifest

from tests.runtime.admin.stand import COUNTER, JSON, ONE, FakeConnect, FakeEndpoint, standing
from tests.runtime.node.manifests import manifest

DP = deployment_id(bytes(16))
INV = invocation_id_text(bytes(24))
NODE = Node(
    schema=Schema().with_deployment(DP, parse_manifest(manifest())),
    limits=Limits(),
    version="1.2.3",
    ingress_endpoint="http://x/",
    cluster_name="c",
)
LIVE = invocation_id_for(Target("Counter", "add", "a"), HandlerType.EXCLUSIVE, "k", 0, bytes(ENTROPY_BYTES))
URI = {"uri": "http://h:1"}

WRONG = [
    ("POST", "/deployments", b"{", 400),
    ("POST", "/deployments", b"", 400),
    ("POST", "/deployments", b"\xff\xfe", 400),
    ("POST", "/deployments", b'{"uri": NaN}', 400),
    ("POST", "/deployments", b'{"uri": "\\ud800"}', 400),
    ("POST", "/deployments", b"[" * 129, 400),
    ("POST", "/deployments", b'{"a":' * 100_000, 400),
    ("POST", "/deployments", b'{"a": 1' + b"0" * 5_000 + b"}", 400),
    ("POST", "/deployments", b"[]", 422),
    ("POST", "/deployments", b"null", 422),
    ("POST", "/deployments", b"{}", 422),
    ("POST", "/deployments", {"uri": 1}, 422),
    ("POST", "/deployments", {"uri": None}, 422),
    ("POST", "/deployments", {**URI, "force": "yes"}, 422),
    ("POST", "/deployments", {**URI, "use_http_11": 1}, 422),
    ("POST", "/deployments", {**URI, "additional_headers": []}, 422),
    ("POST", "/deployments", {**URI, "additional_headers": {"a": 1}}, 422),
    ("POST", "/deployments", {**URI, "metadata": {"a": None}}, 422),
    ("POST", "/deployments", {"uri": ""}, 400),
    ("POST", "/deployments", {"uri": "h:1"}, 400),
    ("POST", "/deployments", {"uri": "http://[::1"}, 400),
    ("POST", "/deployments", {"arn": "arn:aws:lambda:x:1:function:f:1"}, 400),
    ("POST", "/deployments", {**URI, "auth": {"GoogleIdToken": {}}}, 400),
    ("GET", "/deployments/nope", None, 400),
    ("GET", f"/deployments/{DP[:-1]}", None, 400),
    ("GET", f"/deployments/dp_1{'Z' * 22}", None, 400),
    ("PATCH", f"/deployments/{DP}", b"[1]", 422),
    ("DELETE", f"/deployments/{DP}?force=yes", None, 400),
    ("PATCH", "/services/Echo", {"public": "no"}, 422),
    ("PATCH", "/services/Echo", {"journal_retention": 5}, 422),
    ("PATCH", "/services/Echo", {"journal_retention": "-1s"}, 422),
    ("PATCH", "/services/Echo", {"journal_retention": "99999999999999d"}, 422),
    ("PATCH", "/services/Nope", {}, 404),
    ("GET", "/services/Nope/handlers", None, 404),
    ("GET", "/services/%ff", None, 400),
    ("GET", "/services?" + "&".join(f"a{n}=1" for n in range(200)), None, 400),
    ("POST", "/services/Counter/state", {"object_key": "a"}, 422),
    ("POST", "/services/Counter/state", {"object_key": 1, "new_state": {}}, 422),
    ("POST", "/services/Counter/state", {"object_key": "a", "new_state": []}, 422),
    ("POST", "/services/Counter/state", {"object_key": "a", "new_state": {"a": 1}}, 422),
    ("POST", "/services/Counter/state", {"object_key": "a", "new_state": {"a": [256]}}, 422),
    ("POST", "/services/Counter/state", {"object_key": "a", "new_state": {"a": [True]}}, 422),
    ("POST", "/services/Counter/state", {"object_key": "a", "new_state": {}, "scope": "s"}, 400),
    ("POST", "/services/Echo/state", {"object_key": "a", "new_state": {}}, 400),
    ("GET", "/invocations?limit=0", None, 400),
    ("GET", "/invocations?limit=x", None, 400),
    ("GET", "/invocations?limit=1001", None, 400),
    ("GET", "/invocations?status=completed", None, 400),
    ("GET", "/invocations?status=", None, 400),
    ("DELETE", f"/invocations/{INV}?mode=zap", None, 400),
    ("DELETE", "/invocations/zap?mode=kill", None, 400),
    ("POST", "/internal/invocations_batch_operations/kill", {}, 422),
    ("POST", "/internal/invocations_batch_operations/kill", {"invocation_ids": [1]}, 422),
    ("POST", "/internal/invocations_batch_operations/kill", {"invocation_ids": ["zap"]}, 422),
    ("POST", "/internal/invocations_batch_operations/kill", {"invocation_ids": [INV] * 1001}, 400),
    ("POST", "/internal/invocations_batch_operations/fly", {"invocation_ids": []}, 404),
    ("POST", "/internal/invocations_batch_operations/resume", {"invocation_ids": [INV], "deployment": 1}, 422),
    ("POST", "/internal/invocations_batch_operations/restart-as-new", {"invocation_ids": [], "deployment": "x"}, 400),
    ("PATCH", f"/invocations/{INV}/restart-as-new?from=", None, 400),
    ("PATCH", f"/invocations/{INV}/restart-as-new?from=%D9%A1", None, 400),
    ("PATCH", f"/invocations/{INV}/resume?deployment=", None, 400),
    ("PATCH", "/invocations/zap/pause", None, 400),
    ("GET", "/invocations/zap/journal", None, 400),
    ("POST", "/deadlocks", None, 405),
    ("GET", "/v5/health", None, 400),
    ("GET", "/v0/health", None, 400),
    ("GET", "/nope", None, 404),
    ("GET", "/", None, 404),
    ("POST", "/query", {"query": "SELECT 1"}, 501),
    ("GET", "/query", None, 405),
    ("GET", "/services/Echo/openapi", None, 501),
    ("BREW", "/health", None, 405),
]


@pytest.mark.parametrize(("method", "target", "body", "status"), WRONG)
def test_what_is_wrong_is_said(method: str, target: str, body: object, status: int) -> None:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    decision = core.decide(Request(method, target, JSON, raw), NODE)
    assert isinstance(decision, Respond)
    assert decision.response.status == status
    if status == 422:
        assert TEXT_TYPE in decision.response.headers


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/jsonp", "application/x-www-form-urlencoded"])
def test_a_body_must_be_labelled(content_type: str) -> None:
    headers = (("content-type", content_type),) if content_type else ()
    decision = core.decide(Request("POST", "/deployments", headers, b"{}"), NODE)
    assert isinstance(decision, Respond)
    assert decision.response.status == 415


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8", "application/x+json"])
def test_labels_of_json(content_type: str) -> None:
    assert bodies.is_json_type(content_type)


def test_brackets_in_texts_are_no_depth() -> None:
    assert bodies.read_json(json.dumps({"a": '[{\\"' * 1_000}).encode()) == {"a": '[{\\"' * 1_000}
    wide = json.dumps([[[]]] * 200).encode()
    assert bodies.read_json(wide) == [[[]]] * 200


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_json_or_refused(body: bytes) -> None:
    try:
        expected = json.loads(body)
    except ValueError:
        with pytest.raises(Malformed):
            bodies.read_json(body)
    else:
        assert bodies.read_json(body) == expected


FIELDS = """
    uri force breaking dry_run use_http_11 additional_headers metadata overwrite arn public journal_retention object_key
    new_state version scope invocation_ids deployment
"""
NAMES = st.sampled_from(FIELDS.split())
TEXTS = st.text(max_size=6) | st.sampled_from([ONE, "1d", INV, LIVE, DP, "Latest", "\x00", "é"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | TEXTS, inner, max_size=3),
    max_leaves=6,
)
SEGMENTS = st.sampled_from(
    (
        "deployments services invocations internal invocations_batch_operations state handlers cancel kill purge "
        f"purge-journal pause resume restart-as-new journal deadlocks v2 v4 Counter Echo {DP} {INV} {LIVE} %2F %ff .. "
    ).split(" ")
)
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(
    METHODS,
    st.lists(SEGMENTS, max_size=4),
    st.dictionaries(NAMES, VALUES, max_size=5) | VALUES,
    st.sampled_from(
        ["", "?force=true", "?mode=kill", "?limit=3", "?from=1&deployment=latest", "?deployment=keep", "?from=0"]
    ),
)
async def test_arbitrary_requests_are_answered(method: str, segments: list[str], value: object, query: str) -> None:
    network = FakeConnect()
    network.endpoints[ONE] = FakeEndpoint(COUNTER)
    async with standing(network, limits=Limits(log_prewrite_bytes=0, discovery_timeout_ms=500)) as stand:
        await stand.register(ONE)
        acked = await stand.client.send(Target("Counter", "add", "a"), key="k")
        assert acked.invocation_id == LIVE
        body = json.dumps(value).encode()
        response = await stand.admin.handle(Request(method, "/" + "/".join(segments) + query, JSON, body))
        assert response.status < 500 or response.status == 501 or b'"META0' in response.body
