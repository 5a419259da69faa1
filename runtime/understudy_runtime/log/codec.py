"""Commands to bytes and back: canonical CBOR, integer-keyed by the field numbers of the model.

A batch is an array of ``[tag, {number: value}]``.  A member of a union is tagged the same way inside its field.
Encoders and decoders are built once per class from its annotations; nothing here knows a command by name.

Rules: a field is left out only when its value is the *empty* default (None, 0, "", b"", ()), so that a default that
means something is always written; unknown fields are ignored; a wrong type is a CodecError that names class and field.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

import attrs
import cbor2

from understudy_runtime.log import cbor
from understudy_runtime.model.commands import COMMAND_TAGS, Command, Finished, GaveUp, Suspend
from understudy_runtime.model.fields import FIELD_NUMBER
from understudy_runtime.model.invocation import Failure, RetryPolicy, Success

Encode = Callable[[Any], bytes]
Decode = Callable[[Any], Any]

# Tags of the members of unions inside fields.  Unique within each union; numbers are never reused.
VARIANT_TAGS: Final = MappingProxyType[type, int](
    {Success: 1, Failure: 2, Suspend: 1, Finished: 2, GaveUp: 3} | {class_: tag for tag, class_ in COMMAND_TAGS.items()}
)
PAIR: Final = cbor.head(cbor.ARRAY, 2)
EMPTY: Final = (None, 0, "", b"", ())
SCALARS: Final = MappingProxyType[Any, Callable[[Any], bytes]](
    {int: cbor.encode_int, str: cbor.encode_text, bytes: cbor.encode_bytes, bool: cbor.encode_bool}
)


class CodecError(ValueError):
    """The bytes are no batch of this format: which class and field, what was found, what was expected."""


class FieldPlan(NamedTuple):
    """How one field is written and read."""

    name: str
    number: int
    encode: Encode
    decode: Decode
    omit: bool
    omit_none: bool
    # Neither left out nor None.
    always: bool


class Codec:
    """Batches of the classes of *tags* (tag to class) as bytes."""

    def __init__(self, tags: Mapping[int, type]) -> None:
        assert len(set(tags.values())) == len(tags), "one tag per class"
        self._encode = {class_: tagged_encoder(tag, class_) for tag, class_ in tags.items()}
        self._decode = {tag: class_decoder(class_) for tag, class_ in tags.items()}

    def encode(self, commands: Sequence[Any]) -> bytes:
        """*commands* as one array."""
        encode = self._encode
        return cbor.encode_array([encode[type(command)](command) for command in commands])

    def encode_within(self, commands: Sequence[Any], bytes_max: int) -> tuple[bytes, int]:
        """The first of *commands* as one array, and how many: at least one, more while they fit *bytes_max*."""
        encode = self._encode
        parts: list[bytes] = []
        size = 0
        for command in commands:
            part = encode[type(command)](command)
            size += len(part)
            if size > bytes_max and parts:
                break
            parts.append(part)
        return cbor.encode_array(parts), len(parts)

    def decode(self, payload: bytes) -> list[Any]:
        """The commands of one array.  Raises CodecError."""
        try:
            batch = cbor2.loads(payload)
        except Exception as error:  # the decoder's own errors have no common base across versions
            raise CodecError(f"a batch is no CBOR: {error}") from error
        if not isinstance(batch, list):
            raise CodecError(f"a batch must be an array, found {type(batch).__name__}")
        return [self._decode_one(item) for item in batch]

    def _decode_one(self, item: object) -> Any:
        tag, fields = tagged(item, "a command")
        decode = self._decode.get(tag)
        if decode is None:
            raise CodecError(f"command tag {tag} is unknown: the log was written by a newer version")
        return decode(fields)


def tagged(item: object, what: str) -> tuple[int, object]:
    """*item* as (tag, rest).  Raises CodecError."""
    if not isinstance(item, list) or len(item) != 2 or type(item[0]) is not int:
        raise CodecError(f"{what} must be [tag, fields], found {type(item).__name__}")
    return item[0], item[1]


def class_encoder(class_: type, start: bytes = b"") -> Encode:
    """A function from a value of *class_* to *start* and its integer-keyed map."""
    plans = field_plans(class_)
    heads = [start + head for head in cbor.MAP_HEADS]
    if len(plans) == 2 and plans[0].always and (plans[1].always or plans[1].omit_none):
        return two_field_encoder(plans[0], plans[1], heads)
    fields = [(plan.name, cbor.encode_int(plan.number), plan.encode, plan.omit, plan.omit_none) for plan in plans]

    def encode(value: Any) -> bytes:
        parts = [b""]
        for name, key, encode_field, omit, omit_none in fields:
            item = getattr(value, name)
            if item is None:
                if not omit_none:
                    parts += (key, cbor.NONE)
            elif item or not omit:
                parts += (key, encode_field(item))
        parts[0] = heads[len(parts) // 2]
        return b"".join(parts)

    return encode


def two_field_encoder(first: FieldPlan, second: FieldPlan, heads: Sequence[bytes]) -> Encode:
    """The same for two fields of which only the second may be None: entries of a journal, of which a step has two."""
    first_of, encode_first = attrgetter(first.name), first.encode
    second_of, encode_second = attrgetter(second.name), second.encode
    alone = heads[1] + cbor.encode_int(first.number)
    both = heads[2] + cbor.encode_int(first.number)
    key = cbor.encode_int(second.number)

    def encode(value: Any) -> bytes:
        item = second_of(value)
        if item is None:
            return alone + encode_first(first_of(value))
        return both + encode_first(first_of(value)) + key + encode_second(item)

    return encode


def tagged_encoder(tag: int, class_: type) -> Encode:
    """A function from a value of *class_* to ``[tag, fields]``."""
    return class_encoder(class_, PAIR + cbor.encode_int(tag))


def class_decoder(class_: type) -> Decode:
    """A function from an integer-keyed map to a value of *class_*."""
    plans = field_plans(class_)
    required = [plan for plan in plans if not (plan.omit or plan.omit_none)]
    by_number = {plan.number: plan for plan in plans}

    def decode(fields: Any) -> Any:
        if not isinstance(fields, dict):
            raise CodecError(f"{class_.__name__} must be a map, found {type(fields).__name__}")
        arguments: dict[str, Any] = {}
        for number, item in fields.items():
            plan = by_number.get(number)
            if plan is None:
                continue
            try:
                arguments[plan.name] = plan.decode(item)
            except CodecError as error:
                raise CodecError(f"{class_.__name__}.{plan.name}: {error}") from error
        for plan in required:
            if plan.name not in arguments:
                raise CodecError(f"{class_.__name__}.{plan.name} is missing")
        return class_(**arguments)

    return decode


def last_remembered(encode: Encode) -> Encode:
    """*encode* for values of which one and the same comes again and again: the server's retry policy, a handler's."""
    last: Any = None
    data = b""

    def encode_again(value: Any) -> bytes:
        nonlocal last, data
        if value is not last:
            last, data = value, encode(value)
        return data

    return encode_again


def field_plans(class_: type) -> tuple[FieldPlan, ...]:
    """The fields of *class_* in ascending number, which is canonical CBOR's key order."""
    hints = typing.get_type_hints(class_)
    plans = [field_plan(field, hints[field.name]) for field in attrs.fields(class_)]
    plans.sort(key=lambda plan: plan.number)
    assert len({plan.number for plan in plans}) == len(plans), f"{class_.__name__}: one number per field"
    assert all(plan.number < 24 for plan in plans), "numbers below 24 take one byte and sort canonically"
    return tuple(plans)


