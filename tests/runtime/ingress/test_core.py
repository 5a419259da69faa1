"""Decisions of the ingress beyond the recorded exchanges: input rules, paths, headers, commands, arbitrary bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_runtime.ingress import answers, core
from understudy_runtime.ingress.backend import Overloaded, Unavailable
from understudy_runtime.ingress.paths import RequestError
from understudy_runtime.ingress.port import Request, Response
from understudy_runtime.ingress.shell import Ingress
from understudy_runtime.limits import Limits
from understudy_runtime.model.ids import ENTROPY_BYTES, awakeable_id, invocation_id_for
from understudy_runtime.model.invocation import Failure, HandlerType, Success, Target
from understudy_runtime.model.schema import InputRule, Schema, parse_manifest

JSON_RULE = InputRule(required=False, content_type="application/json")
JSON_REQUIRED = InputRule(required=True, content_type="application/json")
NO_INPUT = InputRule(required=False, content_type=None)
ANY = InputRule()
TEXTUAL = InputRule(required=False, content_type="text/*")

# (rule, content type, body) to whether it is accepted.
INPUTS = [
    (NO_INPUT, None, b"", True),
    (NO_INPUT, None, b"x", False),
    (NO_INPUT, "text/plain", b"", False),
    (JSON_RULE, None, b"", True),
    (JSON_RULE, None, b"1", False),
    (JSON_RULE, "application/json", b"1", True),
    (JSON_RULE, "application/json", b"", False),
    (JSON_RULE, "application/json;charset=utf-8", b"1", True),
    (JSON_RULE, "application/json ; charset=utf-8", b"1", True),
    (JSON_RULE, "application/vnd.x+json", b"1", False),
    (JSON_RULE, "text/plain", b"1", False),
    (JSON_RULE, "", b"1", False),
    (JSON_REQUIRED, None, b"", False),
    (JSON_REQUIRED, "application/json", b"", False),
    (JSON_REQUIRED, "application/json", b"1", True),
    (ANY, None, b"", True),
    (ANY, None, b"x", False),
    (ANY, "what/ever", b"x", True),
    (ANY, "what/ever", b"", True),
    (TEXTUAL, "text/csv", b"x", True),
    (TEXTUAL, "TEXT/csv", b"x", True),
    (TEXTUAL, "image/png", b"x", False),
    (TEXTUAL, "text", b"x", False),
]


@pytest.mark.parametrize(("rule", "content_type", "body", "accepted"), INPUTS)
def test_input_rules(rule, content_type, body, accepted):
    if accepted:
        core.check_input(rule, content_type, body)
        return
    with pytest.raises(RequestError) as refusal:
        core.check_input(rule, content_type, body)
    assert refusal.value.status == 400


def decide(engine, method, target, headers=(), body=b""):
    return core.decide(Request(method, target, tuple(headers), body), engine.schema)


def test_what_reaches_the_handler(engine):
    headers = [
        ("host", "h"),
        ("connection", "keep-alive"),
        ("x-restate-ingress-path", "/forged"),
        ("idempotency-key", "k"),
        ("idempotency-expires", "x"),
        ("cookie", "a\tb"),
        ("cookie", "c"),
        ("content-length", "0"),
    ]
    call = decide(engine, "GET", "/Greeter/headers?x=1&y=%20z", headers)
    assert call.headers == (
        ("x-restate-ingress-path", "/Greeter/headers?x=1&y=%20z"),
        ("cookie", "a\tb"),
        ("cookie", "c"),
        ("content-length", "0"),
    )
    assert call.idempotency_key == "k"


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("", 400),
        ("*", 400),
        ("Greeter/greet", 400),
        ("/restate/attach", 405),
        ("/restate/output/inv_bad", 400),
        ("/restate/a/x/y/z", 400),
        ("/restate", 400),
        ("/restate/", 400),
        ("/restate/scope/s/call/G/g", 400),
        ("/Counter/%zz%ff/incr", 400),
        ("/Greeter/greet?limit-key=a", 400),
        ("/Greeter/greet/send?delay=P99999Y", 400),
        ("/Greeter/greet/send?delay=999999999999999999d", 400),
        ("/restate/send/Greeter/greet/extra", 400),
    ],
)
def test_odd_targets(engine, target, status):
    decision = decide(engine, "GET", target)
    assert decision.response.status == status


def test_the_command_of_a_call(engine):
    call = decide(engine, "POST", "/Counter/a%2Fb/incr/send?delay=1s", [("content-type", "application/json")], b"2")
    limits = Limits()
    command = core.invoke_command(
        call, now_ms=1000, entropy=bytes(ENTROPY_BYTES), request_id=7, schema_revision=1, limits=limits
    )
    target = Target("Counter", "incr", "a/b")
    expected = invocation_id_for(target, HandlerType.EXCLUSIVE, None, 1000, bytes(ENTROPY_BYTES))
    assert (command.invocation_id, command.target) == (expected, target)
    assert (command.execution_time_ms, command.request_id, command.payload) == (2000, 7, b"2")
    assert command.completion_retention_ms == limits.completion_retention_ms, "its caller is told an id to ask by"
    assert command.journal_retention_ms == 0


def test_an_awakeable_of_an_old_protocol_is_accepted(engine):
    legacy = awakeable_id("inv_14NAYWOkWeyC4HqaAv3eM70hJLaHxEfgB2", 1).replace("sign_1", "prom_1")
    for verb in ("resolve", "reject"):
        decision = decide(engine, "POST", f"/restate/awakeables/{legacy}/{verb}", (), b"x")
        assert decision.response == Response(202)


def test_idempotent_calls_are_retained(engine):
    call = decide(engine, "GET", "/Greeter/noInput", [("idempotency-key", "k")])
    limits = Limits()
    commands = [
        core.invoke_command(
            call, now_ms=now, entropy=bytes([now]) * ENTROPY_BYTES, request_id=1, schema_revision=1, limits=limits
        )
        for now in (1, 2)
    ]
    assert commands[0].invocation_id == commands[1].invocation_id
    assert commands[0].completion_retention_ms == limits.completion_retention_ms


@pytest.mark.parametrize(
    ("code", "status"),
    [(409, 409), (200, 200), (999, 999), (1234, 500), (42, 500), (100, 500), (204, 500), (304, 500), (0, 500)],
)
def test_failure_statuses(code, status):
    response = answers.result_response("inv_1", Failure(code, "m"), answers.JSON_OUTPUT)
    assert response.status == status
    assert json.loads(response.body)["code"] == code


def test_a_failure_message_with_half_a_surrogate_pair_is_still_answered():
    response = answers.result_response("inv_1", Failure(500, "\ud800"), answers.JSON_OUTPUT)
    assert response.status == 500


def test_a_content_type_that_would_break_its_header_is_left_out(engine):
    output = answers.OutputRule("text/plain\r\nx: y", True)
    assert dict(answers.result_response("inv_1", Success(b"x"), output).headers) == {"x-restate-id": "inv_1"}


async def test_requests_above_the_bound_are_refused(engine):
    ingress = Ingress(engine, Limits(requests_max=1))
    inner: list[int] = []

    async def call(command):
        inner.append((await ingress.handle(Request("GET", "/restate/health"))).status)
        raise Overloaded

    engine.call = call
    response = await ingress.handle(Request("GET", "/Greeter/noInput"))
    assert (inner, response.status) == ([429], 429)
    assert ingress.in_flight == 0


async def test_an_unavailable_partition_is_503(engine, ingress):
    async def call(command):
        raise Unavailable("the server stops")

    engine.call = call
    response = await ingress.handle(Request("GET", "/Greeter/noInput"))
    assert response.status == 503
    assert json.loads(response.body)["source"] == "ingress"


async def test_a_repeat_of_a_completed_call_is_answered_without_a_command(engine, ingress):
    request = Request("GET", "/Greeter/noInput", (("idempotency-key", "k"),))
    first = await ingress.handle(request)
    commands = len(engine.commands)
    second = await ingress.handle(request)
    assert first.body == second.body
    assert "idempotency-expires" in dict(second.headers)
    assert len(engine.commands) == commands


async def test_events_name_ids_and_paths_but_never_payloads(engine):
    events = []
    ingress = Ingress(engine, Limits(), events.append)
    await ingress.handle(Request("POST", "/Greeter/greet?q=1", (("content-type", "application/json"),), b'"secret"'))
    received, answered = events
    assert (received.method, received.path) == ("POST", "/Greeter/greet")
    assert (answered.status, answered.source) == (200, "")
    assert answered.request_id == received.request_id
    assert answered.invocation_id.startswith("inv_1")
    assert "secret" not in repr(events)


# Paths made of the words the routes know, and of anything else.
WORDS = st.sampled_from(
    [
        *("restate", "call", "send", "invocation", "workflow", "a", "awakeables", "attach", "output", "lookup"),
        *("health", "resolve", "scope", "openapi", "Greeter", "greet", "Counter", "incr", "Flow", "run", "%ff", ""),
    ]
)
SEGMENTS = st.lists(st.one_of(WORDS, st.text(st.characters(codec="latin-1"), max_size=4)), max_size=9)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["content-type", "idempotency-key", "x", "x-restate-limit-key", "expect"]),
        st.one_of(st.just("application/json"), st.text(st.characters(codec="latin-1"), max_size=6)),
    ),
    max_size=3,
)


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS"]),
    segments=SEGMENTS,
    query=st.one_of(st.just(""), st.text(st.characters(codec="latin-1"), max_size=8).map("?delay=".__add__)),
    headers=HEADERS,
    body=st.one_of(st.binary(max_size=20), st.sampled_from([b"{}", b'{"target":"workflow","workflowName":"\\ud800"}'])),
)
def test_whatever_is_asked_there_is_a_decision(method, segments, query, headers, body):
    decision = core.decide(Request(method, "/" + "/".join(segments) + query, tuple(headers), body), SCHEMA)
    if isinstance(decision, core.Respond):
        assert decision.response.status in (200, 400, 404, 405, 500)
    if isinstance(decision, core.Call):
        core.invoke_command(
            decision, now_ms=1, entropy=bytes(ENTROPY_BYTES), request_id=1, schema_revision=1, limits=Limits()
        )


@pytest.mark.parametrize("ask", ["attach", "output"])
@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"target":' * 50_000, b"1" * 5_000])
def test_a_target_beyond_reason_is_refused(ask, body):
    decision = core.decide(Request("POST", f"/restate/{ask}", (), body), SCHEMA)
    assert isinstance(decision, core.Respond)
    assert decision.response.status == 500
    assert b"not JSON" in decision.response.body


SCHEMA = Schema().with_deployment(
    "dp_1",
    parse_manifest(
        {
            "protocolMode": "BIDI_STREAM",
            "minProtocolVersion": 5,
            "maxProtocolVersion": 6,
            "services": [
                {"name": "Greeter", "ty": "SERVICE", "handlers": [{"name": "greet"}]},
                {"name": "Counter", "ty": "VIRTUAL_OBJECT", "handlers": [{"name": "incr"}]},
                {"name": "Flow", "ty": "WORKFLOW", "handlers": [{"name": "run"}]},
            ],
        }
    ),
)
