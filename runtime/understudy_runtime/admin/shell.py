"""The admin acts: it performs what its core decided, through the node behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import MappingProxyType
from typing import Any, Final

import attrs
import trio

from understudy_runtime.admin import actions, asked, core, deployments, invocation_views
from understudy_runtime.admin.backend import AdminBackend, Described, Listed, ToInvocation
from understudy_runtime.ingress.backend import Overloaded, Unavailable
from understudy_runtime.ingress.port import Request, Response
from understudy_runtime.model.ids import ENTROPY_BYTES, invocation_id_beside, seed_of
from understudy_runtime.model.invocation import Status
from understudy_runtime.model.registration import RegistrationRefused

# So many invocations of a list are looked at in one go.
LIST_SLICE: Final = 8


class Admin:
    """*version* is this program's, *ingress_endpoint* where its clients go."""

    def __init__(
        self, backend: AdminBackend, *, version: str, ingress_endpoint: str, cluster_name: str = "localcluster"
    ) -> None:
        self.backend = backend
        self._version = version
        self._ingress_endpoint = ingress_endpoint
        self._cluster_name = cluster_name

    async def handle(self, request: Request) -> Response:
        """Serve *request*.  Raises what the medium does (DiskError); nothing a client sends."""
        decision = core.decide(request, self.node())
        try:
            return await PERFORMERS[type(decision)](self, decision)
        except RegistrationRefused as refused:
            return deployments.refusal(refused)
        except Overloaded:
            return asked.error(429, "the partition's queue is full: try again later")
        except Unavailable as unavailable:
            return asked.error(503, f"the request could not be confirmed: {unavailable}")

    def node(self) -> asked.Node:
        """What is known now."""
        return asked.Node(
            schema=self.backend.schema,
            limits=self.backend.limits,
            version=self._version,
            ingress_endpoint=self._ingress_endpoint,
            cluster_name=self._cluster_name,
        )


async def respond(admin: Admin, decision: asked.Respond) -> Response:
    return decision.response


async def show(admin: Admin, decision: asked.Show) -> Response:
    return invocation_views.shown(decision.invocation_id, admin.backend.described(decision.invocation_id))


async def show_deadlocks(admin: Admin, decision: asked.ShowDeadlocks) -> Response:
    """Each member is looked at as it is now: nothing of a circle can have gone on meanwhile."""
    backend = admin.backend
    found = [[backend.described(member) for member in circle] for circle in backend.deadlocks()]
    return invocation_views.deadlocks([[member for member in circle if member is not None] for circle in found])


async def export(admin: Admin, decision: asked.Export) -> Response:
    return invocation_views.journal(decision.invocation_id, admin.backend.journal(decision.invocation_id))


async def list_invocations(admin: Admin, decision: asked.ListInvocations) -> Response:
    """A few at a time, each as it is then: what they wait for lies in their journals, and others run meanwhile."""
    listing = admin.backend.live(decision.service, decision.count_max, decision.status)
    ids = [one.id for one in listing.found]
    found: list[Described] = []
    for first in range(0, len(ids), LIST_SLICE):
        await trio.lowlevel.checkpoint()
        shown = admin.backend.described_all(ids[first : first + LIST_SLICE])
        found += [one for one in shown if one.known.status is not Status.COMPLETED]
    return invocation_views.listed(Listed(found, listing.is_complete))


async def act(admin: Admin, decision: asked.Act) -> Response:
    try:
        outcome = await outcome_of(admin, decision)
    except asked.Refused as refused:
        return refused.response
    return actions.acted(decision.action, decision.invocation_id, outcome)


async def act_unheard(admin: Admin, decision: asked.ActUnheard) -> Response:
    await outcome_of(admin, asked.Act(decision.action, decision.invocation_id))
    return Response(202)


async def act_on_all(admin: Admin, decision: asked.Batch) -> Response:
    """One after the other: a batch is an operator's convenience, not a burst."""
    outcomes: dict[str, actions.Outcome | asked.Refused] = {}
    for invocation_id in decision.invocation_ids:
        wanted = asked.Act(decision.action, invocation_id, decision.deployment)
        try:
            outcomes[invocation_id] = await outcome_of(admin, wanted)
        except asked.Refused as refused:
            outcomes[invocation_id] = refused
    return actions.acted_on_all(decision.action, outcomes)


async def outcome_of(admin: Admin, wanted: asked.Act) -> actions.Outcome:
    """What the machine says of *wanted*.  Raises Refused."""
    backend = admin.backend
    request_id = backend.new_request_id()
    if wanted.action == actions.RESTART:
        return await restarted(admin, wanted, request_id)
    if wanted.action == actions.RESUME:
        found = backend.described(wanted.invocation_id)
        command: ToInvocation = actions.resumption(wanted, found, backend.schema, request_id)
    else:
        command = actions.PLAIN[wanted.action](wanted.invocation_id, request_id)
    return actions.Outcome((await backend.request(command)).outcome)


async def restarted(admin: Admin, wanted: asked.Act, request_id: int) -> actions.Outcome:
    backend = admin.backend
    entropy = backend.entropy(ENTROPY_BYTES)
    new_id = invocation_id_beside(wanted.invocation_id, backend.now_ms(), entropy)
    seed = seed_of(new_id, entropy, is_derived=False)
    found = backend.described(wanted.invocation_id)
    command = actions.restart(wanted, found, backend.schema, request_id, new_id, seed)
    return actions.Outcome((await backend.request(command)).outcome, new_id)


async def mutate(admin: Admin, decision: asked.Mutate) -> Response:
    command = attrs.evolve(decision.command, request_id=admin.backend.new_request_id())
    await admin.backend.mutate_state(command)
    return Response(202)


async def register(admin: Admin, decision: asked.Register) -> Response:
    return deployments.registered(await admin.backend.registrar.register(decision.registration), admin.backend.limits)


async def move(admin: Admin, decision: asked.Move) -> Response:
    found = await admin.backend.registrar.move(decision.deployment_id, decision.patch)
    return deployments.moved(found, admin.backend.limits)


async def remove(admin: Admin, decision: asked.Remove) -> Response:
    await admin.backend.registrar.remove(decision.deployment_id)
    return Response(202)


async def patch(admin: Admin, decision: asked.Patch) -> Response:
    service = await admin.backend.registrar.patch_service(decision.service, decision.options)
    return deployments.patched(admin.node(), service)


PERFORMERS: Final = MappingProxyType[type, Callable[[Admin, Any], Awaitable[Response]]](
    {
        asked.Respond: respond,
        asked.Show: show,
        asked.ShowDeadlocks: show_deadlocks,
        asked.Export: export,
        asked.ListInvocations: list_invocations,
        asked.Act: act,
        asked.ActUnheard: act_unheard,
        asked.Batch: act_on_all,
        asked.Mutate: mutate,
        asked.Register: register,
        asked.Move: move,
        asked.Remove: remove,
        asked.Patch: patch,
    }
)
