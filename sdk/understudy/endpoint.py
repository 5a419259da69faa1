"""The endpoint: the services of a process, behind HTTP (ASGI) or called in process.

`App.attempt` is the in-process door: one attempt, over frames, in the calling task. `App.__call__` is an ASGI
3 application that speaks the same protocol over a byte stream; see `asgi.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, Self

from understudy.api.codec import JournalValueCodec
from understudy.api.door import run_attempt
from understudy.api.handler import Handler
from understudy.api.manifest import MANIFEST_VERSIONS, build_manifest
from understudy.api.service import Definition
from understudy.asgi import Receive, Scope, Send, serve
from understudy.fingerprint import fingerprint_of
from understudy.hosting import Host, Link
from understudy.identity import Verifier
from understudy.vm import VERSIONS

ProtocolMode = Literal["bidi", "request_response"]

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class NotFound(LookupError):
    """There is no such service or handler here."""


class App:
    """Services that can be discovered and invoked."""

    def __init__(
        self,
        services: Sequence[Definition],
        protocol: ProtocolMode | None = None,
        identity_keys: Sequence[str] | None = None,
        journal_value_codec: JournalValueCodec | None = None,
        version: str | None = None,
    ) -> None:
        """Raises ValueError for two services of one name or a text that is no key, TypeError for what is no service."""
        if version is not None and not version:
            raise ValueError("an application's version is a text that is not empty, or None")
        self.version = version
        self.protocol: ProtocolMode | None = protocol
        self.verifier = Verifier(identity_keys or ())
        self.codec = journal_value_codec
        self.services = _by_name(services)

    def handler(self, service: str, handler: str) -> Handler:
        """The handler of those names.  Raises NotFound."""
        definition = self.services.get(service)
        found = definition.handlers.get(handler) if definition is not None else None
        if found is None:
            raise NotFound(f"there is no handler {service}/{handler} here")
        return found

    def has_handler(self, service: str, handler: str) -> bool:
        """Whether there is a handler of those names."""
        definition = self.services.get(service)
        return definition is not None and handler in definition.handlers

    def manifest(self, version: int = 4, *, over_http1: bool = False) -> dict[str, Any]:
        """What the endpoint tells a server about its services, as JSON values.

        Raises ManifestError when *version* lacks a field that is in use.
        """
        request_response = over_http1 if self.protocol is None else self.protocol == "request_response"
        mode: Literal["BIDI_STREAM", "REQUEST_RESPONSE"] = "REQUEST_RESPONSE" if request_response else "BIDI_STREAM"
        return build_manifest(self.services.values(), version, mode)

    def fingerprint(self) -> bytes:
        """16 bytes that tell this code from other code (or this `version` from others); see `fingerprint.py`."""
        handlers = [one for service in self.services.values() for one in service.handlers.values()]
        return fingerprint_of(self.version, self.manifest(MANIFEST_VERSIONS[-1]), handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI scope: discovery, invocations, health."""
        await serve(self, scope, receive, send)

    async def attempt(
        self,
        *,
        service: str,
        handler: str,
        version: int,
        link: Link,
        host: Host,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> None:
        """Run one attempt to its end, over frames, in the calling task.

        Returns when the last message was sent or the link was lost; a cancellation from outside goes through.
        Raises NotFound for an unknown handler and ValueError for a protocol version that is not spoken here,
        before anything is read.
        """
        found = self.handler(service, handler)
        if version not in VERSIONS:
            raise ValueError(f"protocol version {version} is not spoken here, expected one of {VERSIONS}")
        await run_attempt(found, version, link, host, headers, self.codec)


def app(
    services: Sequence[Definition],
    protocol: ProtocolMode | None = None,
    identity_keys: Sequence[str] | None = None,
    journal_value_codec: JournalValueCodec | None = None,
    version: str | None = None,
) -> App:
    """An application of *services*.  *protocol* None: full duplex unless discovered over HTTP/1.

    With *identity_keys* (``publickeyv1_…``) it answers 401 to what none of those keys signed. With
    *journal_value_codec* all values pass through it on their way to the server and back. *version* says which code this
    is to a server in the same process; None: a hash of the source does.
    """
    return App(services, protocol, identity_keys, journal_value_codec, version)


class Endpoint:
    """An application put together step by step: each method returns the endpoint, `app` ends the chain."""

    def __init__(self) -> None:
        self._services: dict[str, Definition] = {}
        self._protocol: ProtocolMode | None = None
        self._identity_keys: list[str] = []
        self._codec: JournalValueCodec | None = None
        self._version: str | None = None

    def bind(self, *services: Definition) -> Self:
        """Add *services*.  Raises ValueError for a second one of a name, TypeError for what is no service.

        Either all of them are added or none.
        """
        self._services = _by_name((*self._services.values(), *services))
        return self

    def streaming_protocol(self) -> Self:
        """Say "full duplex" to every server, also to one that asks over HTTP/1."""
        self._protocol = "bidi"
        return self

    def request_response_protocol(self) -> Self:
        """Say "request and response" to every server: each wait ends the attempt."""
        self._protocol = "request_response"
        return self

    def identity_key(self, identity_key: str) -> Self:
        """Answer only to requests signed with this key (``publickeyv1_…``) or another one added like it."""
        self._identity_keys.append(identity_key)
        return self

    def set_journal_value_codec(self, codec: JournalValueCodec) -> Self:
        """Let all values pass through *codec* on their way to the server and back."""
        self._codec = codec
        return self

    def set_version(self, version: str) -> Self:
        """Say which code this is, instead of a hash of its source."""
        self._version = version
        return self

    def app(self) -> App:
        """The application.  Raises ValueError for an identity key that is none."""
        return App(tuple(self._services.values()), self._protocol, self._identity_keys, self._codec, self._version)


def _by_name(services: Sequence[Definition]) -> dict[str, Definition]:
    found: dict[str, Definition] = {}
    for service in services:
        if not isinstance(service, Definition):
            raise TypeError(f"{service!r} is no Service, VirtualObject or Workflow")
        if service.name in found:
            raise ValueError(f"two services are named {service.name!r}")
        found[service.name] = service
    return found


__all__ = ["App", "Endpoint", "NotFound", "ProtocolMode", "app"]
