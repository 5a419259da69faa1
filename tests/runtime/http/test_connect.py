"""From an endpoint's address to its transport: what is accepted, what is sent, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from understudy_runtime.http.connect import connector
from understudy_runtime.http.exchange import Address, BadEndpoint, check_headers, parse_uri
from understudy_runtime.limits import Limits
from understudy_runtime.model.endpoint import Endpoint

from tests.runtime.http.ways import HEAD, START, V6, Net, Peer, answer, errors, host, net

__all__ = ["errors", "host", "net"]

MANIFEST = b"application/vnd.restate.endpointmanifest.v3+json"


@pytest.mark.parametrize(
    ("uri", "address", "authority"),
    [
        ("http://h:1", Address("h", 1), "h:1"),
        ("http://h/", Address("h", 80), "h:80"),
        ("HTTP://H:9080/a/b%20c/", Address("h", 9080, "/a/b%20c"), "h:9080"),
        ("http://[::1]:9080/", Address("::1", 9080), "[::1]:9080"),
    ],
)
def test_addresses(uri, address, authority):
    assert parse_uri(uri) == address
    assert parse_uri(uri).authority == authority


@pytest.mark.parametrize(
    ("uri", "because"),
    [
        ("", "absolute"),
        ("/a", "absolute"),
        ("h:9080", "absolute"),
        ("http://", "absolute"),
        ("http:///a", "absolute"),
        ("https://h", "TLS"),
        ("http://h:99999", "not a URI"),
        ("http://h:0", "port"),
        ("http://[::1", "not a URI"),
        ("http://u@h", "user"),
        ("http://h?q", "query"),
        ("http://h#f", "fragment"),
        ("http://h/a b", "percent"),
        ("http://h/é", "percent"),
    ],
)
def test_addresses_that_are_refused(uri, because):
    with pytest.raises(BadEndpoint, match=because):
        parse_uri(uri)


@given(st.text())
def test_any_text_is_an_address_or_refused(text):
    for uri in (text, "http://" + text, "http://h/" + text):
        try:
            address = parse_uri(uri)
        except BadEndpoint:
            continue
        assert address.authority.isascii()
        assert 0 < address.port < 65536
        assert " " not in address.base_path


@pytest.mark.parametrize("headers", [[("a b", "")], [("", "x")], [("a", "x\r\ny: z")], [("a", "é")], [("a:", "b")]])
def test_headers_that_would_break_a_head_are_refused(headers):
    with pytest.raises(BadEndpoint):
        check_headers(headers)


async def test_what_a_deployment_adds_to_its_requests(net: Net, host):
    seen = []

    async def app(scope, receive, send) -> None:
        seen.append((scope["raw_path"].decode(), [(n.decode(), v.decode()) for n, v in scope["headers"]]))
        content_type = V6.encode() if scope["method"] == "POST" else MANIFEST
        server = (b"x-restate-server", b"sdk/1")
        await answer(send, 200, b"" if scope["method"] == "POST" else b"{}", [(b"content-type", content_type), server])

    host(app)
    connect = connector(
        net, Limits(), sign=lambda path, key: [("x-signed", ascii((path, key)))], headers=[("X-C", "c")]
    )
    added = (("X-Api-Key", "k"), ("Content-Type", "text/html"), ("X-C", "other"), ("x-restate-invocation-id", "no"))
    transport = connect(Endpoint(uri="http://h:1/base/", use_http_11=True, additional_headers=added))
    discovery = await transport.discover()
    assert (discovery.manifest, discovery.sdk_version, discovery.http_version) == (b"{}", "sdk/1", "HTTP/1.1")
    await transport.run(HEAD, START, Peer())
    await transport.aclose()
    assert [path for path, _ in seen] == ["/base/discover", "/base/invoke/Counter/add"]
    for path, headers in seen:
        key = "a/b é" if "invoke" in path else None
        expected = {"x-c": "c", "x-api-key": "k", "x-signed": ascii((path, key))}
        assert {name: value for name, value in headers if name in expected} == expected
        assert len({name for name, _ in headers}) == len(headers)
        assert dict(headers)["content-type" if key else "accept"] != "text/html"
        assert dict(headers).get("x-restate-invocation-id") != "no"
