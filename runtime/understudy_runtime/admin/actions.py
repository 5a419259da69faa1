"""The routes that do something to invocations, one or many, and what their outcomes are answered with."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from understudy_runtime.admin import bodies
from understudy_runtime.admin.asked import (
    Act,
    ActUnheard,
    Asked,
    Batch,
    Command,
    Decision,
    Malformed,
    Node,
    Refused,
    error,
)
from understudy_runtime.admin.backend import Described
from understudy_runtime.admin.invocations import path_id
from understudy_runtime.ingress.answers import JSON_TYPE, dump
from understudy_runtime.ingress.port import Response
from understudy_runtime.model.commands import Cancel, Kill, Purge, PurgeJournal, Resume
from understudy_runtime.model.ids import InvalidId, parse_deployment_id, raw_id
from understudy_runtime.model.invocation import Status
from understudy_runtime.model.schema import Schema

BATCH_MAX: Final = 1_000

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
