"""Values to bytes and back.  JSON by default, steered by type hints; bytes when asked.

None and no bytes at all are the same thing for every serde. Plain JSON goes through `json` with its default
separators; dataclasses, attrs classes and TypedDicts through cattrs; msgspec structs and pydantic models
through their own libraries, which are looked for only when a hint is one of theirs.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

# What `json.loads` comes to when there is no white space around the value, as in all we write.
_RAW_DECODE: Final = json.JSONDecoder().raw_decode

_HINTS_MAX: Final = 256
"""How many hints' serdes are kept."""

_PLAIN: Final = (str, int, float, bool, list, dict, type(None), object, Any)


class Serde(ABC, Generic[T]):
    """How a value crosses the journal."""

    @abstractmethod
    def serialize(self, obj: T | None) -> bytes:
        """*obj* as bytes.  Raises whatever the value deserves when it has no such form."""

    @abstractmethod
    def deserialize(self, buf: bytes) -> T | None:
        """The value in *buf*.  Raises ValueError or TypeError when it is none."""


class BytesSerde(Serde[bytes]):
    """Bytes as they are."""

    def serialize(self, obj: bytes | None) -> bytes:
        """*obj* itself."""
        return obj or b""

    def deserialize(self, buf: bytes) -> bytes:
        """*buf* itself."""
        return buf


class JsonSerde(Serde[T]):
    """Plain JSON, without type hints."""

    def serialize(self, obj: T | None) -> bytes:
        """*obj* as JSON text."""
        return dump_json(obj)

    def deserialize(self, buf: bytes) -> T | None:
        """The plain value in *buf*."""
        return typing.cast(T, load_json(buf))


class DefaultSerde(Serde[T]):
    """JSON, steered by a type hint; without one, plain JSON."""

    __slots__ = ("_dump", "_load", "type_hint")

    def __init__(self, type_hint: Any = None) -> None:
        self.type_hint = type_hint
        self._dump, self._load = _codec(type_hint)

    def with_maybe_type(self, type_hint: Any = None) -> DefaultSerde[Any]:
        """A serde for *type_hint* if this one has no hint of its own."""
        return self if self.type_hint is not None else serde_for(type_hint)

    def serialize(self, obj: T | None) -> bytes:
        """*obj* as JSON text."""
        return b"" if obj is None else self._dump(obj)

    def deserialize(self, buf: bytes) -> T | None:
        """The value in *buf*, of the hinted type."""
        return self._load(buf) if buf else None


class PydanticJsonSerde(DefaultSerde[T]):
    """JSON of a pydantic model."""


class MsgspecJsonSerde(DefaultSerde[T]):
    """JSON of a msgspec struct (or any type msgspec knows)."""

    def __init__(self, type_hint: Any = None) -> None:
        super().__init__(type_hint)
        self._dump, self._load = _msgspec_codec(type_hint)


def serde_for(type_hint: Any) -> DefaultSerde[Any]:
    """The default serde of *type_hint*, built once."""
    try:
        return _serde_for(type_hint)
    except TypeError:
        return DefaultSerde(type_hint)  # A hint that cannot be hashed is built each time.


@lru_cache(maxsize=_HINTS_MAX)
def _serde_for(type_hint: Any) -> DefaultSerde[Any]:
    return DefaultSerde(type_hint)


_Codec = tuple[Callable[[Any], bytes], Callable[[bytes], Any]]


def dump_json(obj: Any) -> bytes:
    """*obj* as JSON; values JSON does not know are taken apart by what they are."""
    if obj is None:
        return b""
    if type(obj) is int:
        return b"%d" % obj
    try:
        return json.dumps(obj).encode()
    except TypeError:
        return json.dumps(obj, default=_take_apart).encode()


def load_json(buf: bytes) -> Any:
    """The plain value in *buf*; None for no bytes."""
    if not buf:
        return None
    text = buf.decode()
    try:
        value, end = _RAW_DECODE(text)
    except json.JSONDecodeError:
        return json.loads(text)
    return value if end == len(text) else json.loads(text)


def _codec(type_hint: Any) -> _Codec:
    if type_hint is None or is_plain(type_hint):
        return dump_json, load_json
    if _mentions(type_hint, is_pydantic_type):
        return _pydantic_codec(type_hint)
    if _mentions(type_hint, is_msgspec_type):
        return _msgspec_codec(type_hint)
    return _cattrs_codec(type_hint)


def is_plain(type_hint: Any) -> bool:
    """Whether *type_hint* says no more than JSON itself."""
    if any(type_hint is plain for plain in _PLAIN):
        return True
    origin = typing.get_origin(type_hint)
    if origin in (list, dict, typing.Union, types.UnionType):
        return all(is_plain(argument) for argument in typing.get_args(type_hint))
    return False


def _mentions(type_hint: Any, test: Callable[[Any], bool]) -> bool:
    return test(type_hint) or any(_mentions(argument, test) for argument in typing.get_args(type_hint))


def is_pydantic_type(type_hint: Any) -> bool:
    """Whether *type_hint* is a pydantic model."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(type_hint, type) and issubclass(type_hint, pydantic.BaseModel)


def is_msgspec_type(type_hint: Any) -> bool:
    """Whether *type_hint* is a msgspec struct."""
    msgspec = sys.modules.get("msgspec")
    return msgspec is not None and isinstance(type_hint, type) and issubclass(type_hint, msgspec.Struct)


def _pydantic_codec(type_hint: Any) -> _Codec:
    import pydantic

    adapter: Any = pydantic.TypeAdapter(type_hint)
    return adapter.dump_json, adapter.validate_json


def _msgspec_codec(type_hint: Any) -> _Codec:
    import msgspec

    decoder: Any = msgspec.json.Decoder(type_hint) if type_hint is not None else msgspec.json.Decoder()
    return msgspec.json.encode, decoder.decode


def _cattrs_codec(type_hint: Any) -> _Codec:
    converter = _converter()

    def dump(obj: Any) -> bytes:
        return json.dumps(converter.unstructure(obj, unstructure_as=type_hint)).encode()

    def load(buf: bytes) -> Any:
        return converter.structure(json.loads(buf.decode()), type_hint)

    return dump, load


def _converter() -> Any:
    """A converter shared by the hints of one stretch of time.

    A converter keeps every class it has seen alive. Programs that import their modules again and again would
    never get rid of the old ones, so after so many hints a new converter begins.
    """
    return _converter_of(_serde_for.cache_info().misses // _HINTS_MAX)


@lru_cache(maxsize=2)
def _converter_of(stretch: int) -> Any:
    from cattrs.preconf.json import make_converter

    return make_converter()


def _take_apart(obj: Any) -> Any:
    """For `json.dumps`: a value of a class JSON does not know, as one it does."""
    if is_pydantic_type(type(obj)):
        return obj.model_dump(mode="json")
    if is_msgspec_type(type(obj)):
        import msgspec

        return msgspec.to_builtins(obj)
    if dataclasses.is_dataclass(obj) or hasattr(type(obj), "__attrs_attrs__"):
        return _converter().unstructure(obj)
    plain = _converter().unstructure(obj)
    if type(plain) is type(obj):
        raise TypeError(
            f"a value of type {type(obj).__qualname__} has no JSON form; return a dataclass, an attrs class, "
            "a TypedDict, plain JSON values, or give a serde of your own"
        )
    return plain
