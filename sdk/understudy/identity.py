"""Request identity, the endpoint's side: lets through only requests that a known server signed.

A key is the text ``publickeyv1_…`` (base58 of a raw Ed25519 public key).  With none, every request passes.  The
signature check needs the extra `understudy[identity]`; the clock is handed in.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

KEY_PREFIX: Final = "publickeyv1_"
BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
KEY_BYTES: Final = 32
SCHEME_HEADER: Final = "x-restate-signature-scheme"
TOKEN_HEADER: Final = "x-restate-jwt-v1"
CLAIMS: Final = ("aud", "exp", "iat", "nbf")


class Unidentified(Exception):
    """The request does not prove that it comes from a server we know: what was found, what was expected."""


class Verifier:
    """Checks requests against *keys*.  Raises ValueError for a text that is no key, ImportError without the extra."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [_public_key(key) for key in keys]

    def check(self, headers: Mapping[str, str], path: str, now_ms: int) -> None:
        """Raise Unidentified unless one of the keys signed the request for *path* and the token is good at *now_ms*.

        *headers* have lower-case names.
        """
        if not self._keys:
            return
        scheme = headers.get(SCHEME_HEADER)
        if scheme != "v1":
            raise Unidentified(f"the request's {SCHEME_HEADER} is {scheme!r}, expected 'v1': let the server sign it")
        token = headers.get(TOKEN_HEADER)
        if token is None:
            raise Unidentified(f"the request has no {TOKEN_HEADER}")
        signed, signature, claims = _parsed(token)
        _check_claims(claims, path, now_ms)
        if not any(_is_signed(key, signature, signed) for key in self._keys):
            raise Unidentified("none of the keys given signed the request")


def audience(path: str) -> str:
    """The part of *path* that is signed: an endpoint may be mounted below any prefix.

    >>> audience("/mounted/here/invoke/Greeter/greet"), audience("/mounted/discover"), audience("/health")
    ('/invoke/Greeter/greet', '/discover', '/health')
    """
    segments = path.rstrip("/").split("/")
    if len(segments) >= 4 and segments[-3] == "invoke":
        return "/" + "/".join(segments[-3:])
    if segments[-1] == "discover":
        return "/discover"
    return path


def _parsed(token: str) -> tuple[bytes, bytes, dict[str, Any]]:
    """What is signed, the signature, and the claims of a token.  Raises Unidentified."""
    head, dot, signature = token.rpartition(".")
    try:
        claims = json.loads(_unpadded(head.partition(".")[2]))
        raw = _unpadded(signature)
    except (ValueError, RecursionError) as error:
        raise Unidentified(f"the {TOKEN_HEADER} is no token: {error}") from error
    if not dot or not isinstance(claims, dict):
        raise Unidentified(f"the {TOKEN_HEADER} is no token: three parts with claims in the second are expected")
    return head.encode(), raw, claims


def _unpadded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _check_claims(claims: Mapping[str, Any], path: str, now_ms: int) -> None:
    missing = [claim for claim in CLAIMS if claim not in claims]
    if missing:
        raise Unidentified(f"the token lacks {', '.join(missing)}")
    wrong = [claim for claim in ("exp", "nbf") if not isinstance(claims[claim], int)]
    if wrong:
        raise Unidentified(f"the token's {', '.join(wrong)} is no whole number of seconds")
    expected = audience(path)
    if claims["aud"] != expected:
        raise Unidentified(f"the token is for {claims['aud']!r}, the request for {expected!r}")
    if not claims["nbf"] * 1000 <= now_ms < claims["exp"] * 1000:
        raise Unidentified("the token has expired or is not valid yet: compare the clocks of server and endpoint")


def _is_signed(key: Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def _public_key(text: str) -> Ed25519PublicKey:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as error:
        raise ImportError("identity keys need a cryptography package: pip install 'understudy[identity]'") from error
    if not text.startswith(KEY_PREFIX):
        raise ValueError(f"the identity key {text!r} does not begin with {KEY_PREFIX!r}")
    raw = _base58_decoded(text.removeprefix(KEY_PREFIX))
    if len(raw) != KEY_BYTES:
        raise ValueError(f"the identity key {text!r} has {len(raw)} bytes, expected {KEY_BYTES}")
    return Ed25519PublicKey.from_public_bytes(raw)


def _base58_decoded(text: str) -> bytes:
    number = 0
    for character in text:
        digit = BASE58.find(character)
        if digit < 0:
            raise ValueError(f"{character!r} is no character of base58")
        number = number * 58 + digit
    leading = len(text) - len(text.lstrip(BASE58[0]))
    return bytes(leading) + number.to_bytes((number.bit_length() + 7) // 8, "big")
