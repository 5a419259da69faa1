"""Deployments and services as state of their own: commands in a log, and a pure apply to a Schema.

A registration is decided twice: before the discovery (`before_discovery`: a known address needs none) and after it
(`after_discovery`: does what was found fit what is known).  Nothing here awaits; what is refused changes nothing.

An old log's `RegisterDeployment` has no endpoint: such a deployment lives in the server's own process.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Final

import attrs

from understudy_runtime.meta.checkpoint import Checkpoint, checkpoint_of, schema_of
from understudy_runtime.model.endpoint import Endpoint
from understudy_runtime.model.fields import numbered
from understudy_runtime.model.registration import (
    RESERVED_NAMES,
    DeploymentPatch,
    Registered,
    Registration,
    RegistrationRefused,
    Why,
)
from understudy_runtime.model.schema import (
    Deployment,
    HandlerRefused,
    Manifest,
    ManifestError,
    Options,
    Origin,
    Schema,
    VersionsUnmet,
    parse_manifest,
)


@attrs.frozen
class RegisterDeployment:
    """The deployment *deployment_id* offers what *manifest* (JSON, canonical) says, and is the latest for it."""

    deployment_id: str = numbered(1)
    manifest: bytes = numbered(2)
    endpoint: Endpoint | None = numbered(3, default=None)
    sdk_version: str = numbered(4, default="")
    http_version: str = numbered(5, default="")
    created_ms: int = numbered(6, default=0)


@attrs.frozen
class RemoveDeployment:
    """The deployment is no more; what is pinned to it waits until it is moved."""

    deployment_id: str = numbered(1)


@attrs.frozen
class MoveDeployment:
    """The deployment is reached in another way.  A *manifest* that is not empty overwrites its services as well."""

    deployment_id: str = numbered(1)
    endpoint: Endpoint = numbered(2)
    manifest: bytes = numbered(3, default=b"")
    sdk_version: str = numbered(4, default="")
    http_version: str = numbered(5, default="")


@attrs.frozen
class PatchService:
    """Options set over those of the latest revision of *service*; None leaves one as it is."""

    service: str = numbered(1)
    private: bool | None = numbered(2, default=None)
    idempotency_retention_ms: int | None = numbered(3, default=None)
    workflow_retention_ms: int | None = numbered(4, default=None)
    journal_retention_ms: int | None = numbered(5, default=None)
    inactivity_timeout_ms: int | None = numbered(6, default=None)
    abort_timeout_ms: int | None = numbered(7, default=None)


MetaCommand = RegisterDeployment | RemoveDeployment | MoveDeployment | PatchService | Checkpoint

# Tags on disk.  Numbers are never reused.
META_TAGS: Final = MappingProxyType[int, type](
    {1: RegisterDeployment, 2: RemoveDeployment, 3: MoveDeployment, 4: PatchService, 5: Checkpoint}
)


@attrs.define
class MetaState:
    """What the meta log says: the schema, and each deployment's manifest as registered."""

    schema: Schema = attrs.field(factory=Schema)
    manifests: dict[str, bytes] = attrs.field(factory=dict)


@attrs.frozen
class Found:
    """What a discovery brought: the manifest, parsed and canonical, and where it came from."""

    manifest: Manifest
    canonical: bytes
    origin: Origin


@attrs.frozen
class Decided:
    """A command that is allowed, and what it makes of the deployment."""

    command: MetaCommand
    registered: Registered


def canonical_manifest(manifest: bytes | dict[str, object]) -> bytes:
    """*manifest* in the one form that is stored and compared.  Raises ManifestError when it is no JSON."""
    try:
        value = json.loads(manifest) if isinstance(manifest, bytes) else manifest
        form = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        return form.encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise ManifestError(f"the manifest is no JSON: {error}") from error


def register(state: MetaState, deployment_id: str, manifest: bytes | dict[str, object]) -> RegisterDeployment | None:
    """The command for services of this process, or None when nothing changed.  Raises ManifestError."""
    canonical = canonical_manifest(manifest)
    if state.manifests.get(deployment_id) == canonical:
        return None  # It was parsed when it came into the state.
    parse_manifest(json.loads(canonical))
    return RegisterDeployment(deployment_id, canonical)


def known_at(schema: Schema, endpoint: Endpoint) -> Deployment | None:
    """The deployment at *endpoint*'s address."""
    for deployment in schema.deployments.values():
        if deployment.origin.endpoint.uri == endpoint.uri:
            return deployment
    return None