def field_plan(field: attrs.Attribute[Any], hint: Any) -> FieldPlan:
    number = field.metadata.get(FIELD_NUMBER)
    assert number is not None, f"the field {field.name} has no number"
    encode, decode = converters(hint)
    empty = any(field.default is e or (type(field.default) is type(e) and field.default == e) for e in EMPTY)
    zero_enum = isinstance(field.default, IntEnum) and field.default == 0
    omit = (empty and field.default is not None) or zero_enum
    return FieldPlan(
        field.name,
        number,
        encode,
        decode,
        omit=omit,
        omit_none=field.default is None,
        always=not omit and field.default is not None and types.NoneType not in typing.get_args(hint),
    )


def converters(hint: Any) -> tuple[Encode, Decode]:
    """How a value annotated *hint* is written and read."""
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return union_converters(typing.get_args(hint))
    if origin is tuple:
        return tuple_converters(typing.get_args(hint))
    if isinstance(hint, type) and attrs.has(hint):
        encode = class_encoder(hint)
        return (last_remembered(encode) if hint is RetryPolicy else encode), class_decoder(hint)
    if isinstance(hint, type) and issubclass(hint, IntEnum):
        return cbor.encode_int, enum_decoder(hint)
    assert hint in SCALARS, f"no durable form for {hint!r}"
    return SCALARS[hint], scalar_decoder(hint)


