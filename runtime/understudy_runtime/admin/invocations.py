"""The routes of single invocations, of many at once, and of objects' state."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from understudy_runtime.admin import bodies
from understudy_runtime.admin.asked import (
    Act,
    ActUnheard,
    Asked,
    Batch,
    Command,
    Decision,
    ListInvocations,
    Malformed,
    Mutate,
    Node,
    Refused,
    Show,
    error,
)
from understudy_runtime.admin.backend import Described, Listed
from understudy_runtime.admin.deployments import known_service
from understudy_runtime.ingress.answers import JSON_TYPE, dump
from understudy_runtime.ingress.port import Response
from understudy_runtime.ingress.times import INSTANT_MS_MAX, rfc3339_nanos
from understudy_runtime.model.commands import Cancel, Kill, MutateState, Purge, PurgeJournal, Resume
from understudy_runtime.model.ids import InvalidId, parse_deployment_id, raw_id
from understudy_runtime.model.invocation import Failure, ServiceType, Status
from understudy_runtime.model.schema import Schema

BATCH_MAX: Final = 1_000
LIST_DEFAULT: Final = 100
LIST_MAX: Final = 1_000

ACTIONS: Final = MappingProxyType[str, type[Cancel] | type[Kill] | type[Purge] | type[PurgeJournal] | type[Resume]](
    {"cancel": Cancel, "kill": Kill, "purge": Purge, "purge-journal": PurgeJournal, "resume": Resume}
)
# The route of old knows these, and hears nothing of what came of them.
MODES: Final = ("cancel", "kill", "purge")
# What Restate can do to an invocation and this server cannot yet.
UNSUPPORTED: Final = ("pause", "restart-as-new")
KEEP: Final = "keep"
LATEST: Final = "latest"
ACTION_NAMES: Final = (*ACTIONS, *UNSUPPORTED)
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
        ("resume", "done"): (200, ""),
        ("resume", "not_found"): (404, "there is no such invocation"),
        ("resume", "already_completed"): (409, "the invocation has already completed"),
        ("resume", "not_started"): (425, "the invocation has not started yet: it waits for its time or its turn"),
        ("resume", "not_movable"): (409, "the invocation is not paused, or not bound to a deployment yet"),
        ("purge-journal", "done"): (200, ""),
        ("purge-journal", "not_found"): (404, "there is no such invocation"),
        ("purge-journal", "not_completed"): (409, "the invocation has not completed: it needs its journal"),
    }
)
# Why an invocation that is not paused does not move; any other status is simply not the right one.
UNMOVED: Final = MappingProxyType(
    {Status.COMPLETED: "already_completed", Status.SCHEDULED: "not_started", Status.INBOXED: "not_started"}
)


def show_invocation(asked: Asked, node: Node) -> Decision:
    return Show(path_id(asked))


def list_invocations(asked: Asked, node: Node) -> Decision:
    limit = asked.query.get("limit", str(LIST_DEFAULT))
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= LIST_MAX):
        raise Malformed(400, f"the query's limit must be a number from 1 to {LIST_MAX}, found {limit!r}")
    return ListInvocations(asked.query.get("service"), int(limit))


def act(action: str, asked: Asked, node: Node) -> Decision:
    invocation_id = path_id(asked)
    if action in UNSUPPORTED:
        raise Refused(501, f"{action} is not supported")
    if action == "resume":
        return Act(action, invocation_id, deployment_wanted(asked.query.get("deployment", KEEP)))
    return Act(action, invocation_id)


def deployment_wanted(text: str) -> str:
    """Where a resumed invocation is to run, as `Act` says it.  Raises Refused."""
    if text.lower() == KEEP:
        return ""
    if text.lower() == LATEST:
        return LATEST
    try:
        parse_deployment_id(text)
    except InvalidId as invalid:
        raise Refused(400, f"deployment must be {KEEP}, {LATEST} or a deployment's id: {invalid}") from None
    return text


def delete_invocation(asked: Asked, node: Node) -> Decision:
    """The route of old: nobody hears what came of it."""
    mode = asked.query.get("mode", "cancel").lower()
    if mode not in MODES:
        raise Malformed(400, f"the query's mode must be one of {', '.join(MODES)}, found {mode!r}")
    return ActUnheard(mode, path_id(asked))


def act_on_all(action: str, asked: Asked, node: Node) -> Decision:
    fields = bodies.read_object(asked.request)
    ids = fields.get("invocation_ids")
    if not isinstance(ids, list):
        raise bodies.wrong("invocation_ids", "an array of ids", ids)
    for index, id_ in enumerate(ids):
        if not isinstance(id_, str):
            raise bodies.wrong(f"invocation_ids[{index}]", "a text", id_)
        try:
            raw_id(id_)
        except InvalidId as invalid:
            raise Malformed(422, f"invocation_ids[{index}]: {invalid}") from None
    if len(ids) > BATCH_MAX:
        raise Refused(400, f"{len(ids)} invocations are more than the {BATCH_MAX} one request may name")
    if action in UNSUPPORTED:
        raise Refused(501, f"{action} is not supported")
    wanted = bodies.optional_text(fields, "deployment") if action == "resume" else None
    return Batch(action, tuple(ids), deployment_wanted(wanted or KEEP))


def mutate_state(asked: Asked, node: Node) -> Decision:
    fields = bodies.read_object(asked.request)
    key = bodies.text(fields, "object_key")
    entries = state_entries(fields)
    version = bodies.optional_text(fields, "version")
    if bodies.optional_text(fields, "scope") is not None:
        raise Refused(400, "scope: scopes are not supported")
    name = asked.arguments[0]
    if name in node.schema.services or entries:
        service = known_service(asked, node)
        if service.type is ServiceType.SERVICE:
            raise Refused(400, f"{name} is a plain service: it has no state")
    return Mutate(MutateState(name, key, entries, version))


def state_entries(fields: Any) -> tuple[tuple[bytes, bytes], ...]:
    """The new state, sorted by its keys' bytes.  Raises Malformed."""
    if "new_state" not in fields:
        raise Malformed(422, "the field new_state is missing")
    state = fields["new_state"]
    if not isinstance(state, dict):
        raise bodies.wrong("new_state", "an object", state)
    return tuple(sorted((name.encode(), state_value(name, value)) for name, value in state.items()))


