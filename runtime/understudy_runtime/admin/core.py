"""The admin decides: a request in, one decision out.  Pure.

`ROUTES` is the table of what there is.  Routes may carry a version prefix (`/v2`, `/v3`, `/v4`); only the oldest one
differs: a registration forces unless told otherwise.  Errors of routes are `{"message", "restate_code"}`; a request
that is wrong before it reaches its route gets plain text, or no body at all, as Restate's admin does it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final
from urllib.parse import parse_qsl, unquote

import attrs

from understudy_runtime.admin import actions, deployments, invocations
from understudy_runtime.admin.asked import (
    Asked,
    Decision,
    Malformed,
    Node,
    Refused,
    Respond,
    Route,
    shown,
)
from understudy_runtime.ingress.port import Request, Response

API_MIN: Final = 2
API_MAX: Final = 4
PREFIX: Final = re.compile(r"v([0-9]{1,3})")
# A segment of a route that takes any text.
ANY: Final = "{}"


def health(asked: Asked, node: Node) -> Decision:
    return Respond(Response(200))


def version(asked: Asked, node: Node) -> Decision:
    return shown(
        {
            "version": node.version,
            "min_admin_api_version": API_MIN,
            "max_admin_api_version": API_MAX,
            "ingress_endpoint": node.ingress_endpoint,
            "features": {},
        }
    )


def cluster_health(asked: Asked, node: Node) -> Decision:
    return shown({"cluster_name": node.cluster_name, "metadata_cluster_health": {"members": [1]}})


# What the admin of old has and this one does not: (path, methods, what it would be).
MISSING: Final = (
    ("query", ("POST",), "SQL"),
    ("services/{}/openapi", ("GET",), "OpenAPI documents of services"),
    ("kafka-clusters", ("GET", "POST"), "Kafka"),
    ("kafka-clusters/{}", ("GET", "PATCH", "DELETE"), "Kafka"),
    ("subscriptions", ("GET", "POST"), "Kafka"),
    ("subscriptions/{}", ("GET", "DELETE"), "Kafka"),
    ("limits/rules", ("PUT",), "concurrency rules"),
    ("limits/rules/bulk-delete", ("POST",), "concurrency rules"),
)


def missing(what: str, asked: Asked, node: Node) -> Decision:
    """Say so: an empty 404 would look like a wrong address."""
    raise Refused(501, f"this server does not have {what}")


ROUTES: Final[tuple[tuple[str, Mapping[str, Route]], ...]] = (
    ("health", {"GET": health}),
    ("version", {"GET": version}),
    ("cluster-health", {"GET": cluster_health}),
    ("deployments", {"GET": deployments.list_deployments, "POST": deployments.register_deployment}),
    (
        "deployments/{}",
        {
            "GET": deployments.get_deployment,
            "PATCH": deployments.patch_deployment,
            "PUT": deployments.put_deployment,
            "DELETE": deployments.delete_deployment,
        },
    ),
    ("services", {"GET": deployments.list_services}),
    ("services/{}", {"GET": deployments.get_service, "PATCH": deployments.patch_service}),
    ("services/{}/handlers", {"GET": deployments.list_handlers}),
    ("services/{}/handlers/{}", {"GET": deployments.get_handler}),
    ("services/{}/state", {"POST": invocations.mutate_state}),
    ("deadlocks", {"GET": invocations.show_deadlocks}),
    ("invocations", {"GET": invocations.list_invocations}),
    ("invocations/{}", {"GET": invocations.show_invocation, "DELETE": actions.delete_invocation}),
    ("invocations/{}/journal", {"GET": invocations.export_journal}),
    *((f"invocations/{{}}/{name}", {"PATCH": partial(actions.act, name)}) for name in actions.ACTION_NAMES),
    *(
        (f"internal/invocations_batch_operations/{name}", {"POST": partial(actions.act_on_all, name)})
        for name in actions.ACTION_NAMES
    ),
    *((path, dict.fromkeys(methods, partial(missing, what))) for path, methods, what in MISSING),
)


def decide(request: Request, node: Node) -> Decision:
    """What *request* asks for."""
    try:
        asked = read(request)
        methods, arguments = found(asked.segments)
        route = methods.get("GET" if request.method == "HEAD" else request.method)
        if not methods:
            return Respond(Response(404))
        if route is None:
            return Respond(Response(405, (("allow", ",".join(allowed(methods))),)))
        return route(attrs.evolve(asked, arguments=arguments), node)
    except (Malformed, Refused) as refused:
        return Respond(refused.response)


def read(request: Request) -> Asked:
    """*request* without its version prefix.  Raises Malformed."""
    path, _, query = request.target.partition("?")
    try:
        segments = [unquote(segment, errors="strict") for segment in path.split("/") if segment]
        pairs = dict(parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=100))
    except ValueError as bad:
        raise Malformed(400, f"the request's target is not readable: {bad}") from None
    prefix = PREFIX.fullmatch(segments[0]) if segments else None
    if prefix is None:
        return Asked(request, API_MAX, tuple(segments), pairs)
    api = int(prefix[1])
    if not API_MIN <= api <= API_MAX:
        raise Malformed(400, f"this server has the versions {API_MIN} to {API_MAX} of the admin API, not {api}")
    return Asked(request, api, tuple(segments[1:]), pairs)


def found(segments: Sequence[str]) -> tuple[Mapping[str, Route], tuple[str, ...]]:
    """The methods at a path, and the segments its route left open; no methods, no such route."""
    for path, methods in ROUTES:
        parts = path.split("/")
        if len(parts) == len(segments) and all(
            part in (ANY, segment) for part, segment in zip(parts, segments, strict=True)
        ):
            return methods, tuple(segment for part, segment in zip(parts, segments, strict=True) if part == ANY)
    return {}, ()


def allowed(methods: Mapping[str, Route]) -> list[str]:
    """The methods of a route; what can be got can be asked for its head."""
    names = []
    for name in methods:
        names += ["GET", "HEAD"] if name == "GET" else [name]
    return names