def scalar_decoder(class_: type) -> Decode:
    def decode(item: Any) -> Any:
        if type(item) is not class_:
            raise CodecError(f"expected {class_.__name__}, found {type(item).__name__}")
        return item

    return decode


def enum_decoder(class_: type[IntEnum]) -> Decode:
    def decode(item: Any) -> Any:
        try:
            return class_(item)
        except ValueError:
            raise CodecError(f"{item!r} is no {class_.__name__}") from None

    return decode


def tuple_converters(arguments: tuple[Any, ...]) -> tuple[Encode, Decode]:
    """``tuple[X, ...]`` or a fixed tuple of scalars."""
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        encode_item, decode_item = converters(arguments[0])

        def decode_all(items: Any) -> Any:
            return tuple(decode_item(item) for item in expect_list(items))

        return (lambda items: cbor.encode_array([encode_item(item) for item in items])), decode_all
    parts = [converters(argument) for argument in arguments]

    def encode_fixed(items: Any) -> bytes:
        return cbor.encode_array([encode(item) for (encode, _), item in zip(parts, items, strict=True)])

    def encode_pair(items: Any) -> bytes:
        first, second = items
        return PAIR + parts[0][0](first) + parts[1][0](second)

    def decode_fixed(items: Any) -> Any:
        found = expect_list(items)
        if len(found) != len(parts):
            raise CodecError(f"expected {len(parts)} items, found {len(found)}")
        return tuple(decode(item) for (_, decode), item in zip(parts, found, strict=True))

    # Headers are pairs: each request has some.
    return encode_pair if len(parts) == 2 else encode_fixed, decode_fixed


def expect_list(items: Any) -> list[Any]:
    if not isinstance(items, list):
        raise CodecError(f"expected an array, found {type(items).__name__}")
    return items


def union_converters(members: tuple[Any, ...]) -> tuple[Encode, Decode]:
    """``X | None``, or a union of classes, each under its tag, perhaps with None."""
    classes = [member for member in members if member is not types.NoneType]
    optional = len(classes) < len(members)
    encode, decode = converters(classes[0]) if len(classes) == 1 else variant_converters(classes)
    if not optional:
        return encode, decode
    return encode, lambda item: None if item is None else decode(item)


def variant_converters(classes: Sequence[type]) -> tuple[Encode, Decode]:
    tags = {VARIANT_TAGS[class_]: class_ for class_ in classes}
    assert len(tags) == len(classes), "tags are unique within a union"
    encoders = {class_: tagged_encoder(tag, class_) for tag, class_ in tags.items()}
    decoders = {tag: class_decoder(class_) for tag, class_ in tags.items()}

    def encode(value: Any) -> bytes:
        return encoders[type(value)](value)

    def decode(item: Any) -> Any:
        tag, fields = tagged(item, "a member of a union")
        if tag not in decoders:
            raise CodecError(f"variant tag {tag} is unknown")
        return decoders[tag](fields)

    return encode, decode


COMMANDS: Final = Codec(COMMAND_TAGS)


def decode_commands(payload: bytes) -> list[Command]:
    """The commands of one batch of a partition's log.  Raises CodecError."""
    return cast("list[Command]", COMMANDS.decode(payload))
