"""What endpoints offer: services and handlers, from a discovery manifest to frozen values.  No state.

A manifest is somebody else's input: everything wrong with it is a ManifestError that names the place.  Durations are
integer milliseconds.  A handler's option overrides its service's, which overrides the server's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import attrs

from understudy_runtime.model.endpoint import Endpoint
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


class VersionsUnmet(ManifestError):
    """Endpoint and server have no version of the service protocol in common."""


class HandlerRefused(ManifestError):
    """The manifest is well formed, but a service or handler in it cannot be: its type or its content does not fit."""


@attrs.frozen
class About:
    """What a service or a handler says to people."""

    documentation: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()


@attrs.frozen
class InputRule:
    """What body a handler takes.  `content_type` is an accept-style pattern; None: no body and no content type.

    `json_schema` is JSON text, as the endpoint gave it; nothing is checked against it.
    """

    required: bool = False
    content_type: str | None = "*/*"
    json_schema: str | None = None


@attrs.frozen
class OutputRule:
    """How an answer is labelled.  `content_type` None: the handler returns nothing.  `json_schema` as for inputs."""

    content_type: str | None = "application/json"
    set_content_type_if_empty: bool = False
    json_schema: str | None = None


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

    def within(self, service: Options) -> Options:
        """These options of a handler under its *service*'s: what a private service has is private."""
        merged = self.over(service)
        return attrs.evolve(merged, private=True) if service.private and not merged.private else merged

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
    """A handler with its service's options already under its own; `own` are those it sets itself."""

    name: str
    type: HandlerType
    input: InputRule
    output: OutputRule
    options: Options
    own: Options = Options()
    about: About = About()

    @property
    def public(self) -> bool:
        """Whether the ingress may call it."""
        return not self.options.private


@attrs.frozen
class Service:
    """A service at one revision, and the deployment that serves it.  `options` are under each handler's own."""

    name: str
    type: ServiceType
    handlers: Mapping[str, Handler]
    deployment_id: str
    revision: int
    options: Options = Options()
    about: About = About()

    @property
    def keyed(self) -> bool:
        """Whether its targets have a key."""
        return self.type is not ServiceType.SERVICE

    def with_options(self, patch: Options) -> Service:
        """This service with *patch* over its options; a handler's own stay over them."""
        options = patch.over(self.options)
        handlers = {
            name: attrs.evolve(handler, options=handler.own.within(options)) for name, handler in self.handlers.items()
        }
        return attrs.evolve(self, options=options, handlers=handlers)


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
    options: Options = Options()
    about: About = About()

    def at(self, deployment_id: str, revision: int) -> Service:
        """This service as a deployment's."""
        return Service(self.name, self.type, self.handlers, deployment_id, revision, self.options, self.about)


@attrs.frozen(kw_only=True)
class Origin:
    """Where a manifest came from, as far as a registration fixes it.  All empty for services of this process."""

    endpoint: Endpoint = attrs.field(factory=Endpoint)
    sdk_version: str = ""
    http_version: str = ""
    created_ms: int = 0


@attrs.frozen
class Deployment:
    """An endpoint known to the server, and its services at the revisions it serves."""

    id: str
    manifest: Manifest
    services: Mapping[str, Service]
    origin: Origin = Origin()

    @property
    def protocol_version(self) -> int:
        """The version of the service protocol we speak with it."""
        return min(self.manifest.protocol_version_max, PROTOCOL_VERSION_MAX)

    @property
    def bidirectional(self) -> bool:
        """Whether both sides talk at once; else a request is whole before it is answered."""
        return self.manifest.bidirectional and not self.origin.endpoint.use_http_11

    def handler(self, service: str, handler: str) -> Handler | None:
        """This deployment's own idea of the handler, whatever newer ones offer."""
        found = self.services.get(service)
        return None if found is None else found.handlers.get(handler)


