"""The admin decides: a request in, one decision out.  Pure.

Routes may carry a version prefix (`/v2`, `/v3`, `/v4`), which changes nothing here.  Errors are
`{"message", "restate_code"}`, as Restate's admin words them.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final

import attrs

from understudy_runtime.ingress.answers import JSON_TYPE, dump
from understudy_runtime.ingress.backend import Known
from understudy_runtime.ingress.port import Request, Response
from understudy_runtime.ingress.times import INSTANT_MS_MAX, rfc3339_nanos
from understudy_runtime.model.commands import Cancel, Kill, Purge
from understudy_runtime.model.ids import InvalidId, raw_id
from understudy_runtime.model.invocation import Failure, Status

API_MIN: Final = 2
API_MAX: Final = 4
VERSIONS: Final = tuple(f"v{number}" for number in range(API_MIN, API_MAX + 1))

ACTIONS: Final = MappingProxyType[str, type[Cancel] | type[Kill] | type[Purge]](
    {"cancel": Cancel, "kill": Kill, "purge": Purge}
)
# (action, the machine's outcome) to the status of the answer and what an error says.
OUTCOMES: Final = MappingProxyType[tuple[str, str], tuple[int, str]](
    {
        ("cancel", "accepted"): (202, ""),
        ("cancel", "done"): (200, ""),
        ("cancel", "not_found"): (404, "there is no such invocation"),
        ("cancel", "already_completed"): (409, "the invocation has already completed"),
        ("kill", "accepted"): (200, ""),
        ("kill", "done"): (200, ""),
        ("kill", "not_found"): (404, "there is no such invocation"),
        ("kill", "already_completed"): (409, "the invocation has already completed"),
        ("purge", "accepted"): (200, ""),
        ("purge", "done"): (200, ""),
        ("purge", "not_found"): (404, "there is no such invocation"),
        ("purge", "not_completed"): (409, "the invocation has not completed: only completed ones can be purged"),
    }
)


@attrs.frozen
class Respond:
    """Nothing to ask of the node."""

    response: Response


@attrs.frozen
class Show:
    """Describe one invocation."""

    invocation_id: str


@attrs.frozen
class Act:
    """Propose *action* for one invocation and wait until it is applied."""

    action: str
    invocation_id: str


Decision = Respond | Show | Act


def error(status: int, message: str) -> Response:
    """An error of the admin."""
    return Response(status, (JSON_TYPE,), dump({"message": message, "restate_code": None}))


def decide(request: Request, *, version: str, ingress_endpoint: str) -> Decision:
    """What *request* asks for."""
    segments = [segment for segment in request.target.partition("?")[0].split("/") if segment]
    if segments and segments[0] in VERSIONS:
        del segments[0]
    if segments == ["health"]:
        return _read(request, Respond(Response(200)))
    if segments == ["version"]:
        return _read(request, Respond(_version(version, ingress_endpoint)))
    if len(segments) == 2 and segments[0] == "invocations":
        return _read(request, _with_id(segments[1], Show(segments[1])))
    if len(segments) == 3 and segments[0] == "invocations" and segments[2] in ACTIONS:
        if request.method != "PATCH":
            return Respond(Response(405, (("allow", "PATCH"),)))
        return _with_id(segments[1], Act(segments[2], segments[1]))
    return Respond(error(404, f"there is nothing at {request.target.partition('?')[0]}"))


def _read(request: Request, decision: Decision) -> Decision:
    return decision if request.method in ("GET", "HEAD") else Respond(Response(405, (("allow", "GET,HEAD"),)))


def _with_id(text: str, decision: Decision) -> Decision:
    try:
        raw_id(text)
    except InvalidId as invalid:
        return Respond(error(400, str(invalid)))
    return decision


def _version(version: str, ingress_endpoint: str) -> Response:
    body = {
        "version": version,
        "min_admin_api_version": API_MIN,
        "max_admin_api_version": API_MAX,
        "ingress_endpoint": ingress_endpoint,
        "features": {},
    }
    return Response(200, (JSON_TYPE,), dump(body))


def command(act: Act, request_id: int) -> Cancel | Kill | Purge:
    """The command of *act*."""
    return ACTIONS[act.action](act.invocation_id, request_id)


def acted(act: Act, outcome: str) -> Response:
    """The answer to an action that was applied."""
    status, message = OUTCOMES[act.action, outcome]
    return error(status, f"{act.invocation_id}: {message}") if message else Response(status)


def shown(invocation_id: str, known: Known | None) -> Response:
    """One invocation, without its input and result: those are its caller's."""
    if known is None:
        return error(404, f"{invocation_id}: there is no such invocation")
    target = known.target
    body: dict[str, Any] = {
        "id": invocation_id,
        "target_service_name": target.service,
        "target_service_key": target.key,
        "target_handler_name": target.handler,
        "status": known.status.name.lower(),
    }
    if known.status is Status.COMPLETED:
        failed = isinstance(known.result, Failure)
        body["completion_result"] = "failure" if failed else "success"
        if known.expires_ms:
            body["completion_expiration"] = rfc3339_nanos(min(known.expires_ms, INSTANT_MS_MAX))
    return Response(200, (JSON_TYPE,), dump(body))