def before_discovery(schema: Schema, wanted: Registration) -> Registered | None:
    """The answer that needs no discovery, or None when one is due.  Raises RegistrationRefused."""
    assert wanted.endpoint.uri, "an address is asked for"
    known = known_at(schema, wanted.endpoint)
    if known is None or wanted.force:
        return None
    if wanted.once:
        raise RegistrationRefused(Why.ALREADY_KNOWN, f"the deployment {known.id} is at this address already")
    return Registered(known, schema)


def found(manifest: bytes, origin: Origin) -> Found:
    """A discovery's answer as it can be registered.  Raises RegistrationRefused."""
    try:
        canonical = canonical_manifest(manifest)
        parsed = parse_manifest(json.loads(canonical))
    except VersionsUnmet as error:
        raise RegistrationRefused(Why.PROTOCOL_VERSIONS, str(error)) from error
    except HandlerRefused as error:
        raise RegistrationRefused(Why.HANDLER_REFUSED, str(error)) from error
    except ManifestError as error:
        raise RegistrationRefused(Why.BAD_MANIFEST, str(error)) from error
    for service in parsed.services:
        if service.name in RESERVED_NAMES:
            raise RegistrationRefused(
                Why.RESERVED_NAME, f"no service may be called {service.name!r}: the ingress has routes of that name"
            )
    endpoint = attrs.evolve(origin.endpoint, bidirectional=parsed.bidirectional)
    return Found(parsed, canonical, attrs.evolve(origin, endpoint=endpoint))


def after_discovery(schema: Schema, wanted: Registration, discovered: Found, new_id: str) -> Decided:
    """The registration of what was *discovered*, under *new_id* if the address is new.  Raises RegistrationRefused."""
    if not (wanted.breaking or wanted.force):
        refuse_changed_types(schema, discovered.manifest)
    known = known_at(schema, wanted.endpoint)
    id_ = new_id if known is None else known.id
    origin = discovered.origin
    command = RegisterDeployment(
        id_, discovered.canonical, origin.endpoint, origin.sdk_version, origin.http_version, origin.created_ms
    )
    changed = schema.with_deployment(id_, discovered.manifest, origin)
    return Decided(command, Registered(changed.deployments[id_], changed, known is None))


def before_move(schema: Schema, deployment_id: str, patch: DeploymentPatch) -> Endpoint:
    """Where the deployment would be reached after *patch*.  Raises RegistrationRefused."""
    deployment = expect_deployment(schema, deployment_id)
    endpoint = deployment.origin.endpoint
    if not endpoint.uri:
        raise RegistrationRefused(
            Why.IN_PROCESS, f"the deployment {deployment_id} is this server's own process: it has no address to change"
        )
    moved = patch.over(endpoint)
    holder = known_at(schema, moved)
    if holder is not None and holder.id != deployment_id:
        raise RegistrationRefused(Why.ADDRESS_TAKEN, f"the deployment {holder.id} is at this address already")
    return moved


def after_move(schema: Schema, deployment_id: str, patch: DeploymentPatch, discovered: Found) -> Decided:
    """The move to what was *discovered*.  Raises RegistrationRefused."""
    before_move(schema, deployment_id, patch)
    before, now = schema.deployments[deployment_id].manifest, discovered.manifest
    if patch.overwrite:
        refuse_changed_types(schema, now)
    elif (before.protocol_version_min, before.protocol_version_max) != (
        now.protocol_version_min,
        now.protocol_version_max,
    ):
        raise RegistrationRefused(
            Why.VERSIONS_CHANGED,
            f"the endpoint speaks protocol versions {now.protocol_version_min} to {now.protocol_version_max}, "
            f"the deployment was registered with {before.protocol_version_min} to {before.protocol_version_max}: "
            "overwrite it, or register a new deployment",
        )
    origin = attrs.evolve(discovered.origin, created_ms=schema.deployments[deployment_id].origin.created_ms)
    canonical = discovered.canonical if patch.overwrite else b""
    command = MoveDeployment(deployment_id, origin.endpoint, canonical, origin.sdk_version, origin.http_version)
    changed = schema.with_moved(deployment_id, now if patch.overwrite else None, origin)
    return Decided(command, Registered(changed.deployments[deployment_id], changed))


