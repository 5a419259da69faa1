"""Whether modules are still as they were right after their import: then they need not be imported again.

`Pristine.of` walks everything the modules reach that could change: their globals, their classes and functions, objects
and containers in them.  `holds` looks whether any of it did.  It is *not* a general comparison: the walk knows a fixed
list of kinds of objects, and modules that reach anything else (a lock, an iterator, a cache written in C) are never
called pristine.  So a wrong answer is only ever "import them again".
"""

from __future__ import annotations

import operator
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import partial
from typing import Any, Final

OBJECTS_MAX: Final = 20_000
_HEAP_TYPE: Final = 1 << 9
_WORD: Final = 8
# Cannot change, or change in ways nobody can see.
_INERT: Final = frozenset(
    (
        *("NoneType", "bool", "int", "float", "complex", "str", "bytes", "range", "ellipsis", "NotImplementedType"),
        *("code", "builtin_function_or_method", "wrapper_descriptor", "method_descriptor", "method-wrapper"),
        *("getset_descriptor", "member_descriptor", "classmethod_descriptor", "_abc_data", "_tuplegetter"),
        *("GenericAlias", "UnionType", "date", "datetime", "time", "timedelta", "timezone", "Decimal", "Fraction"),
        *("UUID", "Pattern", "slice", "weakref", "ReferenceType"),
    )
)
# What an import puts into every module.
_OF_THE_IMPORT: Final = frozenset(("__builtins__", "__spec__", "__loader__", "__cached__"))
_PLAIN_BASES: Final = (object, dict, list, set, tuple, frozenset, str, int, Exception, BaseException, type, Enum)


class _Unknown(Exception):
    """Something reachable is of a kind nobody knows to compare."""


class _Walk:
    """One walk.  *shared* are packages whose objects all incarnations have in common anyway: it stops at them."""

    def __init__(self, roots: Iterable[types.ModuleType], shared: tuple[str, ...]) -> None:
        self.shared = shared
        self.roots = {id(root): root for root in roots}
        self.seen: dict[int, object] = {}
        self.todo: list[Any] = list(self.roots.values())
        # What could change: a function that gives its parts, and the parts as they were.
        self.parts: list[tuple[Callable[[], Iterable[Any]], tuple[Any, ...]]] = []

    def run(self) -> None:
        while self.todo:
            found = self.todo.pop()
            if id(found) in self.seen:
                continue
            if len(self.seen) >= OBJECTS_MAX:
                raise _Unknown(f"more than {OBJECTS_MAX} objects")
            self.seen[id(found)] = found
            self.visit(found)

    def visit(self, found: Any) -> None:
        kind = type(found)
        if kind.__name__ in _INERT or kind.__module__ in ("typing", "logging", "inspect"):
            return
        visitor = _VISITORS.get(kind)
        if visitor is not None:
            visitor(self, found)
        elif isinstance(found, type):
            self.visit_class(found)
        else:
            self.visit_instance(found)

    def keep(self, parts: Callable[[], Iterable[Any]]) -> None:
        """Remember what *parts* gives now, and walk into it."""
        now = tuple(parts())
        self.parts.append((parts, now))
        self.todo.extend(now)

    def is_shared(self, module: str | None) -> bool:
        return module is not None and any(module == one or module.startswith(one + ".") for one in self.shared)

    def visit_module(self, module: types.ModuleType) -> None:
        if id(module) in self.roots:
            content = module.__dict__
            self.parts.append((content.keys, tuple(content)))
            self.keep(lambda: [value for name, value in content.items() if name not in _OF_THE_IMPORT])

    def visit_mapping(self, mapping: Mapping[Any, Any]) -> None:
        self.keep(mapping.keys)
        self.keep(mapping.values)

    def visit_function(self, function: types.FunctionType) -> None:
        if self.is_shared(function.__module__):
            return
        self.keep(lambda: (function.__code__, function.__defaults__, function.__kwdefaults__))
        self.visit_mapping(function.__dict__)
        if function.__closure__:
            self.todo.extend(function.__closure__)

    def visit_cell(self, cell: types.CellType) -> None:
        self.keep(lambda: _contents(cell))

    def visit_class(self, cls: type) -> None:
        ours = any(cls.__module__ == root.__name__ for root in self.roots.values())
        if ours and not self.is_shared(cls.__module__):
            self.visit_mapping(vars(cls))
            self.todo.extend(cls.__bases__)

    def visit_instance(self, found: Any) -> None:
        kind = type(found)
        if self.is_shared(kind.__module__):
            return
        slots = _slots_of(kind)
        if isinstance(found, (dict, types.MappingProxyType)):
            self.visit_mapping(found)
        elif isinstance(found, (list, set, frozenset, tuple)):
            self.keep(lambda: found)
        if slots:
            self.keep(lambda: [getattr(found, name, None) for name in slots])
        if hasattr(found, "__dict__"):
            self.visit_mapping(found.__dict__)


