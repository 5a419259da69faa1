"""Signed requests: byte for byte those of a real server, and what keys are refused."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from pathlib import Path
from urllib.parse import unquote

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st
from understudy_runtime.invoker import identity
from understudy_runtime.invoker.identity import IdentityKeyError, Signer, base58, signer_of

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "identity.json").read_text())
PEM = VECTORS["private_key_pem"].encode()
RECORDED = VECTORS["requests"]


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded["path"])
def test_recorded_tokens_are_made_again(recorded: dict[str, object]) -> None:
    claims = recorded["jwt_claims"]
    assert isinstance(claims, dict)
    signer = signer_of(PEM, lambda: claims["iat"] * 1000 + 999)
    key = recorded["service_key_header"]
    headers = dict(signer(str(recorded["path"]), None if key is None else unquote(str(key))))
    assert headers == {name: recorded[name] for name in ("x-restate-signature-scheme", "x-restate-jwt-v1")}
    assert signer.public_key == recorded["public_key"]


def claims_of(headers: object) -> dict[str, object]:
    payload = dict(headers)["x-restate-jwt-v1"].split(".")[1]  # type: ignore[call-overload]
    claims: dict[str, object] = json.loads(urlsafe_b64decode(payload + "=="))
    return claims


def test_a_token_is_made_once_a_second_and_says_whose_it_is() -> None:
    now_ms = [5_000]
    signer = signer_of(PEM, lambda: now_ms[0])
    first = signer("/invoke/S/h", "ä/ö")
    assert signer("/invoke/S/h", "ä/ö") is first
    assert claims_of(first)["sub"] == "ä/ö"
    assert "sub" not in claims_of(signer("/invoke/S/h", None))
    now_ms[0] = 6_000
    assert claims_of(signer("/invoke/S/h", "ä/ö"))["iat"] == 6
    now_ms[0] = 4_000
    assert claims_of(signer("/invoke/S/h", "ä/ö"))["iat"] == 4


def test_what_is_kept_is_bounded() -> None:
    signer = Signer(Ed25519PrivateKey.from_private_bytes(bytes(32)), lambda: 0)
    for number in range(identity.TOKENS_KEPT_MAX + 2):
        signer("/discover", str(number))
    assert len(signer._made) == 2


def rsa() -> bytes:
    key = generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def encrypted() -> bytes:
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))


@pytest.mark.parametrize(
    ("pem", "message"),
    [
        (b"", "no unencrypted private key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no unencrypted private key"),
        (encrypted(), "no unencrypted private key"),
        (rsa(), "an Ed25519 key is expected"),
    ],
)
def test_keys_that_are_none(pem: bytes, message: str) -> None:
    with pytest.raises(IdentityKeyError, match=message):
        signer_of(pem, lambda: 0)


def decode58(text: str) -> bytes:
    number = 0
    for digit in text:
        number = number * 58 + identity.BASE58.index(digit)
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


@given(st.binary(max_size=40))
def test_base58_can_be_read_back(value: bytes) -> None:
    assert decode58(base58(value)) == value
