"""What endpoints offer: services and handlers, from a discovery manifest to frozen values.  No state.

A manifest is somebody else's input: everything wrong with it is a ManifestError that names the place.  Durations are
integer milliseconds.  A handler's option overrides its service's, which overrides the server's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import attrs

from understudy_runtime.model.invocation import HandlerType, OnMaxAttempts, RetryPolicy, ServiceType

PROTOCOL_VERSION_MIN: Final = 5
PROTOCOL_VERSION_MAX: Final = 6
IDENTIFIER: Final = re.compile(r"[a-zA-Z]([a-zA-Z0-9._\-/])*")
SERVICE_TYPES: Final = MappingProxyType({t.name: t for t in ServiceType})
HANDLER_TYPES: Final = MappingProxyType({t.name: t for t in HandlerType})
ON_MAX_ATTEMPTS: Final = MappingProxyType({t.name: t for t in OnMaxAttempts})
DEFAULT_HANDLER_TYPE: Final = MappingProxyType(
    {
        ServiceType.SERVICE: HandlerType.SHARED,
        ServiceType.VIRTUAL_OBJECT: HandlerType.EXCLUSIVE,
        ServiceType.WORKFLOW: HandlerType.WORKFLOW,
    }
)
HANDLER_TYPES_OF: Final = MappingProxyType(
    {
        ServiceType.SERVICE: (HandlerType.SHARED,),
        ServiceType.VIRTUAL_OBJECT: (HandlerType.EXCLUSIVE, HandlerType.SHARED),
        ServiceType.WORKFLOW: (HandlerType.WORKFLOW, HandlerType.SHARED),
    }
)
ENDPOINT_FIELDS: Final = frozenset(
    {"protocolMode", "minProtocolVersion", "maxProtocolVersion", "lambdaCompression", "services"}
)
OPTION_FIELDS: Final = frozenset(
    {
        "name",
        "ty",
        "documentation",
        "metadata",
        "inactivityTimeout",
        "abortTimeout",
        "journalRetention",
        "idempotencyRetention",
        "enableLazyState",
        "ingressPrivate",
        "retryPolicyInitialInterval",
        "retryPolicyMaxInterval",
        "retryPolicyMaxAttempts",
        "retryPolicyExponentiationFactor",
        "retryPolicyOnMaxAttempts",
    }
)
SERVICE_FIELDS: Final = OPTION_FIELDS | {"handlers", "workflowCompletionRetention"}
HANDLER_FIELDS: Final = OPTION_FIELDS | {"input", "output", "workflowCompletionRetention"}


class ManifestError(ValueError):
    """The endpoint's manifest is wrong: where, what was found, what was expected."""


@attrs.frozen
class InputRule:
    """What body a handler takes.  `content_type` is an accept-style pattern; None: no body and no content type."""

    required: bool = False
    content_type: str | None = "*/*"


@attrs.frozen
class OutputRule:
    """How an answer is labelled.  `content_type` None: the handler returns nothing."""

    content_type: str | None = "application/json"
    set_content_type_if_empty: bool = False


@attrs.frozen(kw_only=True)
class Options:
    """What a service or a handler may set; None leaves it to the next level."""

    inactivity_timeout_ms: int | None = None
    abort_timeout_ms: int | None = None
    journal_retention_ms: int | None = None
    idempotency_retention_ms: int | None = None
    workflow_retention_ms: int | None = None
    lazy_state: bool | None = None
    private: bool | None = None
    retry_delay_ms_first: int | None = None
    retry_delay_ms_max: int | None = None
    retry_attempts_max: int | None = None
    retry_factor_thousandths: int | None = None
    retry_on_max_attempts: OnMaxAttempts | None = None

    def over(self, base: Options) -> Options:
        """These options, and *base*'s where these say nothing."""
        mine = attrs.asdict(self, recurse=False)
        return attrs.evolve(base, **{name: value for name, value in mine.items() if value is not None})

    def retry_policy(self, default: RetryPolicy) -> RetryPolicy:
        """The policy of an invocation: *default* where nothing is set."""
        changes: dict[str, Any] = {
            name: value
            for name, value in (
                ("delay_ms_first", self.retry_delay_ms_first),
                ("delay_ms_max", self.retry_delay_ms_max),
                ("attempts_max", self.retry_attempts_max),
                ("factor_thousandths", self.retry_factor_thousandths),
                ("on_max_attempts", self.retry_on_max_attempts),
            )
            if value is not None
        }
        return attrs.evolve(default, **changes) if changes else default


@attrs.frozen
class Handler:
    """A handler with its service's options already under its own."""

    name: str
    type: HandlerType
    input: InputRule
    output: OutputRule
    options: Options

    @property
    def public(self) -> bool:
        """Whether the ingress may call it."""
        return not self.options.private

    def retention_ms(self, idempotency_key: str | None, default_ms: int) -> int:
        """How long the result of a call is kept: long for a key or a workflow's run, else as the journal is."""
        if self.type is HandlerType.WORKFLOW:
            retention = self.options.workflow_retention_ms
            return default_ms if retention is None else retention
        if idempotency_key is not None:
            retention = self.options.idempotency_retention_ms
            return default_ms if retention is None else retention
        return self.options.journal_retention_ms or 0


