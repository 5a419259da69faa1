"""Request identity: headers that prove to an endpoint which server asks it.  An Ed25519 key, one short-lived JWT each.

Not here: the verification, which is the SDK's.  The clock is the world's, given as a function; the signature is a
function of key, path, service key and second, so the same second gives the same token, and it is made only once.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_PREFIX: Final = "publickeyv1_"
BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
SCHEME: Final = ("x-restate-signature-scheme", "v1")
TOKEN_HEADER: Final = "x-restate-jwt-v1"
# A token is good this long before and after the second it was made in: as far as clocks may be apart.
LEEWAY_SECONDS: Final = 60
# Tokens of the current second that are kept; beyond it, they are made anew.
TOKENS_KEPT_MAX: Final = 1_024

Headers = tuple[tuple[str, str], ...]


class IdentityKeyError(ValueError):
    """The signing key cannot be used: what was found, what is expected."""


class Signer:
    """Signs requests with *key*: a `Sign` of the invoker's port.  Build it with `signer_of`."""

    def __init__(self, key: Ed25519PrivateKey, now_ms: Callable[[], int]) -> None:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        self._key = key
        self._now_ms = now_ms
        self.public_key = KEY_PREFIX + base58(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
        self._head = encode({"typ": "JWT", "alg": "EdDSA", "kid": self.public_key})
        self._second = -1
        self._made: dict[tuple[str, str | None], Headers] = {}

    def __call__(self, path: str, key: str | None) -> Sequence[tuple[str, str]]:
        """The headers for a request to *path*, on behalf of the object or workflow *key*."""
        assert path.startswith("/"), "a path is absolute"
        second = self._now_ms() // 1000
        if second != self._second or len(self._made) >= TOKENS_KEPT_MAX:
            self._second = second
            self._made.clear()
        found = self._made.get((path, key))
        if found is None:
            found = self._made[path, key] = (SCHEME, (TOKEN_HEADER, self._token(path, key, second)))
        return found

    def _token(self, path: str, key: str | None, second: int) -> str:
        claims: dict[str, str | int] = {
            "aud": path,
            "exp": second + LEEWAY_SECONDS,
            "iat": second,
            "nbf": second - LEEWAY_SECONDS,
        }
        if key is not None:
            claims["sub"] = key
        signed = b"%s.%s" % (self._head, encode(claims))
        return (b"%s.%s" % (signed, base64url(self._key.sign(signed)))).decode("ascii")


def signer_of(pem: bytes, now_ms: Callable[[], int]) -> Signer:
    """The signer with the PKCS#8 key in *pem*.  Raises IdentityKeyError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise IdentityKeyError(
            f"the signing key is no unencrypted private key in PEM (PKCS#8) form: {error}; "
            "make one with: openssl genpkey -algorithm ed25519"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise IdentityKeyError(
            f"the signing key is a {type(key).__name__.strip('_')}, an Ed25519 key is expected; "
            "make one with: openssl genpkey -algorithm ed25519"
        )
    return Signer(key, now_ms)


def encode(value: dict[str, str | int] | dict[str, str]) -> bytes:
    """One part of a token: compact JSON in the order given, as base64url."""
    return base64url(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


def base64url(value: bytes) -> bytes:
    return urlsafe_b64encode(value).rstrip(b"=")


def base58(value: bytes) -> str:
    """*value* in the alphabet that leaves out what looks alike; a leading zero byte is a `1`.

    >>> base58(b"\\x00\\x01\\x02")
    '15T'
    """
    number = int.from_bytes(value, "big")
    digits = ""
    while number:
        number, digit = divmod(number, 58)
        digits = BASE58[digit] + digits
    zeros = len(value) - len(value.lstrip(b"\0"))
    return BASE58[0] * zeros + digits
