"""The ingress decides: a request and the schema in, one `Decision` out.  Nothing here awaits, reads a clock or draws.

`decide` says what to do; `invoke_command` makes the command of a call once the shell has a time and entropy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from understudy_runtime.ingress import answers
from understudy_runtime.ingress.backend import Known
from understudy_runtime.ingress.paths import (
    Ask,
    AwakeableRoute,
    HandlerRoute,
    HealthRoute,
    InvocationRoute,
    RequestError,
    TargetRoute,
    check_invocation_id,
    find_handler,
    find_service,
    idempotent_id,
    is_run,
    parse_path,
    rejection,
)
from understudy_runtime.ingress.port import Request, Response
from understudy_runtime.ingress.times import INSTANT_MS_MAX, MS_PER_DAY, BadDuration, parse_duration_ms
from understudy_runtime.limits import Limits
from understudy_runtime.model.actions import Completed, InvokeAcked
from understudy_runtime.model.commands import Invoke, Signal
from understudy_runtime.model.ids import invocation_id_for, seed_of, workflow_run_id
from understudy_runtime.model.invocation import Result, Success, Target
from understudy_runtime.model.retention import retention_of
from understudy_runtime.model.schema import Handler, InputRule, OutputRule, Schema, Service
from understudy_runtime.model.values import frozen

# A delay above it could not be written as an instant any more.
DELAY_MS_MAX: Final = 1_000 * 365 * MS_PER_DAY


@frozen
class Respond:
    """Nothing durable to do."""

    response: Response


@frozen
class Call:
    """Invoke; `send` acknowledges as soon as that is durable, else the result is waited for."""

    service: Service
    handler: Handler
    key: str | None
    payload: bytes
    headers: tuple[tuple[str, str], ...]
    idempotency_key: str | None
    send: bool
    delay_ms: int | None


@frozen
class AttachTo:
    """Wait for the result of an invocation that may exist."""

    invocation_id: str


@frozen
class OutputOf:
    """The result of an invocation, if there is one already."""

    invocation_id: str


@frozen
class CompleteAwakeable:
    """Deliver *result* as signal *index* of an invocation."""

    invocation_id: str
    index: int
    result: Result


Decision = Respond | Call | AttachTo | OutputOf | CompleteAwakeable


def decide(request: Request, schema: Schema) -> Decision:
    """What *request* asks for, or the error it gets."""
    path, _, query = request.target.partition("?")
    try:
        route = parse_path(path, schema)
        if type(route) is HandlerRoute:
            return _decide_call(request, route, query)
        return _decide_other(request, route, schema)
    except RequestError as error:
        return Respond(answers.refused(error.status, error.message))


def _decide_other(
    request: Request, route: InvocationRoute | TargetRoute | AwakeableRoute | HealthRoute | HandlerRoute, schema: Schema
) -> Decision:
    if isinstance(route, HealthRoute):
        require_method(request, "GET")
        return Respond(answers.ok_json({"services": list(schema.services)}))
    if isinstance(route, InvocationRoute):
        require_method(request, "GET")
        return _asked(route.ask, route.invocation_id)
    if isinstance(route, AwakeableRoute):
        require_method(request, "POST")
        if route.index is None:
            return Respond(Response(202))  # Accepted, as for any awakeable that nobody waits for any more.
        result = Success(request.body) if route.resolve else rejection(request.body)
        return CompleteAwakeable(route.invocation_id, route.index, result)
    assert isinstance(route, TargetRoute), "every route is decided"
    require_method(request, "POST")
    invocation_id = target_id(request.body, schema)
    if route.ask is None:
        return Respond(answers.ok_json({"invocationId": invocation_id}))
    return _asked(route.ask, invocation_id)


def _asked(ask: Ask, invocation_id: str) -> Decision:
    return AttachTo(invocation_id) if ask is Ask.ATTACH else OutputOf(invocation_id)


def require_method(request: Request, *methods: str) -> None:
    """Raises RequestError (405) unless the request has one of *methods*."""
    if request.method not in methods:
        raise RequestError(405, f"{request.method} is not allowed here: use {' or '.join(methods)}")


def _decide_call(request: Request, route: HandlerRoute, query: str) -> Call:
    handler = route.handler
    if request.method != "POST":
        require_method(request, "POST", "GET")
    if not handler.public:
        raise RequestError(400, f"{route.service.name}/{handler.name} is private: only other handlers may call it")
    delay_ms = _delay_ms(query, route.send) if query else None
    headers, content_type, idempotency_key = _read_headers(request)
    check_input(handler.input, content_type, request.body)
    if idempotency_key is not None and is_run(handler):
        raise RequestError(400, "a workflow's run takes no idempotency key: the workflow's key already makes it unique")
    return Call(route.service, handler, route.key, request.body, headers, idempotency_key, route.send, delay_ms)


def _delay_ms(query: str, send: bool) -> int | None:
    """The `delay` of *query*, whatever the case of its name; the other parameters mean nothing to us."""
    delay: int | None = None
    for name, value in parse_qsl(query, keep_blank_values=True):
        lowered = name.lower()
        if lowered == "limit-key":
            raise RequestError(400, "a limit key needs a scope, which this server does not have")
        if lowered == "delay":
            if not send:
                raise RequestError(400, "a call cannot be delayed: use send")
            delay = _parse_delay(value)
    return delay


def _parse_delay(text: str) -> int:
    try:
        delay_ms = parse_duration_ms(text)
    except BadDuration as error:
        raise RequestError(400, f"the delay cannot be read: {error}") from None
    if delay_ms > DELAY_MS_MAX:
        raise RequestError(400, f"the delay {text!r} is above 1000 years")
    return delay_ms


def _read_headers(request: Request) -> tuple[tuple[tuple[str, str], ...], str | None, str | None]:
    """The headers the handler sees, the content type, and the idempotency key."""
    content_type: str | None = None
    idempotency_key: str | None = None
    passed = [("x-restate-ingress-path", request.target)]
    for pair in request.headers:
        name, value = pair
        if not (value.isascii() and value.isprintable()) and not answers.header_safe(value.replace("\t", " ")):
            raise RequestError(400, f"the header {name!r} holds something other than visible ASCII")
        if name == "idempotency-key":
            idempotency_key = value
        elif name == "x-restate-limit-key":
            raise RequestError(400, "a limit key needs a scope, which this server does not have")
        elif name not in NOT_PASSED:
            if name == "content-type":
                content_type = value
            passed.append(pair)
    return tuple(passed), content_type, idempotency_key


# Headers about the exchange, not the request; `x-restate-ingress-path` is ours to say.
NOT_PASSED: Final = frozenset({"connection", "host", "idempotency-expires", "x-restate-ingress-path"})


def check_input(rule: InputRule, content_type: str | None, body: bytes) -> None:
    """Raises RequestError (400) when body and content type are not what the handler declared."""
    declared = rule.content_type
    if declared is None:
        if body or content_type is not None:
            raise RequestError(400, "this handler takes no input: send neither a body nor a content-type")
        return
    if content_type is None:
        if body:
            raise RequestError(400, f"the body has no content-type: expected {declared}")
        if rule.required:
            raise RequestError(400, f"this handler needs a body of type {declared}")
        return
    given = content_type if ";" not in content_type else content_type.partition(";")[0].rstrip()
    if given != declared and not matches(given, declared):
        raise RequestError(400, f"the content-type {content_type!r} does not fit: expected {declared}")
    if not body and declared == "application/json":
        raise RequestError(400, f"the body is empty: expected {declared}")


def matches(given: str, declared: str) -> bool:
    """Whether media type *given* fits the accept-style pattern *declared*; case does not matter."""
    given_type, _, given_subtype = given.strip().lower().partition("/")
    declared_type, _, declared_subtype = declared.partition(";")[0].strip().lower().partition("/")
    if not given_type or not given_subtype:
        return False
    return declared_type in ("*", given_type) and declared_subtype in ("*", given_subtype)


def target_id(body: bytes, schema: Schema) -> str:
    """The invocation that a JSON target names.  Raises RequestError (500 for a wrong form, as Restate does)."""
    try:
        target = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(500, f"the body is not JSON: {error}") from None
    kind = target.get("target") if isinstance(target, dict) else None
    if kind == "invocation":
        return check_invocation_id(_field(target, "invocationId"))
    if kind == "workflow":
        return workflow_run_id(_field(target, "workflowName"), _field(target, "workflowKey"))
    if kind == "idempotentInvocation":
        service = find_service(schema, _field(target, "service"))
        handler = find_handler(service, _field(target, "handler"))
        key = _field(target, "key") if service.keyed else None
        return idempotent_id(service, handler, key, _field(target, "idempotencyKey"))
    raise RequestError(500, "the body's target must be workflow, idempotentInvocation or invocation")


def _field(target: Mapping[str, Any], name: str) -> str:
    value = target.get(name)
    if not isinstance(value, str):
        raise RequestError(500, f"the body's {name} must be a text, found {type(value).__name__}")
    if not value.isprintable() and any("\ud800" <= char <= "\udfff" for char in value):
        raise RequestError(500, f"the body's {name} holds half a surrogate pair")
    return value


def invoke_command(
    call: Call, *, now_ms: int, entropy: bytes, request_id: int, schema_revision: int, limits: Limits
) -> Invoke:
    """The command that starts *call*.  *entropy* is ENTROPY_BYTES of `model/ids.py`; it also seeds a handler whose id
    is fresh.
    """
    assert now_ms >= 0, "the wall clock is after 1970"
    handler = call.handler
    target = Target(call.service.name, handler.name, call.key)
    invocation_id = invocation_id_for(target, handler.type, call.idempotency_key, now_ms, entropy)
    retention = retention_of(handler, limits, can_ask_again=call.send or call.idempotency_key is not None)
    delay_ms = call.delay_ms
    return Invoke(
        invocation_id,
        target,
        call.service.type,
        handler.type,
        call.payload,
        call.headers,
        call.idempotency_key,
        0 if delay_ms is None else min(now_ms + delay_ms, INSTANT_MS_MAX),
        retention.result_ms,
        seed_of(invocation_id, entropy, is_derived=call.idempotency_key is not None or is_run(handler)),
        handler.options.retry_policy(limits.retry_policy),
        None,
        request_id,
        schema_revision,
        retention.journal_ms,
    )


def signal_command(decision: CompleteAwakeable, request_id: int) -> Signal:
    """The command that completes an awakeable."""
    return Signal(decision.invocation_id, decision.index, "", decision.result, request_id)


def output_rule(schema: Schema, target: Target) -> OutputRule:
    """How the answers of *target* are labelled; JSON when the handler is no longer there."""
    found = schema.resolve(target.service, target.handler)
    return answers.JSON_OUTPUT if found is None else found[1].output


def stored_result(invocation_id: str, known: Known | None, schema: Schema) -> Response | None:
    """The answer from a result that was stored before this request; None when there is none."""
    if known is None or known.result is None:
        return None
    return answers.result_response(invocation_id, known.result, output_rule(schema, known.target), known.expires_ms)


def answer_send(acked: InvokeAcked) -> Response:
    """The answer to a send that is durable."""
    return answers.accepted(acked.invocation_id, acked.execution_time_ms, is_new=acked.accepted)


def answer_call(acked: InvokeAcked, completed: Completed | None, output: OutputRule) -> Response:
    """The answer to a call whose invocation has ended, or could not be made."""
    if acked.conflict or completed is None:
        return answers.workflow_conflict(acked.invocation_id)
    return answers.result_response(acked.invocation_id, completed.result, output)


def answer_attach(invocation_id: str, completed: Completed | None, target: Target, schema: Schema) -> Response:
    """The answer to an attach that has waited."""
    if completed is None:
        return answers.unknown_attached(invocation_id)
    return answers.result_response(invocation_id, completed.result, output_rule(schema, target))


def answer_output(invocation_id: str, known: Known | None, schema: Schema) -> Response:
    """The answer to a request for an output: the result, or why there is none."""
    if known is None:
        return answers.unknown_output()
    stored = stored_result(invocation_id, known, schema)
    return answers.not_ready() if stored is None else stored
