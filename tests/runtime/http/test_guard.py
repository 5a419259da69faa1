"""Who is let through to a port."""

from __future__ import annotations

import pytest
from understudy_runtime.http.guard import HostCheck, TokenCheck, guarded
from understudy_runtime.ingress.answers import refused
from understudy_runtime.ingress.port import Request, Response

# (bound to, further names, Host) to whether it is let through.
HOSTS = [
    ("127.0.0.1", (), "localhost:8080", True),
    ("127.0.0.1", (), "LOCALHOST", True),
    ("127.0.0.1", (), "127.0.0.1:8080", True),
    ("127.0.0.1", (), "[::1]:8080", True),
    ("127.0.0.1", (), "localhost.", True),
    ("127.0.0.1", (), "evil.example", False),
    ("127.0.0.1", (), "localhost.evil.example", False),
    ("127.0.0.1", (), "192.0.2.1", False),
    ("127.0.0.1", (), "", False),
    ("127.0.0.1", ("Box.lan",), "box.lan:80", True),
    ("192.0.2.1", (), "192.0.2.1:8080", True),
    ("0.0.0.0", (), "192.0.2.1:8080", True),
    ("0.0.0.0", (), "[fe80::1]:8080", True),
    ("0.0.0.0", (), "evil.example", False),
    ("::", (), "192.0.2.7", True),
]


@pytest.mark.parametrize(("bind", "names", "host", "good"), HOSTS)
def test_host_names(bind, names, host, good):
    check = HostCheck(bind, names, refused)
    request = Request("GET", "/", (("host", host),))
    for _ in range(2):
        response = check(request)
        assert (response is None) == good
        assert good or response.status == 421


def test_no_host_at_all_is_refused():
    assert HostCheck("127.0.0.1", (), refused)(Request("GET", "/")).status == 421


@pytest.mark.parametrize(
    ("header", "good"),
    [
        ("Bearer t", True),
        ("bearer t", False),
        ("Bearer tt", False),
        ("t", False),
        ("Bearer \xe9", False),
        (None, False),
    ],
)
def test_tokens(header, good):
    headers = () if header is None else (("authorization", header),)
    response = TokenCheck("t", refused)(Request("GET", "/", headers))
    assert (response is None) == good
    assert good or response.status == 401


async def test_a_guarded_handler_is_reached_only_past_all_checks():
    reached = []

    async def handler(request: Request) -> Response:
        reached.append(request)
        return Response(200)

    handle = guarded(handler, [HostCheck("127.0.0.1", (), refused), TokenCheck("t", refused)])
    host, token = ("host", "localhost"), ("authorization", "Bearer t")
    assert (await handle(Request("GET", "/", (token,)))).status == 421
    assert (await handle(Request("GET", "/", (host,)))).status == 401
    assert not reached
    assert (await handle(Request("GET", "/", (host, token)))).status == 200
