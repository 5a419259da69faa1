"""The routes that do something to invocations, one or many, and what their outcomes are answered with.

Where an invocation is to run on is decided here, by what is known when it is asked: the machine knows no deployments.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import attrs

from understudy_runtime.admin import bodies
from understudy_runtime.admin.asked import (
    KEEP,
    LATEST,
    Act,
    ActUnheard,
    Asked,
    Batch,
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
from understudy_runtime.model.commands import Cancel, Kill, Pause, Purge, PurgeJournal, RestartAsNew, Resume
from understudy_runtime.model.ids import InvalidId, parse_deployment_id, raw_id
from understudy_runtime.model.invocation import Status
from understudy_runtime.model.schema import Schema

BATCH_MAX: Final = 1_000

Plain = type[Cancel] | type[Kill] | type[Purge] | type[PurgeJournal] | type[Pause]
# Those whose command says no more than whom.
PLAIN: Final = MappingProxyType[str, Plain](
    {"cancel": Cancel, "kill": Kill, "purge": Purge, "purge-journal": PurgeJournal, "pause": Pause}
)
RESUME: Final = "resume"
RESTART: Final = "restart-as-new"
ACTION_NAMES: Final = (*PLAIN, RESUME, RESTART)
# The route of old knows these, and hears nothing of what came of them.
MODES: Final = ("cancel", "kill", "purge")
# Where an invocation goes on that is asked to: (action, unless the request says so).
DEPLOYMENTS: Final = MappingProxyType({RESUME: KEEP, RESTART: LATEST})
UNKNOWN: Final = (404, "there is no such invocation")
OVER: Final = (409, "the invocation has already completed")
UNBEGUN: Final = (425, "the invocation has not started yet: it waits for its time or its turn")
# (action, the machine's outcome) to the status of the answer and what an error says.
OUTCOMES: Final = MappingProxyType[tuple[str, str], tuple[int, str]](
    {
        ("cancel", "accepted"): (202, ""),
        ("cancel", "done"): (200, ""),
        ("cancel", "not_found"): UNKNOWN,
        ("cancel", "already_completed"): OVER,
        ("kill", "accepted"): (200, ""),
        ("kill", "done"): (200, ""),
        ("kill", "not_found"): UNKNOWN,
        ("kill", "already_completed"): OVER,
        ("purge", "accepted"): (200, ""),
        ("purge", "done"): (200, ""),
        ("purge", "not_found"): UNKNOWN,
        ("purge", "not_completed"): (409, "the invocation has not completed: only completed ones can be purged"),
        ("resume", "done"): (200, ""),
        ("resume", "not_found"): UNKNOWN,
        ("resume", "already_completed"): OVER,
        ("resume", "not_started"): UNBEGUN,
        ("resume", "not_movable"): (409, "the invocation runs just now, or is not bound to a deployment yet"),
        ("pause", "done"): (202, ""),
        ("pause", "already_paused"): (200, ""),
        ("pause", "not_found"): UNKNOWN,
        ("pause", "not_running"): (409, "the invocation does not run: only what has started and is not over is paused"),
        ("restart-as-new", "done"): (200, ""),
        ("restart-as-new", "not_found"): UNKNOWN,
        ("restart-as-new", "not_completed"): (409, "the invocation is still running: cancel or kill it first"),
        ("restart-as-new", "not_started"): UNBEGUN,
        ("restart-as-new", "is_workflow"): (
            422,
            "a workflow runs once for each key: purge this run, then call it anew",
        ),
        ("restart-as-new", "no_journal"): (
            410,
            "its input is no longer kept: journal_retention says for how long journals are, and here it is over",
        ),
        ("restart-as-new", "old_protocol"): (
            422,
            "its endpoint speaks service protocol 5, whose random values follow from the invocation's id: "
            "a part of the journal would not be replayed under a new one, restart it from the beginning",
        ),
        ("restart-as-new", "bad_prefix"): (
            400,
            "the journal cannot be cut there: `from` must be the index of an entry before the output, "
            "and every call and read up to it must have been answered",
        ),
        ("restart-as-new", "not_movable"): (409, "the invocation was never bound to a deployment: leave that to it"),
        ("purge-journal", "done"): (200, ""),
        ("purge-journal", "not_found"): UNKNOWN,
        ("purge-journal", "not_completed"): (409, "the invocation has not completed: it needs its journal"),
    }
)
# Why an invocation does not go on elsewhere; any other status is simply not the right one.
UNMOVED: Final = MappingProxyType(
    {Status.COMPLETED: "already_completed", Status.SCHEDULED: "not_started", Status.INBOXED: "not_started"}
)
FROM_DIGITS_MAX: Final = 9


@attrs.frozen
class Outcome:
    """What the machine said of an action; *new_id* is that of an invocation it began."""

    word: str
    new_id: str = ""


def act(action: str, asked: Asked, node: Node) -> Decision:
    invocation_id = path_id(asked)
    if action not in DEPLOYMENTS:
        return Act(action, invocation_id)
    wanted = deployment_wanted(asked.query.get("deployment", DEPLOYMENTS[action]))
    return Act(action, invocation_id, wanted, index_wanted(asked.query.get("from", "0")) if action == RESTART else 0)


def index_wanted(text: str) -> int:
    """The journal index a restart goes on from.  Raises Malformed."""
    if not (text.isascii() and text.isdigit() and len(text) <= FROM_DIGITS_MAX):
        raise Malformed(400, f"the query's from must be the index of a journal entry, found {text!r}")
    return int(text)


def deployment_wanted(text: str) -> str:
    """Where an invocation is to go on, as `Act` says it.  Raises Refused."""
    if text.lower() in (KEEP, LATEST):
        return text.lower()
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
    # Who is named twice is meant once.
    chosen = tuple(dict.fromkeys(ids))
    if action not in DEPLOYMENTS:
        return Batch(action, chosen)
    wanted = bodies.optional_text(fields, "deployment") or DEPLOYMENTS[action]
    return Batch(action, chosen, deployment_wanted(wanted))


def resumption(wanted: Act, found: Described | None, schema: Schema, request_id: int) -> Resume:
    """The command that lets an invocation go on.  Raises Refused."""
    place = "" if wanted.deployment == KEEP else new_place(wanted.deployment, expect_movable(found), schema)
    return Resume(wanted.invocation_id, request_id, place)


def restart(
    wanted: Act, found: Described | None, schema: Schema, request_id: int, new_id: str, random_seed: int
) -> RestartAsNew:
    """The command that runs a completed invocation again as *new_id*.  Raises Refused.

    One that begins with nothing but its input finds the latest deployment when it starts, like any other.
    """
    place = ""
    if found is not None and found.known.status is Status.COMPLETED and found.journal_length:
        if wanted.deployment == KEEP:
            place = new_place(found.deployment_id, found, schema) if found.deployment_id else ""
        elif wanted.deployment != LATEST or wanted.from_index:
            place = new_place(wanted.deployment, found, schema) if found.deployment_id else wanted.deployment
    return RestartAsNew(wanted.invocation_id, new_id, request_id, wanted.from_index, random_seed, place)


def expect_movable(found: Described | None) -> Described:
    """*found*, if it can go on elsewhere.  Raises Refused.

    One whose attempt runs is not asked to move: it may be paused by the time it is asked, where nobody has looked.
    """
    outcome = why_unmoved(found)
    if found is None or outcome:
        raise Refused(*OUTCOMES[RESUME, outcome])
    return found


def why_unmoved(found: Described | None) -> str:
    """What the machine says to a move of an invocation that stands so; empty when it can be moved."""
    if found is None:
        return "not_found"
    status = found.known.status
    is_idle = status in (Status.PAUSED, Status.SUSPENDED) or found.is_idle
    return "" if is_idle and found.deployment_id else UNMOVED.get(status, "not_movable")


def new_place(wanted: str, found: Described, schema: Schema) -> str:
    """The id of the deployment that *wanted* means for *found*.  Raises Refused when its journal cannot go on there."""
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


def acted(action: str, invocation_id: str, outcome: Outcome) -> Response:
    """The answer to an action that was applied."""
    status, message = OUTCOMES[action, outcome.word]
    if message:
        return error(status, f"{invocation_id}: {message}")
    if outcome.new_id:
        return Response(status, (JSON_TYPE,), dump({"new_invocation_id": outcome.new_id}))
    return Response(status)


def acted_on_all(action: str, outcomes: Mapping[str, Outcome | Refused]) -> Response:
    """The answer to a batch: *outcomes* by invocation id, or why there is none."""
    succeeded: list[str | dict[str, str]] = []
    failed: list[dict[str, str]] = []
    for invocation_id, outcome in outcomes.items():
        message = str(outcome) if isinstance(outcome, Refused) else OUTCOMES[action, outcome.word][1]
        if message:
            failed.append({"invocation_id": invocation_id, "error": f"{invocation_id}: {message}"})
        elif isinstance(outcome, Outcome) and outcome.new_id:
            succeeded.append({"old_invocation_id": invocation_id, "new_invocation_id": outcome.new_id})
        else:
            succeeded.append(invocation_id)
    return Response(200, (JSON_TYPE,), dump({"succeeded": succeeded, "failed": failed}))