@attrs.frozen
class Service:
    """A service at its latest revision, and the deployment that serves it."""

    name: str
    type: ServiceType
    handlers: Mapping[str, Handler]
    deployment_id: str
    revision: int

    @property
    def keyed(self) -> bool:
        """Whether its targets have a key."""
        return self.type is not ServiceType.SERVICE


@attrs.frozen
class Manifest:
    """A parsed manifest."""

    bidirectional: bool
    protocol_version_min: int
    protocol_version_max: int
    services: Sequence[ManifestService]


@attrs.frozen
class ManifestService:
    name: str
    type: ServiceType
    handlers: Mapping[str, Handler]


@attrs.frozen
class Deployment:
    """An endpoint known to the server."""

    id: str
    manifest: Manifest

    @property
    def protocol_version(self) -> int:
        """The version of the service protocol we speak with it."""
        return min(self.manifest.protocol_version_max, PROTOCOL_VERSION_MAX)

    def handler(self, service: str, handler: str) -> Handler | None:
        """This deployment's own idea of the handler, whatever newer ones offer."""
        for found in self.manifest.services:
            if found.name == service:
                return found.handlers.get(handler)
        return None


@attrs.frozen
class Schema:
    """All services at their latest revision.  `revision` grows with every registration."""

    revision: int = 0
    services: Mapping[str, Service] = attrs.field(factory=dict)
    deployments: Mapping[str, Deployment] = attrs.field(factory=dict)

    def resolve(self, service: str, handler: str) -> tuple[Service, Handler] | None:
        """The service and handler called so, or None."""
        found = self.services.get(service)
        if found is None:
            return None
        known = found.handlers.get(handler)
        return None if known is None else (found, known)

    def with_deployment(self, deployment_id: str, manifest: Manifest) -> Schema:
        """This schema with *manifest* as the latest word on its services.

        Services the deployment served before and no longer lists are gone.
        """
        services = {n: s for n, s in self.services.items() if s.deployment_id != deployment_id}
        for offered in manifest.services:
            before = self.services.get(offered.name)
            revision = 1 if before is None else before.revision + 1
            services[offered.name] = Service(offered.name, offered.type, offered.handlers, deployment_id, revision)
        deployments = {**self.deployments, deployment_id: Deployment(deployment_id, manifest)}
        return Schema(self.revision + 1, services, deployments)


def parse_manifest(value: object) -> Manifest:
    """The manifest an endpoint's discovery answered, as decoded JSON.  Raises ManifestError."""
    endpoint = expect_object(value, "the manifest", ENDPOINT_FIELDS)
    mode = endpoint.get("protocolMode")
    if mode not in ("BIDI_STREAM", "REQUEST_RESPONSE"):
        raise ManifestError(f"protocolMode must be BIDI_STREAM or REQUEST_RESPONSE, found {mode!r}")
    lowest = integer(endpoint, "minProtocolVersion", "the manifest", low=1)
    highest = integer(endpoint, "maxProtocolVersion", "the manifest", low=1)
    if lowest is None or highest is None or lowest > highest:
        raise ManifestError(f"the protocol versions {lowest} to {highest} are no range")
    if highest < PROTOCOL_VERSION_MIN or lowest > PROTOCOL_VERSION_MAX:
        raise ManifestError(
            f"the endpoint speaks protocol versions {lowest} to {highest}, "
            f"this server {PROTOCOL_VERSION_MIN} to {PROTOCOL_VERSION_MAX}"
        )
    services = [parse_service(item) for item in expect_array(endpoint.get("services"), "services")]
    names = [service.name for service in services]
    for name in names:
        if names.count(name) > 1:
            raise ManifestError(f"the service {name} is listed twice")
    return Manifest(mode == "BIDI_STREAM", lowest, highest, tuple(services))


def parse_service(value: object) -> ManifestService:
    fields = expect_object(value, "a service", SERVICE_FIELDS)
    name = identifier(fields, "a service")
    type_ = SERVICE_TYPES.get(str(fields.get("ty")))
    if type_ is None:
        raise ManifestError(f"service {name}: ty must be one of {', '.join(SERVICE_TYPES)}, found {fields.get('ty')!r}")
    base = parse_options(fields, f"service {name}")
    handlers: dict[str, Handler] = {}
    for item in expect_array(fields.get("handlers"), f"service {name}: handlers"):
        handler = parse_handler(item, name, type_, base)
        if handler.name in handlers:
            raise ManifestError(f"service {name}: the handler {handler.name} is listed twice")
        handlers[handler.name] = handler
    runs = [handler.name for handler in handlers.values() if handler.type is HandlerType.WORKFLOW]
    if type_ is ServiceType.WORKFLOW and len(runs) != 1:
        raise ManifestError(f"service {name}: a workflow has one run handler, found {len(runs)}")
    return ManifestService(name, type_, handlers)


