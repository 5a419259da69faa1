"""Deployments come and go: discover, decide, write into the meta log, open the way.

A discovery is awaited by its own request alone; what it found is decided and written under one lock, against the schema
as it is then.  Once written, a change is in force everywhere at once: the ingress resolves by the new schema, attempts
that run keep the transport they have.  A cancelled request leaves either nothing or the whole change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import trio

from understudy_runtime.invoker.port import Connect, Discovery, Transport, TransportError, WrongHttpVersion
from understudy_runtime.limits import Limits
from understudy_runtime.meta import core
from understudy_runtime.meta.core import Found, MetaCommand
from understudy_runtime.meta.shell import Meta
from understudy_runtime.model.endpoint import Endpoint
from understudy_runtime.model.ids import deployment_id, ulid
from understudy_runtime.model.registration import (
    DeploymentPatch,
    Registered,
    Registration,
    RegistrationRefused,
    Why,
)
from understudy_runtime.model.schema import Options, Origin, Schema, Service
from understudy_runtime.world import World

ULID_ENTROPY_BYTES: Final = 10
# An endpoint that answers so is asked again: it, or what stands before it, is not ready.
RETRIED: Final = (408, 429, 500, 502, 503, 504)
RETRY_SECONDS_FIRST: Final = 0.1
DISCOVERIES_MAX: Final = 4


class Registrar:
    """The deployments of one node.  `transports` is the way to each; those *given* are of this process."""

    def __init__(
        self, world: World, limits: Limits, meta: Meta, *, given: Mapping[str, Transport], connect: Connect | None
    ) -> None:
        self.transports = dict(given)
        self._world = world
        self._limits = limits
        self._meta = meta
        self._given = frozenset(given)  # only ever asked for membership
        self._connect = connect
        self._lock = trio.Lock()

    @property
    def schema(self) -> Schema:
        return self._meta.schema

    def connect_known(self) -> None:
        """Open the way to what the log knows.  Without a *connect*, there is none."""
        if self._connect is None:
            return
        for id_, deployment in self.schema.deployments.items():
            if deployment.origin.endpoint.uri and id_ not in self.transports:
                self.transports[id_] = self._connect(deployment.origin.endpoint)

    async def register(self, wanted: Registration) -> Registered:
        """Make what the endpoint offers the latest; see `Registration`.  Raises RegistrationRefused, DiskError."""
        answer = core.before_discovery(self.schema, wanted)
        if answer is not None:
            return answer
        discovered = await self._discovered(wanted.endpoint, created_ms=self._world.now_ms())
        async with self._lock:
            answer = core.before_discovery(self.schema, wanted)
            if answer is not None:
                return answer
            new_id = deployment_id(ulid(self._world.now_ms(), self._world.entropy(ULID_ENTROPY_BYTES)))
            decided = core.after_discovery(self.schema, wanted, discovered, new_id)
            if not wanted.dry_run:
                await self._commit(decided.command)
                await self._open(decided.registered.deployment.id)
            return decided.registered

    async def move(self, deployment_id: str, patch: DeploymentPatch) -> Registered:
        """Reach a deployment in another way; see `DeploymentPatch`.  Raises RegistrationRefused, DiskError."""
        if patch.is_empty:
            return Registered(core.expect_deployment(self.schema, deployment_id), self.schema)
        endpoint = core.before_move(self.schema, deployment_id, patch)
        discovered = await self._discovered(endpoint, created_ms=0)
        async with self._lock:
            decided = core.after_move(self.schema, deployment_id, patch, discovered)
            if not patch.dry_run:
                await self._commit(decided.command)
                await self._open(deployment_id)
            return decided.registered

    async def remove(self, deployment_id: str) -> None:
        """Forget a deployment.  Raises RegistrationRefused, DiskError."""
        async with self._lock:
            command = core.remove(self.schema, deployment_id)
            if deployment_id in self._given:
                raise RegistrationRefused(
                    Why.IN_PROCESS, f"the deployment {deployment_id} is this server's own process: it goes with it"
                )
            await self._commit(command)
            transport = self.transports.pop(deployment_id, None)
            if transport is not None:
                await transport.aclose()

    async def patch_service(self, service: str, options: Options) -> Service:
        """Set options of a service's latest revision.  Raises RegistrationRefused, DiskError."""
        async with self._lock:
            command = core.patch_service(self.schema, service, options)
            if command is not None:
                await self._commit(command)
            return self.schema.services[service]

    async def _commit(self, command: MetaCommand) -> None:
        """Write *command*: whole, whatever becomes of the request."""
        with trio.CancelScope(shield=True):
            await self._meta.append(command)

    async def _open(self, deployment_id: str) -> None:
        """Make the way to the deployment be the one its endpoint says."""
        assert self._connect is not None, "who discovered can connect"
        endpoint = self.schema.deployments[deployment_id].origin.endpoint
        before = self.transports.get(deployment_id)
        self.transports[deployment_id] = self._connect(endpoint)
        if before is not None:
            await before.aclose()

    async def _discovered(self, endpoint: Endpoint, *, created_ms: int) -> Found:
        """What *endpoint* offers.  Raises RegistrationRefused."""
        discovery = await self._discover(endpoint)
        origin = Origin(
            endpoint=endpoint,
            sdk_version=discovery.sdk_version,
            http_version=discovery.http_version,
            created_ms=created_ms,
        )
        return core.found(discovery.manifest, origin)

    async def _discover(self, endpoint: Endpoint) -> Discovery:
        if self._connect is None:
            raise RegistrationRefused(Why.BAD_ADDRESS, "this server reaches no endpoints but its own services")
        try:
            transport = self._connect(endpoint)
        except ValueError as error:
            raise RegistrationRefused(Why.BAD_ADDRESS, str(error)) from error
        try:
            with trio.fail_after(self._limits.discovery_timeout_ms / 1000):
                return await self._asked(transport)
        except trio.TooSlowError:
            raise RegistrationRefused(
                Why.UNREACHABLE,
                f"{endpoint.uri} has not answered discovery within {self._limits.discovery_timeout_ms} ms",
            ) from None
        finally:
            with trio.CancelScope(shield=True):
                await transport.aclose()

    async def _asked(self, transport: Transport) -> Discovery:
        """The answer to discovery, asking again while the endpoint is not ready."""
        wait = RETRY_SECONDS_FIRST
        for asked in range(1, DISCOVERIES_MAX + 1):
            try:
                return await transport.discover()
            except WrongHttpVersion as error:
                raise RegistrationRefused(
                    Why.HTTP_11_ONLY, f"{error}: if it only speaks HTTP/1.1, register it with use_http_11"
                ) from error
            except TransportError as error:
                if error.status not in RETRIED or asked == DISCOVERIES_MAX:
                    why = Why.BAD_MANIFEST if error.status == 200 else Why.UNREACHABLE
                    raise RegistrationRefused(why, str(error)) from error
            await trio.sleep(wait)
            wait *= 2
        raise AssertionError("the last try ended the loop")
