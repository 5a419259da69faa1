"""Deployments and services as the admin shows them.  Effective values are shown, not what was left out.

The values of a deployment's additional headers are masked: they are credentials as a rule.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any, Final

from understudy_runtime.ingress.times import INSTANT_MS_MAX, rfc3339_nanos, written_duration
from understudy_runtime.limits import Limits
from understudy_runtime.model.invocation import HandlerType, OnMaxAttempts, ServiceType
from understudy_runtime.model.schema import About, Deployment, Handler, Options, Schema, Service

MASKED: Final = "***"
# The address of services that live in the server itself.
IN_PROCESS_URI: Final = "in-process://localhost/"
SERVICE_TYPE_WORDS: Final = MappingProxyType(
    {
        ServiceType.SERVICE: "Service",
        ServiceType.VIRTUAL_OBJECT: "VirtualObject",
        ServiceType.WORKFLOW: "Workflow",
    }
)
HANDLER_TYPE_WORDS: Final = MappingProxyType(
    {HandlerType.EXCLUSIVE: "Exclusive", HandlerType.SHARED: "Shared", HandlerType.WORKFLOW: "Workflow"}
)
ON_MAX_ATTEMPTS_WORDS: Final = MappingProxyType({OnMaxAttempts.PAUSE: "Pause", OnMaxAttempts.KILL: "Kill"})


def deployment_view(deployment: Deployment) -> dict[str, Any]:
    """A deployment, its services by name and revision."""
    services = [{"name": service.name, "revision": service.revision} for service in deployment.services.values()]
    return {**deployment_head(deployment), "services": services}


def deployment_details(deployment: Deployment, limits: Limits) -> dict[str, Any]:
    """A deployment with all about its services."""
    return {**deployment_head(deployment), "services": service_views(deployment, limits)}


def registered_view(deployment: Deployment, limits: Limits) -> dict[str, Any]:
    """What a registration answers."""
    manifest = deployment.manifest
    view: dict[str, Any] = {
        "id": deployment.id,
        "services": service_views(deployment, limits),
        "min_protocol_version": manifest.protocol_version_min,
        "max_protocol_version": manifest.protocol_version_max,
    }
    if deployment.origin.sdk_version:
        view["sdk_version"] = deployment.origin.sdk_version
    return view


def deployment_head(deployment: Deployment) -> dict[str, Any]:
    origin = deployment.origin
    endpoint = origin.endpoint
    view: dict[str, Any] = {
        "id": deployment.id,
        "uri": endpoint.uri or IN_PROCESS_URI,
        "protocol_type": "BidiStream" if deployment.bidirectional else "RequestResponse",
        "http_version": origin.http_version or "HTTP/2.0",
    }
    if endpoint.additional_headers:
        view["additional_headers"] = {name: MASKED for name, _ in endpoint.additional_headers}
    if endpoint.metadata:
        view["metadata"] = dict(endpoint.metadata)
    view["created_at"] = rfc3339_nanos(min(origin.created_ms, INSTANT_MS_MAX))
    view["min_protocol_version"] = deployment.manifest.protocol_version_min
    view["max_protocol_version"] = deployment.manifest.protocol_version_max
    if origin.sdk_version:
        view["sdk_version"] = origin.sdk_version
    return view


def service_views(deployment: Deployment, limits: Limits) -> list[dict[str, Any]]:
    return [service_view(service, deployment, limits) for service in deployment.services.values()]


def latest_view(schema: Schema, service: Service, limits: Limits) -> dict[str, Any]:
    """A service at its latest revision."""
    return service_view(service, schema.deployments[service.deployment_id], limits)


def service_view(service: Service, deployment: Deployment, limits: Limits) -> dict[str, Any]:
    """All about a service, with the server's defaults where it says nothing."""
    options = service.options
    retention_ms = defaulted(options.idempotency_retention_ms, limits.completion_retention_ms)
    view: dict[str, Any] = {
        "name": service.name,
        "ty": SERVICE_TYPE_WORDS[service.type],
        "handlers": [handler_view(handler, service.type) for handler in service.handlers.values()],
        **about_view(service.about),
        "deployment_id": service.deployment_id,
        "revision": service.revision,
        "public": not options.private,
        "idempotency_retention": written_duration(retention_ms),
    }
    if service.type is ServiceType.WORKFLOW:
        default_ms = defaulted(limits.workflow_retention_ms, limits.completion_retention_ms)
        view["workflow_completion_retention"] = written_duration(defaulted(options.workflow_retention_ms, default_ms))
    inactivity_ms = defaulted(options.inactivity_timeout_ms, limits.inactivity_timeout_ms)
    view["journal_retention"] = written_duration(defaulted(options.journal_retention_ms, limits.journal_retention_ms))
    view["inactivity_timeout"] = written_duration(inactivity_ms if deployment.bidirectional else 0)
    view["abort_timeout"] = written_duration(defaulted(options.abort_timeout_ms, limits.abort_timeout_ms))
    view["enable_lazy_state"] = bool(options.lazy_state)
    policy = options.retry_policy(limits.retry_policy)
    view["retry_policy"] = {
        "initial_interval": written_duration(policy.delay_ms_first),
        "exponentiation_factor": policy.factor_thousandths / 1000,
        "max_attempts": policy.attempts_max,
        "max_interval": written_duration(policy.delay_ms_max),
        "on_max_attempts": ON_MAX_ATTEMPTS_WORDS[policy.on_max_attempts],
    }
    return view


