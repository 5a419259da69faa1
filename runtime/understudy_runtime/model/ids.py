"""Identifiers: how an invocation, an awakeable and a deployment are named, and where a name puts its work.

An invocation id is 24 raw bytes, partition key (u64, big endian) then uuid (16 bytes), and its text `inv_1` followed by
the two in base62.  The same (service, key) always has the same partition key; the same idempotency key and the same
workflow always have the same id.  Pure: time and entropy are arguments.  Nothing here looks anything up.

>>> target = Target("Wf", "run", "wk1")
>>> invocation_id_for(target, HandlerType.WORKFLOW, None, now_ms=0, entropy=bytes(ENTROPY_BYTES))
'inv_14NAYWOkWeyC4HqaAv3eM70hJLaHxEfgB2'
"""

from __future__ import annotations

import binascii
import hashlib
import string
import struct
from typing import Final

from xxhash import xxh3_64_intdigest

from understudy_runtime.model.invocation import HandlerType, Target

INVOCATION_PREFIX: Final = "inv_1"
AWAKEABLE_PREFIX: Final = "sign_1"
# Protocols up to 3: the number in it is that of a journal entry.
LEGACY_AWAKEABLE_PREFIX: Final = "prom_1"
DEPLOYMENT_PREFIX: Final = "dp_1"

# A fresh invocation id needs ten bytes for its ULID and two for the bucket of an unkeyed service.
ENTROPY_BYTES: Final = 12
RAW_ID_BYTES: Final = 24
BUCKETS: Final = 512
AWAKEABLE_INDEX_FIRST: Final = 17

_ULID_ENTROPY_BYTES: Final = 10
_KEY_CHARS: Final = 11
_UUID_CHARS: Final = 22
_AWAKEABLE_CHARS: Final = 38
_ALPHABET: Final = string.digits + string.ascii_lowercase + string.ascii_uppercase
# Base62 goes in pieces of eleven digits, which hold 65 bits, written two digits at a time: divisions of big integers,
# and turns of a loop, are what an id costs, and each request has one.
_PAIRS: Final = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_PAIR_BASE: Final = 62 * 62
_PIECE_DIGITS: Final = 11
_PIECE_BASE: Final = 62**_PIECE_DIGITS
_DIGIT_VALUES: Final = bytes.maketrans(_ALPHABET.encode(), bytes(range(62)))


class InvalidId(ValueError):
    """The caller's text is no identifier of the wanted kind: what was found, what is wrong with it."""


def _encode_uuid(value: bytes) -> str:
    high, low = divmod(int.from_bytes(value, "little"), _PIECE_BASE)
    return _encode_piece(high) + _encode_piece(low)


def _encode_key(value: bytes) -> str:
    return _encode_piece(int.from_bytes(value, "little"))


def _encode_piece(number: int) -> str:
    number, e = divmod(number, _PAIR_BASE)
    number, d = divmod(number, _PAIR_BASE)
    number, c = divmod(number, _PAIR_BASE)
    number, b = divmod(number, _PAIR_BASE)
    number, a = divmod(number, _PAIR_BASE)
    return _ALPHABET[number] + _PAIRS[a] + _PAIRS[b] + _PAIRS[c] + _PAIRS[d] + _PAIRS[e]


def _decode(text: str, length: int, whole: str) -> bytes:
    """*length* bytes from one or two pieces of base62; *whole* is the identifier they come from, for the error."""
    if not (text.isascii() and text.isalnum()):
        raise InvalidId(f"{whole!r} is no identifier: it has a character outside 0-9, a-z, A-Z")
    digits = text.encode().translate(_DIGIT_VALUES)
    number = _decode_piece(digits[:_PIECE_DIGITS])
    if len(digits) > _PIECE_DIGITS:
        number = number * _PIECE_BASE + _decode_piece(digits[_PIECE_DIGITS:])
    try:
        return number.to_bytes(length, "little")
    except OverflowError:
        raise InvalidId(f"{whole!r} is no identifier: its number is too large") from None


def _decode_piece(digits: bytes) -> int:
    a, b, c, d, e, f, g, h, i, j, k = digits
    high = ((((a * 62 + b) * 62 + c) * 62 + d) * 62 + e) * 62 + f
    return high * 62**5 + ((((g * 62 + h) * 62 + i) * 62 + j) * 62 + k)


def invocation_id_text(raw: bytes) -> str:
    """The text form of the 24 raw bytes."""
    assert len(raw) == RAW_ID_BYTES, "a raw invocation id has 24 bytes"
    return INVOCATION_PREFIX + _encode_key(raw[:8]) + _encode_uuid(raw[8:])


def raw_id(text: str) -> bytes:
    """The 24 raw bytes of an invocation id.  Raises InvalidId."""
    _check_invocation_form(text)
    at = len(INVOCATION_PREFIX)
    return _decode(text[at : at + _KEY_CHARS], 8, text) + _decode(text[at + _KEY_CHARS :], 16, text)