def state_value(name: str, value: object) -> bytes:
    """The bytes of a state value: an array of byte values, or a text's UTF-8.  Raises Malformed."""
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, list):
        raise bodies.wrong(f"new_state.{name}", "an array of byte values, or a text", value)
    if not all(type(item) is int and 0 <= item <= 255 for item in value):
        raise Malformed(422, f"new_state.{name} must hold numbers from 0 to 255")
    return bytes(value)


def path_id(asked: Asked) -> str:
    """The invocation's id in the path.  Raises Refused."""
    try:
        raw_id(asked.arguments[0])
    except InvalidId as invalid:
        raise Refused(400, str(invalid)) from None
    return asked.arguments[0]


def command(action: str, invocation_id: str, request_id: int, deployment_id: str = "") -> Command:
    """The command of *action*."""
    if action == "resume":
        return Resume(invocation_id, request_id, deployment_id)
    return ACTIONS[action](invocation_id, request_id)


def new_place(wanted: str, found: Described | None, schema: Schema) -> str:
    """The id of the deployment that *wanted* means for a paused invocation.  Raises Refused when it cannot run there.

    One that is not paused is not asked to move: it may be paused by the time it is asked, where nobody has looked.
    """
    outcome = why_unmoved(found)
    if found is None or outcome:
        raise Refused(*OUTCOMES["resume", outcome])
    target = found.known.target
    if wanted == LATEST:
        service = schema.services.get(target.service)
        wanted = service.deployment_id if service is not None else ""
    deployment = schema.deployments.get(wanted)
    if deployment is None:
        raise Refused(400, f"there is no deployment {wanted or 'of ' + target.service}")
    if deployment.handler(target.service, target.handler) is None:
        raise Refused(400, f"the deployment {wanted} has no handler {target.service}/{target.handler}")
    versions = deployment.manifest
    if not versions.protocol_version_min <= found.protocol_version <= versions.protocol_version_max:
        raise Refused(
            400,
            f"the journal of {found.id} is of protocol version {found.protocol_version}, the deployment {wanted} "
            f"speaks {versions.protocol_version_min} to {versions.protocol_version_max}",
        )
    return wanted