_VISITORS: Final[Mapping[type, Callable[[_Walk, Any], None]]] = types.MappingProxyType(
    {
        types.ModuleType: _Walk.visit_module,
        types.FunctionType: _Walk.visit_function,
        types.CellType: _Walk.visit_cell,
        types.MethodType: lambda walk, one: walk.todo.extend((one.__func__, one.__self__)),
        types.MappingProxyType: _Walk.visit_mapping,
        dict: _Walk.visit_mapping,
        list: lambda walk, one: walk.keep(lambda: one),
        deque: lambda walk, one: walk.keep(lambda: one),
        set: lambda walk, one: walk.keep(lambda: one),
        frozenset: lambda walk, one: walk.todo.extend(one),
        tuple: lambda walk, one: walk.todo.extend(one),
        property: lambda walk, one: walk.todo.extend((one.fget, one.fset, one.fdel)),
        classmethod: lambda walk, one: walk.todo.append(one.__func__),
        staticmethod: lambda walk, one: walk.todo.append(one.__func__),
        partial: lambda walk, one: walk.todo.extend((one.func, one.args, one.keywords)),
    }
)


class Pristine:
    """Some modules as they are now."""

    def __init__(self, walk: _Walk) -> None:
        self._parts = walk.parts
        self._alive = walk.seen  # Their addresses must not be used again.

    @classmethod
    def of(cls, modules: Iterable[types.ModuleType], shared: tuple[str, ...] = ()) -> Pristine | None:
        """Remember how *modules* are; None when they reach something that cannot be compared."""
        walk = _Walk(modules, shared)
        try:
            walk.run()
        except _Unknown:
            return None
        return cls(walk)

    def holds(self) -> bool:
        """Whether nothing has changed."""
        is_ = operator.is_
        for parts, before in self._parts:
            now = tuple(parts())
            if len(now) != len(before) or not all(map(is_, now, before)):
                return False
        return True


def _contents(cell: types.CellType) -> tuple[Any, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()


def _slots_of(kind: type) -> list[str]:
    """The slots of a class written in Python.  Raises _Unknown for a class with anything of C in it."""
    slots: list[str] = []
    for cls in kind.__mro__:
        if cls in _PLAIN_BASES:
            continue
        source = getattr(sys.modules.get(cls.__module__), "__file__", None) or ""
        if not cls.__flags__ & _HEAP_TYPE or not source.endswith(".py"):
            raise _Unknown(f"an object of {kind.__qualname__}")
        own = vars(cls).get("__slots__", ())
        slots.extend([own] if isinstance(own, str) else own)
    base = max(_size_of(plain) for plain in _PLAIN_BASES if issubclass(kind, plain))
    if _size_of(kind) > base + _WORD * (len(slots) + 2):
        raise _Unknown(f"an object of {kind.__qualname__}")
    return [name for name in slots if name not in ("__dict__", "__weakref__")]


def _size_of(cls: type) -> int:
    return cls.__basicsize__