def partition_key_of(text: str) -> int:
    """The partition key of an invocation id, 0 to 2**64 - 1.  Raises InvalidId."""
    _check_invocation_form(text)
    at = len(INVOCATION_PREFIX)
    return int.from_bytes(_decode(text[at : at + _KEY_CHARS], 8, text), "big")


def _check_invocation_form(text: str) -> None:
    if not text.startswith(INVOCATION_PREFIX):
        raise InvalidId(f"{text!r} is no invocation id: it must start with {INVOCATION_PREFIX!r}")
    length = len(INVOCATION_PREFIX) + _KEY_CHARS + _UUID_CHARS
    if len(text) != length:
        raise InvalidId(f"{text!r} is no invocation id: it has {len(text)} characters instead of {length}")


def partition_of(partition_key: int, count: int) -> int:
    """Which of *count* equal ranges of the key space *partition_key* falls into."""
    assert 0 <= partition_key < 1 << 64, "a partition key is a u64"
    assert count >= 1, "there is at least one partition"
    return partition_key * count >> 64


def partition_key_for_key(key: str) -> int:
    """The partition key of everything that belongs to object or workflow *key*, whatever its service."""
    return xxh3_64_intdigest(key.encode() + b"\xff")


def partition_key_for(target: Target, idempotency_key: str | None, bucket: int, scope: str | None = None) -> int:
    """The partition key of an invocation of *target*; a *scope* holds everything in it together.

    *bucket* (0 to 511, drawn) spreads the requests of a plain service that have no idempotency key.
    """
    assert 0 <= bucket < BUCKETS, "a bucket is below 512"
    if scope is not None:
        return partition_key_for_key(scope)
    if target.key is not None:
        return partition_key_for_key(target.key)
    if idempotency_key is not None:
        bucket = xxh3_64_intdigest(idempotency_key.encode() + b"\xff") % BUCKETS
    hashed = target.service.encode() + b"\xffunscoped/service\xff" + bucket.to_bytes(8, "little")
    return xxh3_64_intdigest(hashed)


def ulid(now_ms: int, entropy: bytes) -> bytes:
    """16 bytes that sort by time: 48 bits of milliseconds, 80 of entropy."""
    assert len(entropy) == _ULID_ENTROPY_BYTES, "a ULID takes ten bytes of entropy"
    return (now_ms & 0xFFFF_FFFF_FFFF).to_bytes(6, "big") + entropy


def workflow_uuid(service: str, key: str, scope: str | None = None) -> bytes:
    """The uuid part of the one run of a workflow."""
    place = service if scope is None else f"{scope},{service}"
    return hashlib.sha256(f"wf,{place},{key}".encode()).digest()[:16]


def idempotent_uuid(target: Target, idempotency_key: str, scope: str | None = None) -> bytes:
    """The uuid part of the invocation that *idempotency_key* names."""
    place = target.service if scope is None else f"{scope},{target.service}"
    if target.key is None:
        text = f"ik,{place},{target.handler},{idempotency_key}"
    else:
        text = f"ik,{place},{target.key},{target.handler},{idempotency_key}"
    return hashlib.sha256(text.encode()).digest()[:16]


def invocation_id_for(
    target: Target,
    handler_type: HandlerType,
    idempotency_key: str | None,
    now_ms: int,
    entropy: bytes,
    scope: str | None = None,
) -> str:
    """The id of a request to *target*: the same for the same workflow or idempotency key, else a fresh one.

    *entropy* is ENTROPY_BYTES long; a workflow's run ignores the idempotency key.
    """
    assert len(entropy) == ENTROPY_BYTES, "an invocation id takes twelve bytes of entropy"
    bucket = int.from_bytes(entropy[_ULID_ENTROPY_BYTES:], "big") % BUCKETS
    if handler_type is HandlerType.WORKFLOW:
        assert target.key is not None, "a workflow's run has a key"
        idempotency_key = None
        uuid = workflow_uuid(target.service, target.key, scope)
    elif idempotency_key is not None:
        uuid = idempotent_uuid(target, idempotency_key, scope)
    else:
        uuid = ulid(now_ms, entropy[:_ULID_ENTROPY_BYTES])
    key = partition_key_for(target, idempotency_key, bucket, scope)
    return invocation_id_text(key.to_bytes(8, "big") + uuid)


def invocation_id_beside(invocation_id: str, now_ms: int, entropy: bytes) -> str:
    """A fresh id of the partition key of *invocation_id*; *entropy* is ENTROPY_BYTES long.  Raises InvalidId."""
    assert len(entropy) == ENTROPY_BYTES, "an invocation id takes twelve bytes of entropy"
    return invocation_id_text(raw_id(invocation_id)[:8] + ulid(now_ms, entropy[:_ULID_ENTROPY_BYTES]))


def workflow_run_id(service: str, key: str) -> str:
    """The id of the one run of workflow *service* under *key*."""
    partition_key = partition_key_for_key(key)
    return invocation_id_text(partition_key.to_bytes(8, "big") + workflow_uuid(service, key))