def why_unmoved(found: Described | None) -> str:
    """What the machine says to a move of an invocation that stands so; empty when it can be moved."""
    if found is None:
        return "not_found"
    status = found.known.status
    if status is Status.PAUSED and found.deployment_id:
        return ""
    return UNMOVED.get(status, "not_movable")


def acted(action: str, invocation_id: str, outcome: str) -> Response:
    """The answer to an action that was applied."""
    status, message = OUTCOMES[action, outcome]
    return error(status, f"{invocation_id}: {message}") if message else Response(status)


def acted_on_all(action: str, outcomes: Mapping[str, str | Refused]) -> Response:
    """The answer to a batch: *outcomes* by invocation id, or why there is none."""
    succeeded: list[str] = []
    failed: list[dict[str, str]] = []
    for invocation_id, outcome in outcomes.items():
        message = str(outcome) if isinstance(outcome, Refused) else OUTCOMES[action, outcome][1]
        if message:
            failed.append({"invocation_id": invocation_id, "error": f"{invocation_id}: {message}"})
        else:
            succeeded.append(invocation_id)
    return Response(200, (JSON_TYPE,), dump({"succeeded": succeeded, "failed": failed}))


def shown(invocation_id: str, found: Described | None) -> Response:
    """One invocation."""
    if found is None:
        return error(404, f"{invocation_id}: there is no such invocation")
    return Response(200, (JSON_TYPE,), dump(view(found)))


def listed(listing: Listed) -> Response:
    body = {"invocations": [view(item) for item in listing.found], "complete": listing.is_complete}
    return Response(200, (JSON_TYPE,), dump(body))


def view(found: Described) -> dict[str, Any]:
    """An invocation, without its input and result: those are its caller's.  Named as Restate's tables name them."""
    target = found.known.target
    path = (target.service, target.handler) if target.key is None else (target.service, target.key, target.handler)
    shown: dict[str, Any] = {
        "id": found.id,
        "target": "/".join(path),
        "target_service_name": target.service,
        "target_service_key": target.key,
        "target_handler_name": target.handler,
        "target_service_ty": service_type_word(found.service_type),
        "status": found.known.status.name.lower(),
        "created_at": instant(found.created_ms),
        "journal_size": found.journal_length,
        "journal_commands_size": found.command_count,
    }
    optional = {
        "idempotency_key": found.idempotency_key,
        "pinned_deployment_id": found.deployment_id,
        "pinned_service_protocol_version": found.protocol_version,
        "scheduled_start_at": instant(found.execution_time_ms),
        "completed_at": instant(found.completed_ms),
        "in_flight": found.is_running,
        "retry_count": found.failures,
    }
    shown.update({name: value for name, value in optional.items() if value})
    if found.last_failure is not None:
        shown["last_failure"] = found.last_failure.message
        shown["last_failure_error_code"] = found.last_failure.code
    if found.known.status is Status.COMPLETED:
        failed = isinstance(found.known.result, Failure)
        shown["completion_result"] = "failure" if failed else "success"
        if found.known.expires_ms:
            shown["completion_expiration"] = instant(found.known.expires_ms)
    return shown


def service_type_word(service_type: ServiceType) -> str:
    """`service`, `virtual_object` or `workflow`."""
    return service_type.name.lower()


def instant(epoch_ms: int) -> str | None:
    """RFC 3339; None for never."""
    return rfc3339_nanos(min(epoch_ms, INSTANT_MS_MAX)) if epoch_ms else None
