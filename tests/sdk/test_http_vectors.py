"""What a real endpoint answered over HTTP, and what ours answers to the same: manifests, refusals, one raw exchange."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from understudy import App, Context, Service, app
from understudy.protocol.framing import FrameDecoder, encode_frames

from tests.sdk.test_asgi import Exchange
from tests.sdk.test_manifest import services
from tests.sdk.test_vectors import comparable
from tests.sdk.vector_services import build_app

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent.parent / "vectors" / "http.json").read_text())
MANIFEST = "application/vnd.restate.endpointmanifest.v{}+json"
V6 = "application/vnd.restate.invocation.v6"


def plain() -> App:
    service = Service("Plain")

    @service.handler()
    async def ping(ctx: Context, anything) -> None: ...  # type: ignore[no-untyped-def]

    return app([service])


async def discovered(application: App, accept: str, *, http_version: str = "2") -> Exchange:
    exchange = Exchange(application, "/discover", method="GET", accept=accept)
    exchange.scope["http_version"] = http_version
    exchange.push(more=False)
    await exchange.play()
    return exchange


@pytest.mark.parametrize("recording", VECTORS["discovery"])
async def test_recorded_manifest(recording: str) -> None:
    kind, version, mode = re.fullmatch(r"(full|plain)_v(\d)_(\w+)", recording).groups()  # type: ignore[union-attr]
    application = app(services()) if kind == "full" else plain()
    accept = ", ".join(MANIFEST.format(number) for number in range(1, int(version) + 1))
    exchange = await discovered(application, accept, http_version="2" if mode == "bidi" else "1.1")
    recorded = VECTORS["discovery"][recording]
    assert exchange.status == recorded["status"]
    assert exchange.answered_headers["content-type"] == recorded["content_type"]
    if recorded["status"] != 200:
        assert b"retryPolicyInitialInterval" in exchange.body
        return
    manifest = json.loads(exchange.body)
    assert manifest.pop("maxProtocolVersion") == 6
    assert recorded["body"].pop("maxProtocolVersion") == 7
    assert manifest == recorded["body"]


async def test_the_servers_own_discovery_request() -> None:
    request = VECTORS["server_discovery_request"]
    exchange = await discovered(app(services()), request["accept"])
    assert exchange.answered_headers["content-type"] == MANIFEST.format(4)


async def test_recorded_answers() -> None:
    health, unknown_manifest, too_old, unknown_handler, foreign_version = VECTORS["answers"]
    exchange = Exchange(app(services()), "/health", method="GET")
    exchange.push(more=False)
    await exchange.play()
    assert (exchange.status, exchange.body.decode()) == (health["status"], health["body"])
    assert exchange.answered_headers["content-type"] == health["content-type"]
    assert (await discovered(app(services()), "text/x")).status == unknown_manifest["status"]
    assert (await discovered(app(services()), MANIFEST.format(2))).status == too_old["status"]
    exchange = Exchange(app(services()), "/invoke/Greeter/nobody", content_type=V6)
    exchange.push(more=False)
    await exchange.play()
    assert (exchange.status, exchange.body.decode()) == (unknown_handler["status"], unknown_handler["body"])
    # The recorded SDK fails with 500; the protocol asks for 415, and that is what ours answers.
    assert foreign_version["status"] == 500
    exchange = Exchange(app(services()), "/invoke/Greeter/greet", content_type=V6.replace("v6", "v4"))
    exchange.push(more=False)
    await exchange.play()
    assert exchange.status == 415


def message_body(raw: bytes) -> bytes:
    """The body of an HTTP/1.1 message in chunks, as far as *raw* has it."""
    _, _, rest = raw.partition(b"\r\n\r\n") if raw.startswith((b"POST", b"HTTP")) else (b"", b"", raw)
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        body += rest[:length]
        rest = rest[length + 2 :]
    return body


async def test_recorded_exchange_over_http_1() -> None:
    requests: list[bytes] = []
    answers: list[bytes] = []
    for line in VECTORS["http11_exchange"]:
        arrow, raw = line.split(" ")
        if arrow == ">":
            requests.append(message_body(bytes.fromhex(raw)))
            answers.append(b"")
        else:
            answers[-1] += message_body(bytes.fromhex(raw))
    assert len(requests) == 2
    for request, answer in zip(requests, answers, strict=True):
        exchange = Exchange(build_app(6), "/invoke/Vec/runner", content_type=V6)
        exchange.scope["http_version"] = "1.1"
        exchange.push(request, more=False)
        await exchange.play()
        assert exchange.status == 200
        said = [comparable(frame) for frame in exchange.frames]
        assert said == [comparable(frame) for frame in FrameDecoder().feed(answer)]
        assert encode_frames(exchange.frames) == answer
