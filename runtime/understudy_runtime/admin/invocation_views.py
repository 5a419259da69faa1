"""Invocations as the admin shows them, without their input and result: those are their caller's.

Named as Restate's tables name them.  Only the export of a journal holds values.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Final

from understudy_runtime.admin.asked import error
from understudy_runtime.admin.backend import Described, Exported, Listed, Waiting
from understudy_runtime.ingress.answers import JSON_TYPE, dump
from understudy_runtime.ingress.port import Response
from understudy_runtime.ingress.times import INSTANT_MS_MAX, rfc3339_nanos
from understudy_runtime.model.invocation import Failure, ServiceType, Status

# A journal above it is not exported: it would be held in memory several times over.
EXPORT_BYTES_MAX: Final = 64 << 20
MAY_BE_MANY: Final = ("waiting_on", "waited_for_by", "deadlock", "behind_deadlock")
BRIEF_MAX: Final = 10
# What gets an invocation out of where it cannot go on by itself.  A cancel alone is no way for what is parked: only its
# handler can answer it.
OUT_OF_DEADLOCK: Final = ("cancel", "kill")


def shown(invocation_id: str, found: Described | None) -> Response:
    """One invocation."""
    if found is None:
        return error(404, f"{invocation_id}: there is no such invocation")
    return Response(200, (JSON_TYPE,), dump(view(found)))


def listed(listing: Listed) -> Response:
    body = {"invocations": [brief_view(item) for item in listing.found], "complete": listing.is_complete}
    return Response(200, (JSON_TYPE,), dump(body))


def brief_view(found: Described) -> dict[str, Any]:
    """An invocation in a list: of what may be many the first, and how many there are."""
    shown = view(found)
    for name in MAY_BE_MANY:
        items = shown.get(name, ())
        if len(items) > BRIEF_MAX:
            shown[name] = items[:BRIEF_MAX]
            shown[f"{name}_count"] = len(items)
    return shown


def view(found: Described) -> dict[str, Any]:
    """An invocation."""
    target = found.known.target
    shown: dict[str, Any] = {
        "id": found.id,
        "target": target_text(found),
        "target_service_name": target.service,
        "target_service_key": target.key,
        "target_handler_name": target.handler,
        "target_service_ty": service_type_word(found.service_type),
        "status": found.status,
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
        "attempts": found.attempts,
        "retry_count": found.failures,
        "next_retry_at": instant(found.retry_at_ms),
    }
    shown.update({name: value for name, value in optional.items() if value})
    if found.waits:
        shown["waiting_on"] = [waiting_view(wait) for wait in found.waits]
    if found.callers:
        shown["waited_for_by"] = list(found.callers)
    if found.deadlock:
        is_member = found.id in found.deadlock
        shown["deadlock" if is_member else "behind_deadlock"] = list(found.deadlock)
    if found.parked:
        shown["parked"] = {"reason": found.parked, "ways_out": out_of_parking(found)}
    if found.last_failure is not None:
        shown["last_failure"] = found.last_failure.message
        shown["last_failure_error_code"] = found.last_failure.code
    if found.known.status is Status.COMPLETED:
        failed = isinstance(found.known.result, Failure)
        shown["completion_result"] = "failure" if failed else "success"
        if found.known.expires_ms:
            shown["completion_expiration"] = instant(found.known.expires_ms)
    return shown


def waiting_view(wait: Waiting) -> dict[str, Any]:
    """What an invocation waits for."""
    shown: dict[str, Any] = {"kind": wait.kind}
    optional = {"id": wait.on, "detail": wait.detail, "until": instant(wait.until_ms)}
    shown.update({name: value for name, value in optional.items() if value})
    return shown


def deadlocks(circles: Sequence[Sequence[Described]]) -> Response:
    """The circles, each member with what it waits for of the next one."""
    return Response(200, (JSON_TYPE,), dump({"deadlocks": [circle_view(circle) for circle in circles]}))


def circle_view(circle: Sequence[Described]) -> dict[str, Any]:
    """The ways out begin with who has not started: to cancel them undoes nothing.  Kills come last."""
    members = []
    for index, member in enumerate(circle):
        next_id = circle[(index + 1) % len(circle)].id
        waits = [waiting_view(wait) for wait in member.waits if wait.on == next_id]
        members.append(
            {
                "id": member.id,
                "target": target_text(member),
                "status": member.status,
                "created_at": instant(member.created_ms),
                "waits_for": waits[0] if waits else {"id": next_id},
            }
        )
    gentlest_first = sorted(circle, key=lambda member: member.known.status is not Status.INBOXED)
    return {
        "members": members,
        "ways_out": [way_out(one.id, word) for word in OUT_OF_DEADLOCK for one in gentlest_first],
    }


def way_out(invocation_id: str, word: str) -> str:
    """A request that lets a stuck invocation go on, or ends it."""
    return f"PATCH /invocations/{invocation_id}/{word}"


def out_of_parking(found: Described) -> list[str]:
    """What lets a parked invocation go on, or ends it; what is not bound yet runs wherever its service is offered."""
    if not found.deployment_id:
        return [f"offer the service {found.known.target.service} again", way_out(found.id, "kill")]
    return [
        f"start {found.deployment_id} again, if it is a version of the server's own services: it goes on by itself",
        "ask `understudy check` whether the code of now fits its journal, then let it go on there:",
        way_out(found.id, "resume?deployment=latest"),
        way_out(found.id, "kill"),
    ]


def target_text(found: Described) -> str:
    """`service/handler`, or `service/key/handler`."""
    target = found.known.target
    path = (target.service, target.handler) if target.key is None else (target.service, target.key, target.handler)
    return "/".join(path)


def journal(invocation_id: str, found: Exported | None) -> Response:
    """A journal, with what a replay of it needs."""
    if found is None:
        return error(404, f"{invocation_id}: there is no such invocation")
    if not found.entries:
        return error(410, f"{invocation_id}: its journal is no longer kept: journal_retention says for how long")
    length = sum(len(entry.payload) for entry in found.entries) + sum(
        len(key) + len(value) for key, value in found.state
    )
    if length > EXPORT_BYTES_MAX:
        return error(
            413,
            f"{invocation_id}: journal and state are {length} bytes, more than the {EXPORT_BYTES_MAX} that are "
            "exported: read them from the data folder, with `understudy check --data`",
        )
    return Response(200, (JSON_TYPE,), dump(export_view(found)))


def export_view(found: Exported) -> dict[str, Any]:
    """The journal of an invocation as `understudy check` reads it; bytes are base64, the seed is a text."""
    shown = found.described
    target = shown.known.target
    return {
        "id": shown.id,
        "target_service_name": target.service,
        "target_handler_name": target.handler,
        "target_service_key": target.key,
        "random_seed": str(found.random_seed),
        "protocol_version": shown.protocol_version,
        "deployment_id": shown.deployment_id,
        "status": shown.status,
        "entries": [{"type": entry.type, "payload": base64(entry.payload)} for entry in found.entries],
        "state": [{"key": base64(key), "value": base64(value)} for key, value in found.state],
        "state_complete": found.is_state_complete,
    }


def base64(value: bytes) -> str:
    return b64encode(value).decode("ascii")


def service_type_word(service_type: ServiceType) -> str:
    """`service`, `virtual_object` or `workflow`."""
    return service_type.name.lower()


def instant(epoch_ms: int) -> str | None:
    """RFC 3339; None for never."""
    return rfc3339_nanos(min(epoch_ms, INSTANT_MS_MAX)) if epoch_ms else None
