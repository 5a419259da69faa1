"""What tells one version of an application from another: a hash of what it offers and of the source it is made of.

Two runs of the same code give the same 16 bytes, on every machine and Python version; comments, docstrings and
formatting do not count.  The source is that of the modules the handlers are defined in, and of the modules of the same
project that those use, however far: a change that is seen although it changes nothing costs a resume, one that is
missed would be met by the journals in flight.
"""

from __future__ import annotations

import ast
import hashlib
import json
import linecache
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

from understudy.api.handler import Handler
from understudy.api.sites import is_user_code

FINGERPRINT_BYTES: Final = 16
# Ours, wherever they are installed.
_NOT_OF_THE_PROJECT: Final = ("understudy", "understudy_runtime", "understudy_sim")
# What documents a handler changes nothing about it.
_WORDS: Final = ("documentation", "metadata")
_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
_DOCUMENTED: Final = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def fingerprint_of(version: str | None, manifest: Mapping[str, Any], handlers: Iterable[Handler]) -> bytes:
    """The fingerprint of an application; of *version* alone where its author gives one."""
    digest = hashlib.blake2b(digest_size=FINGERPRINT_BYTES)
    if version is not None:
        digest.update(b"version\0" + version.encode())
        return digest.digest()
    digest.update(b"source\0" + json.dumps(_without_words(manifest), sort_keys=True).encode())
    found = list(handlers)
    modules = reached(dict.fromkeys(one.function.__module__ for one in found))
    for name in sorted(modules):
        digest.update(b"\0" + name.encode() + b"\0" + _normalized(modules[name]))
    for one in found:
        if one.function.__module__ not in modules:
            digest.update(b"\0" + f"{one.service}/{one.name}".encode() + b"\0" + _code(one.function))
    return digest.digest()


def reached(names: Iterable[str]) -> dict[str, str]:
    """The modules *names*, and those of the same project they use, each with its source.  Without those without one."""
    found: dict[str, str] = {}
    left = list(names)
    seen: dict[str, None] = {}
    while left:
        name = left.pop()
        module = sys.modules.get(name)
        if name in seen or module is None or not _is_of_the_project(module):
            continue
        seen[name] = None
        source = "".join(linecache.getlines(module.__file__ or ""))
        if source:
            found[name] = source
            left += _imported(module, source)
        left += _used(module)
    return found


def _imported(module: ModuleType, source: str) -> Iterator[str]:
    """The names of the modules *source* imports as it is loaded: a value does not say where it is from.

    What a function imports is left out: it may not be there yet, and two looks would differ.
    """
    left: list[ast.AST] = [_parsed(source)]
    while left:
        node = left.pop()
        if not isinstance(node, _FUNCTIONS):
            left += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = (getattr(module, "__package__", None) or "").split(".")
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{one.name}" for one in node.names)


def _parsed(source: str) -> ast.Module:
    """*source* as a tree; an empty one where it is no Python."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return ast.Module([], [])


def _used(module: ModuleType) -> Iterator[str]:
    """The names of the modules *module* holds, or holds something of."""
    for value in list(vars(module).values()):
        if isinstance(value, ModuleType):
            yield value.__name__
        else:
            owner = getattr(value, "__module__", None)
            if isinstance(owner, str):
                yield owner


def _is_of_the_project(module: ModuleType) -> bool:
    filename = getattr(module, "__file__", None)
    root = module.__name__.partition(".")[0]
    return isinstance(filename, str) and root not in _NOT_OF_THE_PROJECT and is_user_code(filename)


def _without_words(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_words(item) for key, item in value.items() if key not in _WORDS}
    if isinstance(value, list | tuple):
        return [_without_words(item) for item in value]
    return value


def _normalized(source: str) -> bytes:
    """*source* without what does not count; as it is where it is no Python."""
    tree = _parsed(source)
    if not tree.body:
        return source.encode()
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return "".join(_dumped(tree)).encode("utf-8", "surrogatepass")


def _dumped(node: object) -> Iterator[str]:
    """A tree as text.  Fields that are empty are left out: newer Pythons have more of them."""
    if isinstance(node, ast.AST):
        yield f"{type(node).__name__}("
        for name in sorted(node._fields):
            value = getattr(node, name, None)
            if value not in (None, []) and not isinstance(value, ast.Load):
                yield f"{name}="
                yield from _dumped(value)
        yield ")"
    elif isinstance(node, list):
        yield "["
        for one in node:
            yield from _dumped(one)
        yield "]"
    else:
        yield f"{type(node).__name__}:{node!r};"


def _code(function: Any) -> bytes:
    """What a function compiles to: for code that has no source, such as what was typed in."""
    inner = getattr(function, "__wrapped__", function)
    return _compiled(inner.__code__) if isinstance(inner, FunctionType) else repr(type(function)).encode()


def _compiled(code: CodeType) -> bytes:
    parts = [code.co_code, repr(code.co_names).encode()]
    for constant in code.co_consts:
        parts.append(_compiled(constant) if isinstance(constant, CodeType) else repr(constant).encode())
    return b"\0".join(parts)
