"""Deployments and services as state of their own: commands in a log, and a pure apply to a Schema.

A registration whose manifest is what the deployment has already is no command at all.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Final

import attrs

from understudy_runtime.model.fields import numbered
from understudy_runtime.model.schema import ManifestError, Schema, parse_manifest


@attrs.frozen
class RegisterDeployment:
    """The deployment *deployment_id* offers what *manifest* (JSON, canonical) says, and is the latest for it."""

    deployment_id: str = numbered(1)
    manifest: bytes = numbered(2)


MetaCommand = RegisterDeployment

# Tags on disk.  Numbers are never reused.
META_TAGS: Final = MappingProxyType[int, type]({1: RegisterDeployment})


@attrs.define
class MetaState:
    """What the meta log says: the schema, and each deployment's manifest as registered."""

    schema: Schema = attrs.field(factory=Schema)
    manifests: dict[str, bytes] = attrs.field(factory=dict)


def canonical_manifest(manifest: bytes | dict[str, object]) -> bytes:
    """*manifest* in the one form that is stored and compared.  Raises ManifestError when it is no JSON."""
    try:
        value = json.loads(manifest) if isinstance(manifest, bytes) else manifest
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    except (ValueError, TypeError) as error:
        raise ManifestError(f"the manifest is no JSON: {error}") from error


def register(state: MetaState, deployment_id: str, manifest: bytes | dict[str, object]) -> RegisterDeployment | None:
    """The command that makes *manifest* known, or None when nothing changed.  Raises ManifestError."""
    canonical = canonical_manifest(manifest)
    if state.manifests.get(deployment_id) == canonical:
        return None  # It was parsed when it came into the state.
    parse_manifest(json.loads(canonical))
    return RegisterDeployment(deployment_id, canonical)


def apply(state: MetaState, command: MetaCommand) -> None:
    """Bring *state* to where it is after *command*."""
    manifest = parse_manifest(json.loads(command.manifest))
    state.schema = state.schema.with_deployment(command.deployment_id, manifest)
    state.manifests[command.deployment_id] = command.manifest
    assert command.deployment_id in state.schema.deployments, "what was registered is known"
