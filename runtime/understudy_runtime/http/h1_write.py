"""Requests and responses to HTTP/1.1 bytes.  Pure; one `bytes` per message, so that one write sends it.

Header values that could break out of their line are refused by assertion: callers check what comes from outside.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import Final

from understudy_runtime.ingress.port import Response

REASONS: Final = MappingProxyType[int, bytes](
    {
        100: b"Continue",
        200: b"OK",
        201: b"Created",
        202: b"Accepted",
        204: b"No Content",
        400: b"Bad Request",
        401: b"Unauthorized",
        403: b"Forbidden",
        404: b"Not Found",
        405: b"Method Not Allowed",
        408: b"Request Timeout",
        409: b"Conflict",
        410: b"Gone",
        413: b"Content Too Large",
        415: b"Unsupported Media Type",
        417: b"Expectation Failed",
        421: b"Misdirected Request",
        422: b"Unprocessable Content",
        425: b"Too Early",
        429: b"Too Many Requests",
        431: b"Request Header Fields Too Large",
        470: b"Not Ready",
        500: b"Internal Server Error",
        501: b"Not Implemented",
        503: b"Service Unavailable",
    }
)
STATUS_LINES: Final = MappingProxyType[int, bytes](
    {status: b"HTTP/1.1 %d %s\r\n" % (status, reason) for status, reason in REASONS.items()}
)
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"
BODILESS: Final = frozenset({204, 304})


def status_line(status: int) -> bytes:
    """The first line of a response: any three-digit status is legal, known or not."""
    assert 100 <= status <= 999, "a status has three digits"
    known = STATUS_LINES.get(status)
    return known if known is not None else b"HTTP/1.1 %d \r\n" % status


def header_lines(headers: Iterable[tuple[str, str]]) -> str:
    """The lines of *headers*, each with its line end."""
    text = "".join([f"{name}: {value}\r\n" for name, value in headers])
    assert "\x00" not in text, "no header holds a zero byte"
    return text


def encode_response(response: Response, *, head_only: bool, close: bool, date_line: bytes = b"") -> bytes:
    """All of *response*: status line, headers, length, body.  *head_only* leaves the body out (answers to HEAD)."""
    body = response.body
    text = header_lines(response.headers)
    assert text.count("\n") == len(response.headers), "a header value never breaks its line"
    ending = b"connection: close\r\n\r\n" if close else b"\r\n"
    if response.status in BODILESS:
        assert not body, "this status has no body"
        return b"".join((status_line(response.status), text.encode("latin-1"), date_line, ending))
    length = b"content-length: %d\r\n" % len(body)
    if head_only:
        body = b""
    return b"".join((status_line(response.status), text.encode("latin-1"), date_line, length, ending, body))


def encode_streamed_head(status: int, headers: Iterable[tuple[bytes, bytes]], *, close: bool) -> bytes:
    """The head of a response whose body follows; the caller has put the length or `transfer-encoding` in."""
    parts = [status_line(status)]
    for name, value in headers:
        assert b"\n" not in name + value, "a header never breaks its line"
        assert b"\r" not in name + value, "a header never breaks its line"
        parts.append(b"%s: %s\r\n" % (name, value))
    parts.append(b"connection: close\r\n\r\n" if close else b"\r\n")
    return b"".join(parts)


def encode_request_head(method: str, target: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """The head of a request; *target* is already percent-encoded."""
    assert " " not in target, "a target holds no space: percent-encode it"
    assert target.isascii(), "a target is ASCII: percent-encode it"
    pairs = tuple(headers)
    text = header_lines(pairs)
    assert text.count("\n") == len(pairs), "a header value never breaks its line"
    return f"{method} {target} HTTP/1.1\r\n{text}\r\n".encode("latin-1")


def encode_chunk(data: bytes) -> bytes:
    """One chunk; *data* is not empty, since an empty chunk ends the body."""
    assert data, "an empty chunk would end the body"
    return b"%x\r\n%s\r\n" % (len(data), data)
