"""Paths of the ingress: from a raw request target to a `Route`, by the services there are.  Pure.

The type of a service decides how many segments precede the handler, so the look-up happens while the path is read: an
unknown service is reported before anything else.  Keys are percent-decoded as UTF-8; services, handlers and idempotency
keys are taken as they are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote_to_bytes

import attrs

from understudy_runtime.model.ids import (
    ENTROPY_BYTES,
    InvalidId,
    invocation_id_for,
    parse_awakeable_id,
    raw_id,
    workflow_run_id,
)
from understudy_runtime.model.invocation import Failure, HandlerType, ServiceType, Target
from understudy_runtime.model.schema import Handler, Schema, Service

SEGMENTS_MIN: Final = 2
SEGMENTS_MAX: Final = 7
CALL_FORMS: Final = "/{service}/{handler}, /{object}/{key}/{handler}, each with /send for one-way"
RESTATE_FORMS: Final = (
    "/restate/call/{service}/{handler}, /restate/send/{service}/{handler}, with a key before the handler"
)
AWAKEABLE_FORMS: Final = "/restate/awakeables/{id}/resolve or /reject"
INVOCATION_FORMS: Final = (
    "/restate/invocation/{id}/attach or /output, or the target and its idempotency key instead of the id"
)
WORKFLOW_FORMS: Final = "/restate/workflow/{name}/{key}/attach or /output"


class RequestError(Exception):
    """The client's request cannot be served: status and message of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Ask(Enum):
    """What is wanted of an invocation that may exist."""

    ATTACH = "attach"
    OUTPUT = "output"


@attrs.frozen
class HandlerRoute:
    """Call (or send to) a handler."""

    service: Service
    handler: Handler
    key: str | None
    send: bool


@attrs.frozen
class InvocationRoute:
    """Attach to an invocation or read its output."""

    ask: Ask
    invocation_id: str


@attrs.frozen
class TargetRoute:
    """The same with the target in the request's body; `ask` None only looks the id up."""

    ask: Ask | None


@attrs.frozen
class AwakeableRoute:
    """Complete signal *index* of an invocation; None: an awakeable of a protocol that is spoken no more."""

    invocation_id: str
    index: int | None
    resolve: bool


@attrs.frozen
class HealthRoute:
    """Who is there?"""


Route = HandlerRoute | InvocationRoute | TargetRoute | AwakeableRoute | HealthRoute

HEALTH: Final = HealthRoute()
ASKS: Final = MappingProxyType[str, Ask]({"attach": Ask.ATTACH, "output": Ask.OUTPUT})
TARGET_ASKS: Final = MappingProxyType[str, Ask | None]({**ASKS, "lookup": None})


def parse_path(path: str, schema: Schema) -> Route:
    """The route of *path* (no query).  Raises RequestError."""
    segments = path.split("/")
    if segments.pop(0) or not segments:
        raise RequestError(400, f"the path {path!r} must start with a slash")
    if len(segments) > 1 and not segments[-1]:
        segments.pop()
    if not SEGMENTS_MIN <= len(segments) <= SEGMENTS_MAX:
        raise RequestError(400, f"the path {path!r} is none of ours: expected {CALL_FORMS}")
    first = segments[0]
    if first == "restate":
        return _restate_route(segments[1:], schema)
    if first == "openapi":
        raise RequestError(404, "there is no OpenAPI document on this port")
    service = find_service(schema, first)
    if service.keyed:
        return _handler_route(service, segments[2:], decode_key(segments[1]), CALL_FORMS)
    return _handler_route(service, segments[1:], None, CALL_FORMS)


def _handler_route(service: Service, rest: Sequence[str], key: str | None, forms: str) -> HandlerRoute:
    """The route of what follows the service (and its key): a handler, and perhaps `send`."""
    if not rest or len(rest) > 2 or (len(rest) == 2 and rest[1] != "send"):
        what = "has keys" if service.keyed else "has no keys"
        raise RequestError(400, f"the path does not fit {service.name}, which {what}: expected {forms}")
    return HandlerRoute(service, find_handler(service, rest[0]), key, len(rest) == 2)


def find_service(schema: Schema, name: str) -> Service:
    """The service *name*.  Raises RequestError."""
    service = schema.services.get(name)
    if service is None:
        raise RequestError(404, f"there is no service {name!r}: register a deployment that offers it")
    return service


def find_handler(service: Service, name: str) -> Handler:
    """The handler *name*.  Raises RequestError."""
    handler = service.handlers.get(name)
    if handler is None:
        raise RequestError(404, f"the service {service.name!r} has no handler {name!r} in its latest revision")
    return handler


def decode_key(segment: str) -> str:
    """A key as its caller meant it.  Raises RequestError."""
    if "%" not in segment:
        return segment
    try:
        return unquote_to_bytes(segment).decode("utf-8")
    except UnicodeDecodeError as error:
        raise RequestError(400, f"the key {segment!r} is not UTF-8 once percent-decoded: {error.reason}") from None


