"""The routes of deployments and services: what a request means, and what a refusal says."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from understudy_runtime.admin import bodies, views
from understudy_runtime.admin.asked import (
    Asked,
    Decision,
    Malformed,
    Move,
    Node,
    Patch,
    Refused,
    Register,
    Remove,
    Respond,
    error,
    shown,
)
from understudy_runtime.ingress.answers import JSON_TYPE, dump
from understudy_runtime.ingress.port import Response
from understudy_runtime.limits import Limits
from understudy_runtime.model.endpoint import Endpoint
from understudy_runtime.model.ids import InvalidId, parse_deployment_id
from understudy_runtime.model.invocation import ServiceType
from understudy_runtime.model.registration import DeploymentPatch, Registered, Registration, RegistrationRefused, Why
from understudy_runtime.model.schema import Options, Service

# Under the API of old a registration replaces what it finds unless told otherwise.
API_FORCING: Final = 2
# Why a deployment was refused to the status of the answer and the code of the documentation.
REFUSALS: Final = MappingProxyType[Why, tuple[int, str | None]](
    {
        Why.BAD_ADDRESS: (400, None),
        Why.UNREACHABLE: (500, "META0003"),
        Why.HTTP_11_ONLY: (500, "META0014"),
        Why.PROTOCOL_VERSIONS: (500, "META0012"),
        Why.BAD_MANIFEST: (500, "META0013"),
        Why.HANDLER_REFUSED: (400, None),
        Why.RESERVED_NAME: (400, "META0005"),
        Why.TYPE_CHANGED: (409, "META0006"),
        Why.ADDRESS_TAKEN: (409, "META0004"),
        Why.VERSIONS_CHANGED: (400, "META0016"),
        Why.ALREADY_KNOWN: (409, None),
        Why.UNKNOWN: (404, None),
        Why.IN_PROCESS: (400, None),
    }
)


def refusal(refused: RegistrationRefused) -> Response:
    """The answer to what was refused."""
    status, code = REFUSALS[refused.why]
    return error(status, str(refused), code)


def list_deployments(asked: Asked, node: Node) -> Decision:
    return shown({"deployments": [views.deployment_view(found) for found in node.schema.deployments.values()]})


def get_deployment(asked: Asked, node: Node) -> Decision:
    id_ = deployment_id(asked)
    deployment = node.schema.deployments.get(id_)
    if deployment is None:
        raise Refused(404, f"there is no deployment {id_}")
    return shown(views.deployment_details(deployment, node.limits))


def register_deployment(asked: Asked, node: Node) -> Decision:
    fields = bodies.read_object(asked.request)
    if "uri" not in fields:
        raise not_http(fields)
    refuse_auth(fields)
    force = bodies.flag(fields, "force")
    is_forcing = asked.api == API_FORCING
    endpoint = Endpoint(
        uri=absolute_uri(bodies.text(fields, "uri")),
        use_http_11=bodies.flag(fields, "use_http_11") or False,
        additional_headers=bodies.pairs(fields, "additional_headers") or (),
        metadata=bodies.pairs(fields, "metadata") or (),
    )
    return Register(
        Registration(
            endpoint=endpoint,
            force=is_forcing if force is None else force,
            breaking=bodies.flag(fields, "breaking") or False,
            dry_run=bodies.flag(fields, "dry_run") or False,
            once=is_forcing and force is False,
        )
    )


def patch_deployment(asked: Asked, node: Node) -> Decision:
    id_ = deployment_id(asked)
    fields = bodies.read_object(asked.request)
    patch = DeploymentPatch(
        uri=optional_uri(fields),
        use_http_11=bodies.flag(fields, "use_http_11"),
        additional_headers=bodies.pairs(fields, "additional_headers"),
        overwrite=bodies.flag(fields, "overwrite") or False,
        dry_run=bodies.flag(fields, "dry_run") or False,
    )
    for name in ("arn", "assume_role_arn"):
        if fields.get(name) is not None:
            raise Refused(400, f"{name}: deployments on AWS Lambda are not supported, only HTTP endpoints")
    return Move(id_, patch)


def put_deployment(asked: Asked, node: Node) -> Decision:
    """Replace a deployment: only the API of old has it."""
    if asked.api != API_FORCING:
        return Respond(error(405, "PUT of a deployment is no more: use PATCH"))
    id_ = deployment_id(asked)
    fields = bodies.read_object(asked.request)
    if "uri" not in fields:
        raise not_http(fields)
    refuse_auth(fields)
    patch = DeploymentPatch(
        uri=absolute_uri(bodies.text(fields, "uri")),
        use_http_11=bodies.flag(fields, "use_http_11") or False,
        additional_headers=bodies.pairs(fields, "additional_headers") or (),
        overwrite=True,
        dry_run=bodies.flag(fields, "dry_run") or False,
    )
    return Move(id_, patch)


def delete_deployment(asked: Asked, node: Node) -> Decision:
    id_ = deployment_id(asked)
    if not bodies.query_flag(asked.query, "force"):
        return Respond(Response(501))
    return Remove(id_)


def list_services(asked: Asked, node: Node) -> Decision:
    schema = node.schema
    return shown({"services": [views.latest_view(schema, found, node.limits) for found in schema.services.values()]})


def get_service(asked: Asked, node: Node) -> Decision:
    return shown(views.latest_view(node.schema, known_service(asked, node), node.limits))


def patch_service(asked: Asked, node: Node) -> Decision:
    fields = bodies.read_object(asked.request)
    public = bodies.flag(fields, "public")
    options = Options(
        private=None if public is None else not public,
        idempotency_retention_ms=bodies.duration_ms(fields, "idempotency_retention"),
        workflow_retention_ms=bodies.duration_ms(fields, "workflow_completion_retention"),
        journal_retention_ms=bodies.duration_ms(fields, "journal_retention"),
        inactivity_timeout_ms=bodies.duration_ms(fields, "inactivity_timeout"),
        abort_timeout_ms=bodies.duration_ms(fields, "abort_timeout"),
    )
    service = known_service(asked, node)
    if options.workflow_retention_ms is not None and service.type is not ServiceType.WORKFLOW:
        raise Refused(400, f"{service.name} is no workflow: it has no workflow_completion_retention")
    return Patch(service.name, options)


def list_handlers(asked: Asked, node: Node) -> Decision:
    service = known_service(asked, node)
    return shown({"handlers": [views.handler_view(found, service.type) for found in service.handlers.values()]})


def get_handler(asked: Asked, node: Node) -> Decision:
    service = known_service(asked, node)
    handler = service.handlers.get(asked.arguments[1])
    if handler is None:
        raise Refused(404, f"there is no handler {asked.arguments[1]!r} in the service {service.name}")
    return shown(views.handler_view(handler, service.type))


def known_service(asked: Asked, node: Node) -> Service:
    """The service the path names.  Raises Refused."""
    name = asked.arguments[0]
    service = node.schema.services.get(name)
    if service is None:
        raise Refused(404, f"there is no service {name!r}")
    return service


def deployment_id(asked: Asked) -> str:
    """The deployment's id in the path.  Raises Malformed."""
    try:
        parse_deployment_id(asked.arguments[0])
    except InvalidId as invalid:
        raise Malformed(400, str(invalid)) from None
    return asked.arguments[0]


