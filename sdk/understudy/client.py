"""A client for what is no handler: calls and sends from outside, over the ingress of a server.

Typed by the handler it is given, like the calls of a context.  Needs the extra `understudy[client]` (httpx), which is
imported when a client is made; runs under trio and asyncio.  It never tries again by itself: whether a call whose
answer was lost took place is not known here, so give an idempotency key and ask again.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast
from urllib.parse import quote

import attrs

from understudy.api.codec import JournalValueCodec
from understudy.api.context import HandlerFunction
from understudy.api.handler import handler_of
from understudy.api.options import milliseconds
from understudy.api.serde import Serde

if TYPE_CHECKING:
    import httpx

I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741

CONNECT_SECONDS_MAX: Final = 10.0
"""How long a connection may take to come up.  An answer may take any time: put a timeout of your own around a call."""

_IDLE_CONNECTIONS_MAX: Final = 20


class HttpError(Exception):
    """The server answered 400 or more: *message* says why, *body* is all it sent."""

    def __init__(self, status_code: int, message: str, body: str | None = None) -> None:
        super().__init__(f"HTTP {status_code}: {message}")
        self.status_code = status_code
        self.message = message
        self.body = body


@attrs.frozen
class ClientSendHandle:
    """An invocation that a client has sent off: its id, and the status of the answer (202, or 200 if it was known)."""

    invocation_id: str
    status_code: int


class _Address(NamedTuple):
    """Who is called, and with which type of content."""

    service: str
    handler: str
    key: str | None
    content_type: str | None = None
    takes_argument: bool = True


class Client:
    """Calls handlers from outside.  Made by `create_client`.

    All methods raise HttpError when the server refuses or the invocation fails, and what httpx raises
    (`httpx.TransportError`) when no answer came.
    """

    def __init__(self, http: httpx.AsyncClient, ingress: str, codec: JournalValueCodec | None) -> None:
        self._http = http
        self._ingress = ingress.rstrip("/")
        self._codec = codec

    async def service_call(
        self,
        tpe: HandlerFunction[I, O],
        arg: I,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> O:
        """Call a handler of a service and wait for its result."""
        return await self._call(tpe, None, arg, idempotency_key, headers)

    async def service_send(
        self,
        tpe: HandlerFunction[I, O],
        arg: I,
        send_delay: timedelta | None = None,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ClientSendHandle:
        """Call a handler of a service and do not wait, now or after *send_delay*."""
        return await self._send(tpe, None, arg, send_delay, idempotency_key, headers)

    async def object_call(
        self,
        tpe: HandlerFunction[I, O],
        key: str,
        arg: I,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> O:
        """Call a handler of the object or workflow *key* and wait for its result."""
        return await self._call(tpe, key, arg, idempotency_key, headers)

    async def object_send(
        self,
        tpe: HandlerFunction[I, O],
        key: str,
        arg: I,
        send_delay: timedelta | None = None,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ClientSendHandle:
        """Call a handler of the object or workflow *key* and do not wait, now or after *send_delay*."""
        return await self._send(tpe, key, arg, send_delay, idempotency_key, headers)

    # A workflow is called as an object is.
    workflow_call = object_call
    workflow_send = object_send

    async def generic_call(
        self,
        service: str,
        handler: str,
        arg: bytes,
        key: str | None = None,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """Call a handler known by name only, with bytes both ways; *headers* may say their content type."""
        return await self._call_bytes(_Address(service, handler, key), arg, idempotency_key, headers)

    async def generic_send(
        self,
        service: str,
        handler: str,
        arg: bytes,
        key: str | None = None,
        send_delay: timedelta | None = None,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ClientSendHandle:
        """Call a handler known by name only and do not wait."""
        address = _Address(service, handler, key)
        return await self._send_bytes(address, arg, send_delay, idempotency_key, headers)

    async def _call(
        self,
        function: HandlerFunction[Any, O],
        key: str | None,
        arg: Any,
        idempotency_key: str | None,
        headers: Mapping[str, str] | None,
    ) -> O:
        address, body = _addressed(function, key, arg)
        answer = await self._call_bytes(address, body, idempotency_key, headers)
        serde: Serde[O] = handler_of(function).output.serde
        return cast("O", serde.deserialize(answer))

    async def _send(
        self,
        function: Any,
        key: str | None,
        arg: Any,
        send_delay: timedelta | None,
        idempotency_key: str | None,
        headers: Mapping[str, str] | None,
    ) -> ClientSendHandle:
        address, body = _addressed(function, key, arg)
        return await self._send_bytes(address, body, send_delay, idempotency_key, headers)

    async def _call_bytes(
        self, address: _Address, body: bytes, idempotency_key: str | None, headers: Mapping[str, str] | None
    ) -> bytes:
        response = await self._post(_path(address), address, body, idempotency_key, headers)
        return response.content if self._codec is None else await self._codec.decode(response.content)

    async def _send_bytes(
        self,
        address: _Address,
        body: bytes,
        send_delay: timedelta | None,
        idempotency_key: str | None,
        headers: Mapping[str, str] | None,
    ) -> ClientSendHandle:
        delay_ms = 0 if send_delay is None else max(0, milliseconds(send_delay))
        path = f"{_path(address)}/send" + (f"?delay={delay_ms}ms" if delay_ms else "")
        response = await self._post(path, address, body, idempotency_key, headers)
        return ClientSendHandle(str(response.json()["invocationId"]), response.status_code)

    async def _post(
        self,
        path: str,
        address: _Address,
        body: bytes,
        idempotency_key: str | None,
        headers: Mapping[str, str] | None,
    ) -> httpx.Response:
        if idempotency_key == "":
            raise ValueError(f"{path} is called with an empty idempotency key; give a non-empty one or none")
        sent = {name.lower(): value for name, value in (headers or {}).items()}
        if address.takes_argument and address.content_type is not None:
            sent.setdefault("content-type", address.content_type)
        if idempotency_key is not None:
            sent["idempotency-key"] = idempotency_key
        content = body if self._codec is None or not address.takes_argument else self._codec.encode(body)
        response = await self._http.post(self._ingress + path, content=content, headers=sent)
        if response.status_code >= 400:
            raise HttpError(response.status_code, _reason(response), response.text)
        return response


def _addressed(function: Any, key: str | None, arg: Any) -> tuple[_Address, bytes]:
    """Where the handler *function* is, and *arg* as it takes it.  Raises ValueError for a key too many or missing."""
    handler = handler_of(function)
    if handler.is_keyed != (key is not None):
        found = "has a key" if handler.is_keyed else "has no key"
        raise ValueError(f"{handler.service} {found}: use {_calls_of(handler.service_kind)}")
    pattern = handler.input.content_type
    content_type = "application/octet-stream" if "*" in pattern else pattern
    address = _Address(handler.service, handler.name, key, content_type, handler.takes_argument)
    return address, handler.input.serde.serialize(arg)


def _calls_of(kind: str) -> str:
    word = {"SERVICE": "service", "VIRTUAL_OBJECT": "object", "WORKFLOW": "workflow"}[kind]
    return f"{word}_call or {word}_send"


def _path(address: _Address) -> str:
    if address.key == "":
        raise ValueError(f"{address.service}/{address.handler} is called with an empty key")
    names = (
        [address.service, address.handler] if address.key is None else [address.service, address.key, address.handler]
    )
    return "".join(f"/{_segment(name)}" for name in names)


def _segment(name: str) -> str:
    """*name* as one segment of a path.  Dots alone would be read as "here" and "one up".

    >>> _segment("a/b"), _segment("..")
    ('a%2Fb', '%2E%2E')
    """
    return name.replace(".", "%2E") if name in (".", "..") else quote(name, safe="")


def _reason(response: httpx.Response) -> str:
    """What the answer says went wrong: the message of its JSON body, else the name of its status."""
    try:
        said = json.loads(response.content)
    except (ValueError, RecursionError):
        return response.reason_phrase
    message = said.get("message") if isinstance(said, dict) else None
    return message if isinstance(message, str) else response.reason_phrase


@asynccontextmanager
async def create_client(
    ingress: str,
    headers: Mapping[str, str] | None = None,
    journal_value_codec: JournalValueCodec | None = None,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[Client]:
    """A client of the server whose ingress is at *ingress* (``http://localhost:8080``).

    *headers* go with every request; *journal_value_codec* is that of the services called; *transport* takes the
    place of httpx's own.  There is no bound on calls that wait at the same time. Raises ImportError without httpx.
    """
    try:
        import httpx
    except ImportError as error:
        raise ImportError("create_client needs httpx: pip install 'understudy[client]'") from error
    async with httpx.AsyncClient(
        headers=None if headers is None else dict(headers),
        timeout=httpx.Timeout(None, connect=CONNECT_SECONDS_MAX),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=_IDLE_CONNECTIONS_MAX),
        transport=transport,
    ) as http:
        yield Client(http, ingress, journal_value_codec)


__all__ = ["Client", "ClientSendHandle", "HttpError", "create_client"]