def remove(schema: Schema, deployment_id: str) -> RemoveDeployment:
    """Raises RegistrationRefused."""
    expect_deployment(schema, deployment_id)
    return RemoveDeployment(deployment_id)


def patch_service(schema: Schema, service: str, options: Options) -> PatchService | None:
    """The command that sets *options*; None when it changes nothing.  Raises RegistrationRefused."""
    known = schema.services.get(service)
    if known is None:
        raise RegistrationRefused(Why.UNKNOWN, f"there is no service {service!r}")
    if options.over(known.options) == known.options:
        return None
    command = PatchService(
        service,
        options.private,
        options.idempotency_retention_ms,
        options.workflow_retention_ms,
        options.journal_retention_ms,
        options.inactivity_timeout_ms,
        options.abort_timeout_ms,
    )
    assert patched_options(command) == options, "only what can be patched is asked for"
    return command


def patched_options(command: PatchService) -> Options:
    """What *command* sets."""
    return Options(
        private=command.private,
        idempotency_retention_ms=command.idempotency_retention_ms,
        workflow_retention_ms=command.workflow_retention_ms,
        journal_retention_ms=command.journal_retention_ms,
        inactivity_timeout_ms=command.inactivity_timeout_ms,
        abort_timeout_ms=command.abort_timeout_ms,
    )


def expect_deployment(schema: Schema, deployment_id: str) -> Deployment:
    """Raises RegistrationRefused."""
    deployment = schema.deployments.get(deployment_id)
    if deployment is None:
        raise RegistrationRefused(Why.UNKNOWN, f"there is no deployment {deployment_id}")
    return deployment


def refuse_changed_types(schema: Schema, manifest: Manifest) -> None:
    """Raises RegistrationRefused when known services would change their type: what has their state or keys would break.

    All of them are named.  Handlers that are gone break nothing here: who is bound to an older deployment runs on it.
    """
    changed = [
        f"the service {service.name} is a {known.type.name} and would become a {service.type.name}"
        for service in manifest.services
        if (known := schema.services.get(service.name)) is not None and known.type is not service.type
    ]
    if changed:
        raise RegistrationRefused(
            Why.TYPE_CHANGED, f"{'; '.join(changed)}: give it another name, or register with breaking"
        )


def checkpoint(state: MetaState) -> Checkpoint:
    """All of *state* as the one command that makes it."""
    return checkpoint_of(state.schema, state.manifests)


def apply(state: MetaState, command: MetaCommand) -> None:
    """Bring *state* to where it is after *command*."""
    if isinstance(command, RegisterDeployment):
        apply_registered(state, command)
    elif isinstance(command, MoveDeployment):
        apply_moved(state, command)
    elif isinstance(command, RemoveDeployment):
        assert command.deployment_id in state.schema.deployments, "what is removed was known"
        state.schema = state.schema.without_deployment(command.deployment_id)
        del state.manifests[command.deployment_id]
    elif isinstance(command, Checkpoint):
        state.schema = schema_of(command)
        state.manifests = {known.deployment_id: known.manifest for known in command.deployments}
    else:
        assert command.service in state.schema.services, "what is patched was known"
        state.schema = state.schema.with_options(command.service, patched_options(command))


def apply_registered(state: MetaState, command: RegisterDeployment) -> None:
    manifest = parse_manifest(json.loads(command.manifest))
    endpoint = command.endpoint or Endpoint()
    origin = Origin(
        endpoint=endpoint,
        sdk_version=command.sdk_version,
        http_version=command.http_version,
        created_ms=command.created_ms,
    )
    state.schema = state.schema.with_deployment(command.deployment_id, manifest, origin)
    state.manifests[command.deployment_id] = command.manifest
    assert command.deployment_id in state.schema.deployments, "what was registered is known"


def apply_moved(state: MetaState, command: MoveDeployment) -> None:
    known = state.schema.deployments.get(command.deployment_id)
    assert known is not None, "what is moved was known"
    manifest = parse_manifest(json.loads(command.manifest)) if command.manifest else None
    origin = Origin(
        endpoint=command.endpoint,
        sdk_version=command.sdk_version,
        http_version=command.http_version,
        created_ms=known.origin.created_ms,
    )
    state.schema = state.schema.with_moved(command.deployment_id, manifest, origin)
    if command.manifest:
        state.manifests[command.deployment_id] = command.manifest
