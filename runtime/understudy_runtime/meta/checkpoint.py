"""All that the meta log says, as one command: what was said before it can be forgotten.

Registrations come again and again; the log of them is bounded by writing down, now and then, what they have come to.
A checkpoint holds each deployment's manifest as registered, where it is, and each of its services' revision and
options: from these the schema follows, equal in every part.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import attrs

from understudy_runtime.model.endpoint import Endpoint
from understudy_runtime.model.fields import numbered
from understudy_runtime.model.schema import Deployment, Options, Origin, Schema, Service, latest, parse_manifest


@attrs.frozen
class KnownService:
    """A service of a deployment: its revision, and the options that were set over those of the manifest."""

    name: str = numbered(1)
    revision: int = numbered(2)
    private: bool | None = numbered(3, default=None)
    idempotency_retention_ms: int | None = numbered(4, default=None)
    workflow_retention_ms: int | None = numbered(5, default=None)
    journal_retention_ms: int | None = numbered(6, default=None)
    inactivity_timeout_ms: int | None = numbered(7, default=None)
    abort_timeout_ms: int | None = numbered(8, default=None)


@attrs.frozen
class KnownDeployment:
    """A deployment, as the registrations have left it."""

    deployment_id: str = numbered(1)
    manifest: bytes = numbered(2)
    endpoint: Endpoint = numbered(3)
    sdk_version: str = numbered(4, default="")
    http_version: str = numbered(5, default="")
    created_ms: int = numbered(6, default=0)
    services: tuple[KnownService, ...] = numbered(7, default=())


@attrs.frozen
class Checkpoint:
    """Everything there is, in the order it became known; *revision* is the schema's."""

    revision: int = numbered(1)
    deployments: tuple[KnownDeployment, ...] = numbered(2, default=())


def checkpoint_of(schema: Schema, manifests: Mapping[str, bytes]) -> Checkpoint:
    """*schema* as one command; *manifests* are those its deployments were registered with."""
    assert schema.deployments.keys() == manifests.keys(), "every deployment has its manifest"
    deployments = tuple(known_deployment(found, manifests[id_]) for id_, found in schema.deployments.items())
    return Checkpoint(schema.revision, deployments)


def known_deployment(deployment: Deployment, manifest: bytes) -> KnownDeployment:
    origin = deployment.origin
    return KnownDeployment(
        deployment.id,
        manifest,
        origin.endpoint,
        origin.sdk_version,
        origin.http_version,
        origin.created_ms,
        tuple(known_service(service) for service in deployment.services.values()),
    )


def known_service(service: Service) -> KnownService:
    options = service.options
    return KnownService(
        service.name,
        service.revision,
        options.private,
        options.idempotency_retention_ms,
        options.workflow_retention_ms,
        options.journal_retention_ms,
        options.inactivity_timeout_ms,
        options.abort_timeout_ms,
    )


def schema_of(checkpoint: Checkpoint) -> Schema:
    """The schema *checkpoint* was made of."""
    deployments = {known.deployment_id: deployment_of(known) for known in checkpoint.deployments}
    return Schema(checkpoint.revision, latest(deployments), deployments)


def deployment_of(known: KnownDeployment) -> Deployment:
    manifest = parse_manifest(json.loads(known.manifest))
    offered = {service.name: service for service in manifest.services}
    services = {}
    for service in known.services:
        at_revision = offered[service.name].at(known.deployment_id, service.revision)
        services[service.name] = at_revision.with_options(options_of(service))
    origin = Origin(
        endpoint=known.endpoint,
        sdk_version=known.sdk_version,
        http_version=known.http_version,
        created_ms=known.created_ms,
    )
    return Deployment(known.deployment_id, manifest, services, origin)


def options_of(service: KnownService) -> Options:
    return Options(
        private=service.private,
        idempotency_retention_ms=service.idempotency_retention_ms,
        workflow_retention_ms=service.workflow_retention_ms,
        journal_retention_ms=service.journal_retention_ms,
        inactivity_timeout_ms=service.inactivity_timeout_ms,
        abort_timeout_ms=service.abort_timeout_ms,
    )
