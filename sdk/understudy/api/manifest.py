"""The manifest: what an endpoint tells a server about its services, in the versions servers know.

A field that is in use but newer than the version asked for is an error, not an omission: the server would run the
service by other rules than it was written for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final, Literal

from understudy.api.handler import Handler, Options, Payload
from understudy.api.options import milliseconds
from understudy.api.schema import schema_of
from understudy.api.service import Definition
from understudy.vm import VERSIONS

MANIFEST_VERSIONS: Final = (1, 2, 3, 4, 5)

FIELD_SINCE: Final = MappingProxyType(
    {
        "documentation": 2,
        "metadata": 2,
        "inactivityTimeout": 3,
        "abortTimeout": 3,
        "journalRetention": 3,
        "idempotencyRetention": 3,
        "workflowCompletionRetention": 3,
        "enableLazyState": 3,
        "ingressPrivate": 3,
        "retryPolicyInitialInterval": 4,
        "retryPolicyMaxInterval": 4,
        "retryPolicyMaxAttempts": 4,
        "retryPolicyExponentiationFactor": 4,
        "retryPolicyOnMaxAttempts": 4,
        "eagerStateKeysWhitelist": 5,
    }
)
"""The manifest version that first has a field; fields not listed are in all of them."""


class ManifestError(ValueError):
    """The manifest cannot be told in the version asked for."""


def build_manifest(
    services: Iterable[Definition], version: int, mode: Literal["BIDI_STREAM", "REQUEST_RESPONSE"]
) -> dict[str, Any]:
    """The manifest as JSON values.  Raises ManifestError when *version* lacks a field that is in use."""
    assert version in MANIFEST_VERSIONS, version
    return {
        "protocolMode": mode,
        "minProtocolVersion": VERSIONS[0],
        "maxProtocolVersion": VERSIONS[-1],
        "services": [_service(service, version) for service in services],
    }


def _service(service: Definition, version: int) -> dict[str, Any]:
    return {
        "name": service.name,
        "ty": service.kind,
        "handlers": [_handler(handler, version) for handler in service.handlers.values()],
        **_options(service.name, service.options, version),
    }


def _handler(handler: Handler, version: int) -> dict[str, Any]:
    head: dict[str, Any] = {"name": handler.name}
    if handler.kind is not None:
        head["ty"] = handler.kind
    head["input"] = _input(handler.input)
    head["output"] = _output(handler.output)
    return {**head, **_options(f"{handler.service}/{handler.name}", handler.options, version)}


def _input(payload: Payload) -> dict[str, Any]:
    if payload.is_void:
        return {}
    return {
        "required": False,
        "contentType": payload.content_type,
        "jsonSchema": schema_of(payload.type_hint),
    }


def _output(payload: Payload) -> dict[str, Any]:
    if payload.is_void:
        return {"setContentTypeIfEmpty": False}
    return {
        "contentType": payload.content_type,
        "setContentTypeIfEmpty": False,
        "jsonSchema": schema_of(payload.type_hint),
    }


def _options(owner: str, options: Options, version: int) -> dict[str, Any]:
    fields = {name: value for name, value in _option_fields(options).items() if value is not None}
    for name in fields:
        since = FIELD_SINCE[name]
        if since > version:
            raise ManifestError(
                f"{owner} uses {name}, which the manifest has from version {since} on, "
                f"but the server asked for version {version} at most"
            )
    return fields


def _option_fields(options: Options) -> Mapping[str, Any]:
    retry = options.invocation_retry_policy
    on_max = None if retry is None or retry.on_max_attempts is None else retry.on_max_attempts.upper()
    return {
        "documentation": options.documentation,
        "metadata": None if options.metadata is None else dict(options.metadata),
        "inactivityTimeout": _milliseconds(options.inactivity_timeout),
        "abortTimeout": _milliseconds(options.abort_timeout),
        "journalRetention": _milliseconds(options.journal_retention),
        "idempotencyRetention": _milliseconds(options.idempotency_retention),
        "workflowCompletionRetention": _milliseconds(options.workflow_retention),
        "enableLazyState": options.enable_lazy_state,
        "ingressPrivate": options.ingress_private,
        "retryPolicyInitialInterval": None if retry is None else _milliseconds(retry.initial_interval),
        "retryPolicyMaxInterval": None if retry is None else _milliseconds(retry.max_interval),
        "retryPolicyMaxAttempts": None if retry is None else retry.max_attempts,
        "retryPolicyExponentiationFactor": None if retry is None else retry.exponentiation_factor,
        "retryPolicyOnMaxAttempts": on_max,
        "eagerStateKeysWhitelist": None if options.preloaded_keys is None else list(options.preloaded_keys),
    }


def _milliseconds(duration: timedelta | None) -> int | None:
    return None if duration is None else milliseconds(duration)