def parse_handler(value: object, service: str, service_type: ServiceType, base: Options) -> Handler:
    fields = expect_object(value, f"service {service}: a handler", HANDLER_FIELDS)
    name = identifier(fields, f"service {service}: a handler")
    where = f"handler {service}/{name}"
    word = fields.get("ty")
    type_ = DEFAULT_HANDLER_TYPE[service_type] if word is None else HANDLER_TYPES.get(str(word))
    if type_ not in HANDLER_TYPES_OF[service_type]:
        raise ManifestError(f"{where}: ty {word!r} does not fit a {service_type.name}")
    assert type_ is not None, "None fits no service type"
    return Handler(
        name,
        type_,
        parse_input(fields.get("input"), where),
        parse_output(fields.get("output"), where),
        parse_options(fields, where).over(base),
    )


def parse_input(value: object, where: str) -> InputRule:
    if value is None:
        return InputRule()
    fields = expect_object(value, f"{where}: input", frozenset({"required", "contentType", "jsonSchema"}))
    if not fields:
        return InputRule(required=False, content_type=None)
    required = fields.get("required", False)
    content_type = fields.get("contentType", "*/*")
    if type(required) is not bool or not isinstance(content_type, str):
        raise ManifestError(f"{where}: input.required is a boolean and input.contentType a text")
    return InputRule(required, content_type)


def parse_output(value: object, where: str) -> OutputRule:
    if value is None:
        return OutputRule()
    allowed = frozenset({"contentType", "setContentTypeIfEmpty", "jsonSchema"})
    fields = expect_object(value, f"{where}: output", allowed)
    content_type = fields.get("contentType")
    if_empty = fields.get("setContentTypeIfEmpty", False)
    if not (content_type is None or isinstance(content_type, str)) or type(if_empty) is not bool:
        raise ManifestError(f"{where}: output.contentType is a text and setContentTypeIfEmpty a boolean")
    return OutputRule(content_type, if_empty)


def parse_options(fields: Mapping[str, Any], where: str) -> Options:
    word = fields.get("retryPolicyOnMaxAttempts")
    if word is not None and word not in ON_MAX_ATTEMPTS:
        raise ManifestError(f"{where}: retryPolicyOnMaxAttempts must be PAUSE or KILL, found {word!r}")
    return Options(
        inactivity_timeout_ms=integer(fields, "inactivityTimeout", where),
        abort_timeout_ms=integer(fields, "abortTimeout", where),
        journal_retention_ms=integer(fields, "journalRetention", where),
        idempotency_retention_ms=integer(fields, "idempotencyRetention", where),
        workflow_retention_ms=integer(fields, "workflowCompletionRetention", where),
        lazy_state=boolean(fields, "enableLazyState", where),
        private=boolean(fields, "ingressPrivate", where),
        retry_delay_ms_first=integer(fields, "retryPolicyInitialInterval", where),
        retry_delay_ms_max=integer(fields, "retryPolicyMaxInterval", where),
        retry_attempts_max=integer(fields, "retryPolicyMaxAttempts", where, low=1),
        retry_factor_thousandths=factor(fields, "retryPolicyExponentiationFactor", where),
        retry_on_max_attempts=None if word is None else ON_MAX_ATTEMPTS[word],
    )


def expect_object(value: object, where: str, known: frozenset[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ManifestError(f"{where} must be an object, found {type(value).__name__}")
    for name in value:
        if name not in known:
            raise ManifestError(f"{where}: the field {name!r} is unknown")
    return value


def expect_array(value: object, where: str) -> Sequence[object]:
    if not isinstance(value, list):
        raise ManifestError(f"{where} must be an array, found {type(value).__name__}")
    return value


def identifier(fields: Mapping[str, Any], where: str) -> str:
    name = fields.get("name")
    if not isinstance(name, str) or not IDENTIFIER.fullmatch(name):
        raise ManifestError(f"{where}: the name {name!r} is no identifier")
    return name


def integer(fields: Mapping[str, Any], name: str, where: str, low: int = 0) -> int | None:
    value: int | None = fields.get(name)
    if value is not None and (type(value) is not int or not low <= value < 2**63):
        raise ManifestError(f"{where}: {name} must be an integer from {low} on, found {value!r}")
    return value


def boolean(fields: Mapping[str, Any], name: str, where: str) -> bool | None:
    value: bool | None = fields.get(name)
    if value is not None and type(value) is not bool:
        raise ManifestError(f"{where}: {name} must be true or false, found {value!r}")
    return value


def factor(fields: Mapping[str, Any], name: str, where: str) -> int | None:
    """A factor such as 2.0 in thousandths: no float is durable."""
    value: int | float | None = fields.get(name)
    if value is None:
        return None
    if type(value) not in (int, float) or not 1 <= value <= 1_000_000:
        raise ManifestError(f"{where}: {name} must be a number from 1 on, found {value!r}")
    return round(value * 1000)