def check_invocation_id(text: str) -> str:
    """*text* if it is an invocation id.  Raises RequestError."""
    try:
        raw_id(text)
    except InvalidId as error:
        raise RequestError(400, str(error)) from None
    return text


def _restate_route(rest: Sequence[str], schema: Schema) -> Route:
    verb = rest[0]
    if verb == "health":
        return HEALTH
    if verb in ("call", "send"):
        return _new_style_route(rest, schema)
    if verb == "scope":
        return _scope_route(rest)
    if verb in ("awakeables", "a"):
        return _awakeable_route(rest[1:])
    if verb == "invocation":
        return _invocation_route(rest[1:], schema)
    if verb == "workflow":
        return _workflow_route(rest[1:], schema)
    if verb in TARGET_ASKS and len(rest) == 1:
        return TargetRoute(TARGET_ASKS[verb])
    if verb in ASKS and len(rest) == 2:
        return InvocationRoute(ASKS[verb], check_invocation_id(rest[1]))
    raise RequestError(404, f"there is nothing at /restate/{verb}")


def _new_style_route(rest: Sequence[str], schema: Schema) -> HandlerRoute:
    if len(rest) < 3:
        raise RequestError(400, f"the path names no handler: expected {RESTATE_FORMS}")
    service = find_service(schema, rest[1])
    wanted = 4 if service.keyed else 3
    if len(rest) != wanted:
        raise RequestError(400, f"the path does not fit {service.name}: expected {RESTATE_FORMS}")
    key = decode_key(rest[2]) if service.keyed else None
    return HandlerRoute(service, find_handler(service, rest[-1]), key, rest[0] == "send")


def _scope_route(rest: Sequence[str]) -> Route:
    if len(rest) < 5 or rest[2] not in ("call", "send"):
        raise RequestError(400, f"the path is none of ours: expected {RESTATE_FORMS}")
    raise RequestError(400, "scopes need virtual queues, which this server does not have")


def _awakeable_route(rest: Sequence[str]) -> AwakeableRoute:
    if len(rest) != 2:
        raise RequestError(400, f"the path is none of ours: expected {AWAKEABLE_FORMS}")
    if rest[1] not in ("resolve", "reject"):
        raise RequestError(404, f"an awakeable can be resolved or rejected: expected {AWAKEABLE_FORMS}")
    try:
        invocation_id, index = parse_awakeable_id(rest[0])
    except InvalidId as error:
        raise RequestError(400, str(error)) from None
    return AwakeableRoute(invocation_id, index, rest[1] == "resolve")


def _ask(verb: str, forms: str) -> Ask:
    ask = ASKS.get(verb)
    if ask is None:
        raise RequestError(404, f"an invocation has no {verb!r}: expected {forms}")
    return ask


def _invocation_route(rest: Sequence[str], schema: Schema) -> InvocationRoute:
    if len(rest) < 2:
        raise RequestError(400, f"the path is none of ours: expected {INVOCATION_FORMS}")
    ask = _ask(rest[-1], INVOCATION_FORMS)
    if len(rest) == 2:
        return InvocationRoute(ask, check_invocation_id(rest[0]))
    service = find_service(schema, rest[0])
    if len(rest) != (5 if service.keyed else 4):
        raise RequestError(400, f"the path does not fit {service.name}: expected {INVOCATION_FORMS}")
    key = decode_key(rest[1]) if service.keyed else None
    handler = find_handler(service, rest[-3])
    return InvocationRoute(ask, idempotent_id(service, handler, key, rest[-2]))


def _workflow_route(rest: Sequence[str], schema: Schema) -> InvocationRoute:
    if len(rest) != 3:
        raise RequestError(400, f"the path is none of ours: expected {WORKFLOW_FORMS}")
    ask = _ask(rest[2], WORKFLOW_FORMS)
    service = schema.services.get(rest[0])
    if service is None or service.type is not ServiceType.WORKFLOW:
        raise RequestError(404, f"there is no workflow {rest[0]!r}")
    return InvocationRoute(ask, workflow_run_id(rest[0], decode_key(rest[1])))


def idempotent_id(service: Service, handler: Handler, key: str | None, idempotency_key: str) -> str:
    """The invocation that *idempotency_key* names; of a workflow's run, the run of *key*."""
    target = Target(service.name, handler.name, key)
    return invocation_id_for(target, handler.type, idempotency_key, now_ms=0, entropy=bytes(ENTROPY_BYTES))


def rejection(body: bytes) -> Failure:
    """The failure that a rejected awakeable ends with: the body is its message."""
    return Failure(500, body.decode("utf-8", "replace"))


def is_run(handler: Handler) -> bool:
    """Whether *handler* is the one that a workflow executes once."""
    return handler.type is HandlerType.WORKFLOW
