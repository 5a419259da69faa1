"""A client for what is no handler: calls and sends from outside, over the ingress of a server, and what became of them.

Typed by the handler it is given, like the calls of a context.  Needs the extra `understudy[client]` (httpx), which is
imported when a client is made; runs under trio and asyncio.  It never tries again by itself: whether a call whose
answer was lost took place is not known here, so give an idempotency key and ask again.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar, cast, overload
from urllib.parse import quote

import attrs

from understudy.api.codec import JournalValueCodec
from understudy.api.handler import Handler, HandlerFunction, handler_of
from understudy.api.options import milliseconds
from understudy.api.serde import BytesSerde, DefaultSerde, Serde, serde_for

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741

CONNECT_SECONDS_MAX: Final = 10.0
"""How long a connection may take to come up.  An answer may take any time: put a timeout of your own around a call."""

_IDLE_CONNECTIONS_MAX: Final = 20
_NOT_READY: Final = 470
_JSON: Final = "application/json"
_BYTES: Final = BytesSerde()
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class HttpError(Exception):
    """The server answered 400 or more: *message* says why, *body* is all it sent."""

    def __init__(self, status_code: int, message: str, body: str | None = None) -> None:
        super().__init__(f"HTTP {status_code}: {message}")
        self.status_code = status_code
        self.message = message
        self.body = body


@attrs.frozen
class ClientSendHandle(Generic[O]):
    """An invocation that a client has sent off: its id, and the status of the answer (202, or 200 if it was known).

    It knows how its handler's result is read: give it to `Client.attach` or `Client.output`.
    """

    invocation_id: str
    status_code: int
    serde: Serde[O] = attrs.field(factory=DefaultSerde, repr=False, eq=False)


@attrs.frozen
class ClientTarget(Generic[O]):
    """An invocation named by what it was called with.  Made by `Client.idempotent` and `Client.workflow_run`."""

    fields: Mapping[str, str]
    """What the server looks the invocation up by."""
    serde: Serde[O] = attrs.field(repr=False, eq=False)


@attrs.frozen
class ClientOutput(Generic[O]):
    """What an invocation has come to: *value* is its result once *is_ready*, None before."""

    is_ready: bool
    value: O | None = None


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
    ) -> ClientSendHandle[O]:
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
    ) -> ClientSendHandle[O]:
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
    ) -> ClientSendHandle[bytes]:
        """Call a handler known by name only and do not wait."""
        address = _Address(service, handler, key)
        invocation_id, status = await self._send_bytes(address, arg, send_delay, idempotency_key, headers)
        return ClientSendHandle(invocation_id, status, _BYTES)

    # -- what became of an invocation --

    @staticmethod
    def idempotent(tpe: HandlerFunction[I, O], idempotency_key: str, key: str | None = None) -> ClientTarget[O]:
        """The invocation of a handler (of the object or workflow *key*) that was called with *idempotency_key*."""
        handler = _keyed_or_not(tpe, key)
        if not idempotency_key:
            raise ValueError(f"{handler.service}/{handler.name} is asked for with an empty idempotency key")
        fields = {"target": "idempotentInvocation", "service": handler.service, "handler": handler.name}
        if key is not None:
            fields["key"] = key
        return ClientTarget({**fields, "idempotencyKey": idempotency_key}, handler.output.serde)

    @staticmethod
    def workflow_run(tpe: HandlerFunction[I, O], key: str) -> ClientTarget[O]:
        """The run of the workflow *key*, whose main handler is *tpe*.  Raises ValueError for any other handler."""
        handler = _keyed_or_not(tpe, key)
        if handler.kind != "WORKFLOW":
            raise ValueError(f"{handler.service}/{handler.name} is not the main handler of a workflow")
        return ClientTarget(
            {"target": "workflow", "workflowName": handler.service, "workflowKey": key}, handler.output.serde
        )

    @overload
    async def attach(self, invocation: ClientSendHandle[O] | ClientTarget[O]) -> O: ...

    @overload
    async def attach(self, invocation: str) -> Any: ...

    @overload
    async def attach(self, invocation: str, serde: Serde[T] | None = None, type_hint: type[T] | None = None) -> T: ...

    async def attach(
        self,
        invocation: str | ClientSendHandle[Any] | ClientTarget[Any],
        serde: Serde[Any] | None = None,
        type_hint: Any = None,
    ) -> Any:
        """Wait for the result of an invocation: its id, the handle of a send, or a target.

        Raises HttpError 404 for one that the server does not know or has forgotten.
        """
        response = await self._ask("attach", invocation)
        return (serde or _serde_of(invocation, type_hint)).deserialize(await self._decoded(response.content))

    @overload
    async def output(self, invocation: ClientSendHandle[O] | ClientTarget[O]) -> ClientOutput[O]: ...

    @overload
    async def output(self, invocation: str) -> ClientOutput[Any]: ...

    @overload
    async def output(
        self, invocation: str, serde: Serde[T] | None = None, type_hint: type[T] | None = None
    ) -> ClientOutput[T]: ...

    async def output(
        self,
        invocation: str | ClientSendHandle[Any] | ClientTarget[Any],
        serde: Serde[Any] | None = None,
        type_hint: Any = None,
    ) -> ClientOutput[Any]:
        """The result of an invocation if it has one already; as `attach`, without waiting."""
        try:
            response = await self._ask("output", invocation)
        except HttpError as error:
            if error.status_code != _NOT_READY:
                raise
            return ClientOutput(False)
        value = (serde or _serde_of(invocation, type_hint)).deserialize(await self._decoded(response.content))
        return ClientOutput(True, value)

    async def resolve_awakeable(self, name: str, value: I, serde: Serde[I] | None = None) -> None:
        """Complete the awakeable with id *name*."""
        data = (serde or serde_for(type(value))).serialize(value)
        content = data if self._codec is None else self._codec.encode(data)
        await self._request("POST", f"/restate/awakeables/{_segment(name)}/resolve", content, {"content-type": _JSON})

    async def reject_awakeable(self, name: str, failure_message: str) -> None:
        """Fail the awakeable with id *name*."""
        path = f"/restate/awakeables/{_segment(name)}/reject"
        await self._request("POST", path, failure_message.encode(), {"content-type": "text/plain"})

    async def _ask(self, what: str, invocation: str | ClientSendHandle[Any] | ClientTarget[Any]) -> httpx.Response:
        if isinstance(invocation, ClientTarget):
            # In the body, because a path takes an idempotency key as it is written.
            content = json.dumps(dict(invocation.fields)).encode()
            return await self._request("POST", f"/restate/{what}", content, {"content-type": _JSON})
        invocation_id = invocation if isinstance(invocation, str) else invocation.invocation_id
        if not invocation_id:
            raise ValueError(f"{what} needs the id of an invocation")
        return await self._request("GET", f"/restate/invocation/{_segment(invocation_id)}/{what}")

    # -- requests --

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
        function: HandlerFunction[Any, O],
        key: str | None,
        arg: Any,
        send_delay: timedelta | None,
        idempotency_key: str | None,
        headers: Mapping[str, str] | None,
    ) -> ClientSendHandle[O]:
        address, body = _addressed(function, key, arg)
        invocation_id, status = await self._send_bytes(address, body, send_delay, idempotency_key, headers)
        return ClientSendHandle(invocation_id, status, handler_of(function).output.serde)

    async def _call_bytes(
        self, address: _Address, body: bytes, idempotency_key: str | None, headers: Mapping[str, str] | None
    ) -> bytes:
        response = await self._post(_path(address), address, body, idempotency_key, headers)
        return await self._decoded(response.content)

    async def _decoded(self, content: bytes) -> bytes:
        return content if self._codec is None else await self._codec.decode(content)

    async def _send_bytes(
        self,
        address: _Address,
        body: bytes,
        send_delay: timedelta | None,
        idempotency_key: str | None,
        headers: Mapping[str, str] | None,
    ) -> tuple[str, int]:
        delay_ms = 0 if send_delay is None else max(0, milliseconds(send_delay))
        path = f"{_path(address)}/send" + (f"?delay={delay_ms}ms" if delay_ms else "")
        response = await self._post(path, address, body, idempotency_key, headers)
        return str(response.json()["invocationId"]), response.status_code

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
        return await self._request("POST", path, content, sent)

    async def _request(
        self, method: str, path: str, content: bytes | None = None, headers: Mapping[str, str] = _NO_HEADERS
    ) -> httpx.Response:
        response = await self._http.request(method, self._ingress + path, content=content, headers=dict(headers))
        if response.status_code >= 400:
            raise HttpError(response.status_code, _reason(response), response.text)
        return response


def _addressed(function: Any, key: str | None, arg: Any) -> tuple[_Address, bytes]:
    """Where the handler *function* is, and *arg* as it takes it.  Raises ValueError for a key too many or missing."""
    handler = _keyed_or_not(function, key)
    pattern = handler.input.content_type
    content_type = "application/octet-stream" if "*" in pattern else pattern
    address = _Address(handler.service, handler.name, key, content_type, handler.takes_argument)
    return address, handler.input.serde.serialize(arg)


def _keyed_or_not(function: Any, key: str | None) -> Handler:
    """The descriptor of *function*.  Raises ValueError for a key too many or missing."""
    handler = handler_of(function)
    if handler.is_keyed != (key is not None):
        found = "has a key" if handler.is_keyed else "has no key"
        raise ValueError(f"{handler.service} {found}: use {_calls_of(handler.service_kind)}")
    return handler


def _serde_of(invocation: str | ClientSendHandle[Any] | ClientTarget[Any], type_hint: Any) -> Serde[Any]:
    """How the result of *invocation* is read: as *type_hint* where given, else as its handler's."""
    if isinstance(invocation, str) or type_hint is not None:
        return serde_for(type_hint)
    return invocation.serde


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


__all__ = ["Client", "ClientOutput", "ClientSendHandle", "ClientTarget", "HttpError", "create_client"]
