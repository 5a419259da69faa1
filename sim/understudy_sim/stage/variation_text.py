"""A variation as one line of text, and back: what a replay line carries and a resumable search keeps.

JSON of what differs from the defaults, so that most variations are short and a field that is added changes no old text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import attrs
import cattrs
from cattrs.v import format_exception

from understudy_sim.stage import faults as fault_kinds
from understudy_sim.stage import operations
from understudy_sim.stage.faults import FaultSet, UnknownFault
from understudy_sim.stage.operations import Operation
from understudy_sim.stage.points import POINTS, TORN_POINTS
from understudy_sim.stage.variation import AS_DRAWN, BadVariation, PointCrash, Variation

OPERATIONS: Final[Mapping[str, type[Operation]]] = MappingProxyType(
    {
        one.__name__: one
        for one in vars(operations).values()
        if isinstance(one, type) and issubclass(one, Operation) and one is not Operation
    }
)


def to_text(variation: Variation) -> str:
    """*variation* as JSON on one line; empty for one that changes nothing."""
    changed = _changed(variation)
    return json.dumps(changed, separators=(",", ":"), sort_keys=True) if changed else ""


def from_text(text: str) -> Variation:
    """What `to_text` wrote.  Raises ValueError that says what was wrong with it."""
    if not text:
        return AS_DRAWN
    try:
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError(f"an object was expected, {type(found).__name__} was found")
        return _variation(found)
    except (ValueError, AssertionError) as error:
        shown = text if len(text) <= 60 else text[:60] + "…"
        raise ValueError(f"{shown!r} is no variation: {error}; take it from a replay line as it is") from error


def _told(error: Exception, name: str) -> str:
    """What is wrong with the field *name*, and where in it."""
    if isinstance(error, cattrs.BaseValidationError):
        return "; ".join(cattrs.transform_error(error, path=name, format_exception=_found))
    return f"{error} @ {name}"


def _found(error: BaseException, wanted: type | None) -> str:
    if isinstance(error, BadVariation | UnknownFault):
        return str(error)
    return format_exception(error, wanted)


def _changed(value: Any) -> dict[str, Any]:
    """The fields of an attrs value that are not as by default."""
    found = {}
    for field in attrs.fields(type(value)):
        given = getattr(value, field.name)
        if given != field.default:
            found[field.name] = _plain(given)
    return found


def _plain(value: Any) -> Any:
    match value:
        case FaultSet():
            return list(value.kinds)
        case Operation():
            return {type(value).__name__: _changed(value)}
        case tuple() | list():
            return [_plain(item) for item in value]
        case Mapping() if any(isinstance(key, tuple) for key in value):
            return [[*key, item] for key, item in value.items()]
        case Mapping():
            return {key: _plain(item) for key, item in value.items()}
    return _changed(value) if attrs.has(type(value)) else value


def _variation(found: Mapping[str, Any]) -> Variation:
    known = {field.name: field for field in attrs.fields(attrs.resolve_types(Variation))}
    if unknown := [name for name in found if name not in known]:
        raise ValueError(f"there is no {unknown[0]!r}; there are: {', '.join(known)}")
    converter = cattrs.Converter(forbid_extra_keys=True)
    given = {}
    for name, value in found.items():
        special = SPECIAL.get(name)
        wanted = known[name].type or object
        try:
            given[name] = special(value) if special is not None else converter.structure(value, wanted)
        except (ValueError, TypeError, KeyError, AttributeError, AssertionError, cattrs.BaseValidationError) as error:
            raise ValueError(_told(error, name)) from error
    variation = Variation(**given)
    if variation.crash_at is not None:
        _check_place(variation.crash_at)
    return variation


def _check_place(crash: PointCrash) -> None:
    if crash.point not in POINTS:
        raise ValueError(f"there is no point {crash.point!r}; there are: {', '.join(POINTS)}")
    sides = POINTS[crash.point].sides + (("torn",) if crash.point in TORN_POINTS else ())
    if crash.side not in sides:
        raise ValueError(f"{crash.point} has no side {crash.side!r}, only: {', '.join(sides)}")


def _overrides(rows: Sequence[tuple[str, int | None, int]]) -> dict[tuple[str, int | None], int]:
    for row in rows:
        label, ordinal, value = row
        if not isinstance(label, str) or type(ordinal) not in (int, type(None)) or type(value) is not int:
            raise ValueError(f"a label, a number or null, and a number were expected, {row} was found")
    return {(label, ordinal): value for label, ordinal, value in rows}


def _calls(rows: Sequence[Mapping[str, Mapping[str, Any]]]) -> tuple[Operation, ...]:
    found = []
    for row in rows:
        ((name, fields),) = row.items()
        if name not in OPERATIONS:
            raise ValueError(f"there is no operation {name!r}; there are: {', '.join(OPERATIONS)}")
        found.append(OPERATIONS[name](**fields))
    return tuple(found)


# Fields whose types JSON cannot tell.
SPECIAL: Final[Mapping[str, Callable[[Any], Any]]] = MappingProxyType(
    {"faults": lambda kinds: fault_kinds.only(*kinds), "overrides": _overrides, "calls": _calls}
)
