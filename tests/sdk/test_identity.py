"""Request identity: the recorded requests pass, and each way to be somebody else is refused."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from understudy import app
from understudy.identity import SCHEME_HEADER, TOKEN_HEADER, Unidentified, Verifier

from tests.sdk.test_asgi import Exchange, greeter

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent.parent / "vectors" / "identity.json").read_text())
REQUESTS = VECTORS["requests"]
KEY = REQUESTS[0]["public_key"]
OTHER_KEY = "publickeyv1_FAe4sisG95oZ42w7buUn5qEE4TAnfTTFPiguZUHmhiF"


def headers_of(request: dict[str, Any]) -> dict[str, str]:
    return {name: request[name] for name in (SCHEME_HEADER, TOKEN_HEADER)}


def now_ms(request: dict[str, Any]) -> int:
    issued: int = request["jwt_claims"]["iat"]
    return issued * 1000


def resigned(claims: dict[str, Any]) -> str:
    """A token with other claims, signed as the server would."""
    key = load_pem_private_key(VECTORS["private_key_pem"].encode(), None)
    assert isinstance(key, Ed25519PrivateKey)
    head = REQUESTS[0][TOKEN_HEADER].split(".")[0].encode()
    signed = head + b"." + urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=")
    return (signed + b"." + urlsafe_b64encode(key.sign(signed)).rstrip(b"=")).decode()


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request["path"])
@pytest.mark.parametrize("prefix", ["", "/mounted/below"])
def test_recorded_requests_pass(request_: dict[str, Any], prefix: str) -> None:
    Verifier([OTHER_KEY, KEY]).check(headers_of(request_), prefix + request_["path"], now_ms(request_))


def test_without_keys_everything_passes() -> None:
    Verifier([]).check({}, "/discover", 0)


@pytest.mark.parametrize("shift_s", [-61, 60, 3600])
def test_a_token_is_good_for_a_while_only(shift_s: int) -> None:
    with pytest.raises(Unidentified, match="clocks"):
        Verifier([KEY]).check(headers_of(REQUESTS[0]), "/discover", now_ms(REQUESTS[0]) + shift_s * 1000)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({SCHEME_HEADER: None}, "'v1'"),
        ({SCHEME_HEADER: "unsigned"}, "'v1'"),
        ({SCHEME_HEADER: "v2"}, "'v1'"),
        ({TOKEN_HEADER: None}, "no x-restate-jwt-v1"),
        ({TOKEN_HEADER: ""}, "no token"),
        ({TOKEN_HEADER: "a.b.c"}, "no token"),
        ({TOKEN_HEADER: "bnVsbA"}, "no token"),
        ({TOKEN_HEADER: REQUESTS[1][TOKEN_HEADER]}, "'/invoke/Obj/add'"),
        ({TOKEN_HEADER: REQUESTS[0][TOKEN_HEADER][:-4] + "AAAA"}, "none of the keys"),
    ],
)
def test_refusals(change: dict[str, str | None], says: str) -> None:
    headers = {k: v for k, v in {**headers_of(REQUESTS[0]), **change}.items() if v is not None}
    with pytest.raises(Unidentified, match=says):
        Verifier([KEY]).check(headers, "/discover", now_ms(REQUESTS[0]))


def test_claims_nested_beyond_reason_are_no_token() -> None:
    """Whoever sends them need not be known: nothing is checked before they are read."""
    nested = urlsafe_b64encode(b"[" * 30_000).decode()
    with pytest.raises(Unidentified, match="no token"):
        Verifier([KEY]).check({SCHEME_HEADER: "v1", TOKEN_HEADER: f"a.{nested}.c"}, "/discover", 0)


@pytest.mark.parametrize("claim", ["aud", "exp", "iat", "nbf"])
def test_every_claim_is_needed(claim: str) -> None:
    claims = {name: value for name, value in REQUESTS[0]["jwt_claims"].items() if name != claim}
    with pytest.raises(Unidentified, match=f"lacks {claim}"):
        Verifier([KEY]).check({SCHEME_HEADER: "v1", TOKEN_HEADER: resigned(claims)}, "/discover", now_ms(REQUESTS[0]))


def test_times_that_are_no_numbers() -> None:
    claims = {**REQUESTS[0]["jwt_claims"], "exp": "later"}
    with pytest.raises(Unidentified, match="whole number"):
        Verifier([KEY]).check({SCHEME_HEADER: "v1", TOKEN_HEADER: resigned(claims)}, "/discover", now_ms(REQUESTS[0]))


def test_another_servers_key_does_not_do() -> None:
    with pytest.raises(Unidentified, match="none of the keys"):
        Verifier([OTHER_KEY]).check(headers_of(REQUESTS[0]), "/discover", now_ms(REQUESTS[0]))


@pytest.mark.parametrize("key", ["", "publickeyv1_", "publickeyv1_0OIl", "publickeyv1_abc", "4pkkEsc7N3ii62pAR7t36cpg"])
def test_texts_that_are_no_key(key: str) -> None:
    with pytest.raises(ValueError, match=r"identity key|base58"):
        app([greeter], identity_keys=[key])


@pytest.mark.parametrize(("path", "status"), [("/discover", 401), ("/health", 200), ("/elsewhere", 401)])
async def test_the_endpoint_answers_401(path: str, status: int) -> None:
    exchange = Exchange(app([greeter], identity_keys=[KEY]), path, method="GET")
    exchange.push(more=False)
    await exchange.play()
    assert exchange.status == status


def test_the_recorded_claims_are_what_was_signed() -> None:
    for request in REQUESTS:
        middle = request[TOKEN_HEADER].split(".")[1]
        assert json.loads(urlsafe_b64decode(middle + "=" * (-len(middle) % 4))) == request["jwt_claims"]