def handler_view(handler: Handler, service_type: ServiceType) -> dict[str, Any]:
    """All about a handler; of the options only those it sets itself."""
    view: dict[str, Any] = {"name": handler.name}
    if service_type is not ServiceType.SERVICE:
        view["ty"] = HANDLER_TYPE_WORDS[handler.type]
    view |= about_view(handler.about)
    view["public"] = handler.public
    view["input_description"] = description(handler.input.content_type, handler.input.json_schema)
    view["output_description"] = description(handler.output.content_type, handler.output.json_schema)
    for name, schema in (
        ("input_json_schema", handler.input.json_schema),
        ("output_json_schema", handler.output.json_schema),
    ):
        if schema is not None:
            view[name] = json.loads(schema)
    return view | own_options_view(handler.own)


def own_options_view(own: Options) -> dict[str, Any]:
    view: dict[str, Any] = {}
    for name, duration_ms in (
        ("idempotency_retention", own.idempotency_retention_ms),
        ("workflow_completion_retention", own.workflow_retention_ms),
        ("journal_retention", own.journal_retention_ms),
        ("inactivity_timeout", own.inactivity_timeout_ms),
        ("abort_timeout", own.abort_timeout_ms),
    ):
        if duration_ms is not None:
            view[name] = written_duration(duration_ms)
    if own.lazy_state is not None:
        view["enable_lazy_state"] = own.lazy_state
    view["retry_policy"] = own_retry_view(own)
    return view


def own_retry_view(own: Options) -> dict[str, Any]:
    view: dict[str, Any] = {}
    if own.retry_delay_ms_first is not None:
        view["initial_interval"] = written_duration(own.retry_delay_ms_first)
    if own.retry_factor_thousandths is not None:
        view["exponentiation_factor"] = own.retry_factor_thousandths / 1000
    view["max_attempts"] = own.retry_attempts_max
    if own.retry_delay_ms_max is not None:
        view["max_interval"] = written_duration(own.retry_delay_ms_max)
    if own.retry_on_max_attempts is not None:
        view["on_max_attempts"] = ON_MAX_ATTEMPTS_WORDS[own.retry_on_max_attempts]
    return view


def about_view(about: About) -> dict[str, Any]:
    view: dict[str, Any] = {}
    if about.documentation is not None:
        view["documentation"] = about.documentation
    if about.metadata:
        view["metadata"] = dict(about.metadata)
    return view


def description(content_type: str | None, json_schema: str | None) -> str:
    """What a handler takes or gives, for people.

    >>> description("application/json", '{"type":"string"}'), description(None, None), description("text/css", "true")
    ('JSON string', 'none', 'text/css')
    """
    if content_type is None:
        return "none"
    schema = None if json_schema is None else json.loads(json_schema)
    if content_type == "application/json" and isinstance(schema, dict):
        if isinstance(schema.get("title"), str):
            return f"JSON '{schema['title']}'"
        if isinstance(schema.get("type"), str):
            return f"JSON {schema['type']}"
    return content_type


def defaulted(value: int | None, default: int) -> int:
    return default if value is None else value