@attrs.frozen
class Schema:
    """All services at their latest revision.  `revision` grows with every change."""

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

    def with_deployment(self, deployment_id: str, manifest: Manifest, origin: Origin = Origin()) -> Schema:
        """This schema with *manifest* as the latest word on its services.

        Services the deployment served before and no longer lists are gone from it.
        """
        services = {
            offered.name: offered.at(deployment_id, self.revision_next(offered.name)) for offered in manifest.services
        }
        return self._with(Deployment(deployment_id, manifest, services, origin))

    def with_moved(self, deployment_id: str, manifest: Manifest | None, origin: Origin) -> Schema:
        """This schema with the deployment reached in another way; with *manifest* its services are overwritten.

        Revisions stay: nothing becomes the latest by it, but services that are new.
        """
        found = self.deployments[deployment_id]
        if manifest is None:
            return self._with(attrs.evolve(found, origin=origin))
        services = {}
        for offered in manifest.services:
            before = found.services.get(offered.name)
            revision = self.revision_next(offered.name) if before is None else before.revision
            services[offered.name] = offered.at(deployment_id, revision)
        return self._with(Deployment(deployment_id, manifest, services, origin))

    def without_deployment(self, deployment_id: str) -> Schema:
        """This schema without the deployment: of each of its services the newest revision left is the latest."""
        deployments = {id_: found for id_, found in self.deployments.items() if id_ != deployment_id}
        return Schema(self.revision + 1, latest(deployments), deployments)

    def with_options(self, service: str, patch: Options) -> Schema:
        """This schema with *patch* over the options of the latest revision of *service*."""
        changed = self.services[service].with_options(patch)
        found = self.deployments[changed.deployment_id]
        return self._with(attrs.evolve(found, services={**found.services, service: changed}))

    def revision_next(self, service: str) -> int:
        """The revision the next registration of *service* gets."""
        before = self.services.get(service)
        return 1 if before is None else before.revision + 1

    def _with(self, deployment: Deployment) -> Schema:
        deployments = {**self.deployments, deployment.id: deployment}
        return Schema(self.revision + 1, latest(deployments), deployments)


def latest(deployments: Mapping[str, Deployment]) -> dict[str, Service]:
    """Each service at its highest revision."""
    services: dict[str, Service] = {}
    for deployment in deployments.values():
        for name, service in deployment.services.items():
            known = services.get(name)
            if known is None or service.revision > known.revision:
                services[name] = service
    return services


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
        raise VersionsUnmet(
            f"the endpoint speaks protocol versions {lowest} to {highest}, "
            f"this server {PROTOCOL_VERSION_MIN} to {PROTOCOL_VERSION_MAX}"
        )
    services = [parse_service(item) for item in expect_array(endpoint.get("services"), "services")]
    listed: dict[str, None] = {}
    for service in services:
        if service.name in listed:
            raise ManifestError(f"the service {service.name} is listed twice")
        listed[service.name] = None
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
        raise HandlerRefused(f"service {name}: a workflow has one run handler, found {len(runs)}")
    return ManifestService(name, type_, handlers, base, parse_about(fields, f"service {name}"))


def parse_handler(value: object, service: str, service_type: ServiceType, base: Options) -> Handler:
    fields = expect_object(value, f"service {service}: a handler", HANDLER_FIELDS)
    name = identifier(fields, f"service {service}: a handler")
    where = f"handler {service}/{name}"
    word = fields.get("ty")
    type_ = DEFAULT_HANDLER_TYPE[service_type] if word is None else HANDLER_TYPES.get(str(word))
    if type_ not in HANDLER_TYPES_OF[service_type]:
        raise HandlerRefused(f"{where}: ty {word!r} does not fit a {service_type.name}")
    assert type_ is not None, "None fits no service type"
    own = parse_options(fields, where)
    return Handler(
        name,
        type_,
        parse_input(fields.get("input"), where),
        parse_output(fields.get("output"), where),
        own.within(base),
        own,
        parse_about(fields, where),
    )


def parse_about(fields: Mapping[str, Any], where: str) -> About:
    documentation = fields.get("documentation")
    metadata = fields.get("metadata") or {}
    if not (documentation is None or isinstance(documentation, str)):
        raise ManifestError(f"{where}: documentation must be a text, found {type(documentation).__name__}")
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ManifestError(f"{where}: metadata must be an object of texts")
    return About(documentation, tuple(sorted(metadata.items())))


def parse_input(value: object, where: str) -> InputRule:
    if value is None:
        return InputRule()
    fields = expect_object(value, f"{where}: input", frozenset({"required", "contentType", "jsonSchema"}))
    if not fields:
        return InputRule(required=False, content_type=None)
    required = fields.get("required", False)
    content_type = fields.get("contentType", "*/*")
    if type(required) is not bool or not isinstance(content_type, str):
        raise HandlerRefused(f"{where}: input.required is a boolean and input.contentType a text")
    return InputRule(required, content_type, json_schema(fields))


def parse_output(value: object, where: str) -> OutputRule:
    if value is None:
        return OutputRule()
    allowed = frozenset({"contentType", "setContentTypeIfEmpty", "jsonSchema"})
    fields = expect_object(value, f"{where}: output", allowed)
    content_type = fields.get("contentType")
    if_empty = fields.get("setContentTypeIfEmpty", False)
    if not (content_type is None or isinstance(content_type, str)) or type(if_empty) is not bool:
        raise HandlerRefused(f"{where}: output.contentType is a text and setContentTypeIfEmpty a boolean")
    return OutputRule(content_type, if_empty, json_schema(fields))


def json_schema(fields: Mapping[str, Any]) -> str | None:
    """The schema as compact JSON text."""
    value = fields.get("jsonSchema")
    return None if value is None else json.dumps(value, separators=(",", ":"))


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
