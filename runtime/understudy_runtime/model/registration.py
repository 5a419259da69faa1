"""What an operator asks of the deployments, and why it may be refused.  Values; `meta/core.py` decides."""

from __future__ import annotations

from enum import Enum
from typing import Final

import attrs

from understudy_runtime.model.endpoint import Endpoint
from understudy_runtime.model.schema import Deployment, Schema

# The ingress's own first path segments: a service of that name could not be called.
RESERVED_NAMES: Final = ("restate", "openapi")


class Why(Enum):
    """Why a deployment was refused."""

    BAD_ADDRESS = "bad_address"
    UNREACHABLE = "unreachable"
    HTTP_11_ONLY = "http_11_only"
    PROTOCOL_VERSIONS = "protocol_versions"
    BAD_MANIFEST = "bad_manifest"
    HANDLER_REFUSED = "handler_refused"
    RESERVED_NAME = "reserved_name"
    TYPE_CHANGED = "type_changed"
    ADDRESS_TAKEN = "address_taken"
    VERSIONS_CHANGED = "versions_changed"
    ALREADY_KNOWN = "already_known"
    UNKNOWN = "unknown"
    IN_PROCESS = "in_process"


class RegistrationRefused(Exception):
    """Nothing was changed: *why*, and for people what was found and what to do."""

    def __init__(self, why: Why, message: str) -> None:
        super().__init__(message)
        self.why = why


@attrs.frozen(kw_only=True)
class Registration:
    """Discover what *endpoint* offers and make it the latest.

    A known address is answered without a discovery, unless *force* asks for it again (its id stays) or *once* refuses
    it.  *breaking* lets a service change its type, as *force* does.  *dry_run* checks everything and changes nothing.
    """

    endpoint: Endpoint
    force: bool = False
    breaking: bool = False
    dry_run: bool = False
    once: bool = False


@attrs.frozen(kw_only=True)
class DeploymentPatch:
    """Reach a deployment in another way; None leaves a part as it is.  With *overwrite* its services change too."""

    uri: str | None = None
    use_http_11: bool | None = None
    additional_headers: tuple[tuple[str, str], ...] | None = None
    overwrite: bool = False
    dry_run: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return self.uri is None and self.use_http_11 is None and self.additional_headers is None and not self.overwrite

    def over(self, endpoint: Endpoint) -> Endpoint:
        """*endpoint* as it is after the patch."""
        return attrs.evolve(
            endpoint,
            uri=endpoint.uri if self.uri is None else self.uri,
            use_http_11=endpoint.use_http_11 if self.use_http_11 is None else self.use_http_11,
            additional_headers=(
                endpoint.additional_headers if self.additional_headers is None else self.additional_headers
            ),
        )


@attrs.frozen
class Registered:
    """A deployment as the schema has it now, or would have it after a dry run.  *is_new*: it got a new id."""

    deployment: Deployment
    schema: Schema
    is_new: bool = False