def random_seed_for(raw: bytes) -> int:
    """The u64 that seeds a handler's random numbers: SipHash-1-3 without a key over the length and the raw id.

    Whoever derives the same id derives the same seed.  Fresh ids take entropy instead, which costs nothing.
    """
    assert len(raw) == RAW_ID_BYTES, "a raw invocation id has 24 bytes"
    state = _SIP_START
    for word in (RAW_ID_BYTES, *_SIP_WORDS.unpack(raw), _SIP_LENGTH):
        a, b, c, d = state
        a, b, c, d = _sip_round(a, b, c, d ^ word)
        state = (a ^ word, b, c, d)
    a, b, c, d = state
    c ^= 0xFF
    for _ in range(3):
        a, b, c, d = _sip_round(a, b, c, d)
    return a ^ b ^ c ^ d


def seed_of(invocation_id: str, entropy: bytes, *, is_derived: bool) -> int:
    """The seed of an invocation: by its id where the request implies that, else by the *entropy* it was made of."""
    return random_seed_for(raw_id(invocation_id)) if is_derived else int.from_bytes(entropy[:8], "big")


def _sip_round(a: int, b: int, c: int, d: int) -> tuple[int, int, int, int]:
    a = (a + b) & _U64_MAX
    b = ((b << 13) & _U64_MAX | b >> 51) ^ a
    a = (a << 32) & _U64_MAX | a >> 32
    c = (c + d) & _U64_MAX
    d = ((d << 16) & _U64_MAX | d >> 48) ^ c
    a = (a + d) & _U64_MAX
    d = ((d << 21) & _U64_MAX | d >> 43) ^ a
    c = (c + b) & _U64_MAX
    b = ((b << 17) & _U64_MAX | b >> 47) ^ c
    return a, b, (c << 32) & _U64_MAX | c >> 32, d


_U64_MAX: Final = (1 << 64) - 1
_SIP_START: Final = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
_SIP_WORDS: Final = struct.Struct("<QQQ")
# The length of all that is hashed, in the last byte of the last word.
_SIP_LENGTH: Final = (8 + RAW_ID_BYTES) << 56


def awakeable_id(invocation_id: str, signal_index: int) -> str:
    """The name of signal *signal_index* of an invocation, to hand to others.  Raises InvalidId."""
    assert 0 <= signal_index < 1 << 32, "a signal index is a u32"
    raw = raw_id(invocation_id) + signal_index.to_bytes(4, "big")
    text = binascii.b2a_base64(raw, newline=False).rstrip(b"=").translate(_TO_URL_SAFE)
    return AWAKEABLE_PREFIX + text.decode("ascii")


def parse_awakeable_id(text: str) -> tuple[str, int | None]:
    """The invocation id and the signal index an awakeable id names.  Padding is accepted.  Raises InvalidId.

    The index is None for the old form, which names a journal entry of a protocol that is spoken no more: whoever
    completes it is right to, and nobody waits.
    """
    is_legacy = text.startswith(LEGACY_AWAKEABLE_PREFIX)
    if not is_legacy and not text.startswith(AWAKEABLE_PREFIX):
        raise InvalidId(f"{text!r} is no awakeable id: it must start with {AWAKEABLE_PREFIX!r}")
    body = text[len(AWAKEABLE_PREFIX) :].removesuffix("==")
    if len(body) != _AWAKEABLE_CHARS or not body.isascii() or "+" in body or "/" in body:
        raise InvalidId(f"{text!r} is no awakeable id: {_AWAKEABLE_CHARS} characters of base64url must follow")
    try:
        raw = binascii.a2b_base64(body.encode().translate(_FROM_URL_SAFE) + b"==", strict_mode=True)
    except binascii.Error as error:
        raise InvalidId(f"{text!r} is no awakeable id: {error}") from None
    index = None if is_legacy else int.from_bytes(raw[RAW_ID_BYTES:], "big")
    return invocation_id_text(raw[:RAW_ID_BYTES]), index


assert len(AWAKEABLE_PREFIX) == len(LEGACY_AWAKEABLE_PREFIX), "one body behind both"
_TO_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")


def deployment_id(value: bytes) -> str:
    """The text form of a deployment's ULID."""
    assert len(value) == 16, "a deployment id has 16 bytes"
    return DEPLOYMENT_PREFIX + _encode_uuid(value)


def parse_deployment_id(text: str) -> bytes:
    """The ULID of a deployment id.  Raises InvalidId."""
    if not text.startswith(DEPLOYMENT_PREFIX) or len(text) != len(DEPLOYMENT_PREFIX) + _UUID_CHARS:
        raise InvalidId(f"{text!r} is no deployment id: {DEPLOYMENT_PREFIX!r} and {_UUID_CHARS} characters are wanted")
    return _decode(text[len(DEPLOYMENT_PREFIX) :], 16, text)