def absolute_uri(uri: str) -> str:
    """*uri* in the one form that is kept.  Raises Refused.

    >>> absolute_uri("HTTP://Localhost:9080"), absolute_uri("http://h/a/b")
    ('http://localhost:9080/', 'http://h/a/b')
    """
    try:
        parts = urlsplit(uri)
    except ValueError as bad:
        raise Refused(400, f"uri: {uri!r} is no URI: {bad}") from None
    if not parts.scheme or not parts.netloc:
        raise Refused(400, f"uri: {uri!r} is not absolute: write for example http://localhost:9080")
    return parts._replace(netloc=parts.netloc.lower(), path=parts.path or "/").geturl()


def optional_uri(fields: Mapping[str, Any]) -> str | None:
    uri = bodies.optional_text(fields, "uri")
    return None if uri is None else absolute_uri(uri)


def not_http(fields: Mapping[str, Any]) -> Exception:
    """Why a registration without a URI is none."""
    if isinstance(fields.get("arn"), str):
        return Refused(400, "arn: deployments on AWS Lambda are not supported, only HTTP endpoints")
    return Malformed(422, "the field uri is missing")


def refuse_auth(fields: Mapping[str, Any]) -> None:
    """Raises Refused: a request that should be authenticated must not be sent without."""
    if fields.get("auth") is not None:
        raise Refused(400, "auth: identity tokens of cloud providers are not supported: use additional_headers")


def registered(found: Registered, limits: Limits) -> Response:
    """The answer to a registration."""
    location = ("location", f"deployments/{found.deployment.id}")
    body = dump(views.registered_view(found.deployment, limits))
    return Response(201 if found.is_new else 200, (JSON_TYPE, location), body)


def moved(found: Registered, limits: Limits) -> Response:
    return Response(200, (JSON_TYPE,), dump(views.deployment_details(found.deployment, limits)))


def patched(node: Node, service: Service) -> Response:
    return Response(200, (JSON_TYPE,), dump(views.latest_view(node.schema, service, node.limits)))
