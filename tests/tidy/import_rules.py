"""Who may import whom: the layers of `docs/architecture.md` as a table.

Every product module belongs to the longest prefix in LAYERS.  A layer names what of ours it may import (prefixes) and
what it must never import although installed.  Imports under `if TYPE_CHECKING:` count: a layer that needs another's
types depends on it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import attrs

from tests.tidy.sources import Finding, Source

OURS = ("understudy", "understudy_runtime", "understudy_sim", "scenarios", "tests")
LOOPS = ("trio", "anyio", "asyncio", "sniffio", "outcome")
SERVER_THIRD_PARTY = ("cbor2", "h2", "httptools", "click", "rich", "structlog")
HYPOTHESIS = ("hypothesis",)


@attrs.frozen
class Layer:
    """What the modules under one prefix may import of ours, and what they may not import of others."""

    ours: tuple[str, ...]
    never: tuple[str, ...] = ()


VALUES = ("understudy_runtime.model", "understudy_runtime.limits", "understudy.protocol")
# Values to bytes and back, by field number: the log's records and the tables' rows share it.
CODEC = ("understudy_runtime.log.codec", "understudy_runtime.log.cbor")
WHOLE_SDK = ("understudy",)
PORTS = (
    "understudy_runtime.world",
    "understudy_runtime.storage.port",
    "understudy_runtime.invoker.port",
    "understudy_runtime.ingress.port",
    "understudy.hosting",
    # Not a port: one task's parking place, shared by all who wait.
    "understudy_runtime.slot",
)
# Shells that stand on another part's shell: the meta log is a log.
BELOW = (("understudy_runtime.meta.shell", "understudy_runtime.log.shell"),)
MODEL = Layer(
    (
        *VALUES,
        "understudy_sim.stage.model",
        "understudy_sim.stage.model_words",
        "understudy_sim.stage.model_entries",
        "understudy_sim.stage.model_requests",
    ),
    (*LOOPS, *HYPOTHESIS),
)
# The admin speaks HTTP as the ingress does: it shares the ingress's answers, never its shell.
CORES_BELOW: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "understudy_runtime.admin.core": tuple(
            f"understudy_runtime.ingress.{name}" for name in ("answers", "backend", "times")
        )
    }
)
CORE = Layer((*VALUES, "understudy_runtime.storage.port"), LOOPS)

LAYERS: Mapping[str, Layer] = MappingProxyType(
    {
        "understudy.protocol": Layer(("understudy.protocol",), (*LOOPS, *SERVER_THIRD_PARTY, *HYPOTHESIS)),
        "understudy.vm": Layer(("understudy.vm", "understudy.protocol"), (*LOOPS, *SERVER_THIRD_PARTY, *HYPOTHESIS)),
        "understudy.hosting": Layer(("understudy.protocol",), (*LOOPS, *HYPOTHESIS)),
        "understudy": Layer(WHOLE_SDK, (*SERVER_THIRD_PARTY, *HYPOTHESIS)),
        "understudy.__main__": Layer((*WHOLE_SDK, "understudy_runtime.cli"), HYPOTHESIS),
        "understudy_runtime.model": Layer(VALUES, (*LOOPS, *HYPOTHESIS)),
        "understudy_runtime.limits": Layer(VALUES, LOOPS),
        "understudy_runtime.machine": Layer((*CORE.ours, "understudy_runtime.machine", *CODEC), (*LOOPS, *HYPOTHESIS)),
        "understudy_runtime.world": Layer(("understudy_runtime.storage.port",), HYPOTHESIS),
        "understudy_runtime.storage": Layer((*VALUES, "understudy_runtime.storage"), (*LOOPS, *HYPOTHESIS)),
        "understudy_runtime.log": Layer((*VALUES, *PORTS, "understudy_runtime.log"), HYPOTHESIS),
        "understudy_runtime.snapshot": Layer((*VALUES, *PORTS, "understudy_runtime.snapshot"), HYPOTHESIS),
        "understudy_runtime.meta": Layer(
            (*VALUES, *PORTS, "understudy_runtime.meta", "understudy_runtime.log"), HYPOTHESIS
        ),
        "understudy_runtime.effects": Layer(
            (*VALUES, *PORTS, "understudy_runtime.effects", "understudy_runtime.machine"), HYPOTHESIS
        ),
        "understudy_runtime.invoker": Layer(
            (*VALUES, *PORTS, "understudy_runtime.invoker", "understudy_runtime.machine"), HYPOTHESIS
        ),
        # In process, the transport drives the SDK's app; nothing else of the invoker may see it.
        "understudy_runtime.invoker.inprocess": Layer((*VALUES, *PORTS, *WHOLE_SDK), HYPOTHESIS),
        "understudy_runtime.admin": Layer(
            (*VALUES, *PORTS, "understudy_runtime.admin", "understudy_runtime.ingress"), HYPOTHESIS
        ),
        "understudy_runtime.ingress": Layer((*VALUES, *PORTS, "understudy_runtime.ingress"), HYPOTHESIS),
        "understudy_runtime.http": Layer(
            (*VALUES, *PORTS, "understudy_runtime.http", "understudy_runtime.ingress"), HYPOTHESIS
        ),
        "understudy_runtime.telemetry": Layer((*VALUES, "understudy_runtime.telemetry"), HYPOTHESIS),
        "understudy_runtime.real_world": Layer(
            (
                *VALUES,
                *PORTS,
                "understudy_runtime.storage",
                "understudy_runtime.offload",
                "understudy_runtime.telemetry.stalls",
            ),
            (*HYPOTHESIS, "asyncio"),
        ),
        "understudy_runtime": Layer((*WHOLE_SDK, "understudy_runtime"), HYPOTHESIS),
        "understudy_runtime.cli": Layer((*WHOLE_SDK, "understudy_runtime", "understudy_sim.cli"), HYPOTHESIS),
        "understudy_sim.kernel": Layer(("understudy_sim.kernel",), ("anyio", *SERVER_THIRD_PARTY, *HYPOTHESIS)),
        "understudy_sim.kernel.choices": Layer(("understudy_sim.kernel",), LOOPS),
        "understudy_sim": Layer((*WHOLE_SDK, "understudy_runtime", "understudy_sim"), ("asyncio", *HYPOTHESIS)),
        "understudy_sim.drawn": Layer((*WHOLE_SDK, "understudy_runtime", "understudy_sim"), ("asyncio",)),
        # The reference model must not learn its rules from what it checks.
        "understudy_sim.stage.model": MODEL,
        "understudy_sim.stage.model_words": MODEL,
        "understudy_sim.stage.model_entries": MODEL,
        "understudy_sim.stage.model_requests": MODEL,
        "scenarios": Layer(("understudy", "understudy_sim", "scenarios"), ()),
        "tests": Layer(OURS, ()),
    }
)

# Modules only these may import: (module prefix, importers, why).
DOORS = (
    (
        "understudy_runtime.real_world",
        ("understudy_runtime.cli", "understudy_runtime.real_world", "tests"),
        "only a command line may choose the real world; take a World as an argument",
    ),
    (
        "understudy_runtime.cli",
        ("understudy_runtime.cli", "understudy.__main__", "tests"),
        "nothing builds on the command line; move what is needed into a part",
    ),
    ("tests", ("tests",), "tests are imported by nothing"),
)


def layer_of(module: str) -> str | None:
    """The longest prefix of *module* that is a row of LAYERS.  Any `…core` module is its own, stricter case."""
    prefixes = [prefix for prefix in LAYERS if _within(module, prefix)]
    return max(prefixes, key=len, default=None)


def check_imports(source: Source) -> list[Finding]:
    """All findings about what *source* imports."""
    layer = layer_of(source.module)
    if layer is None:
        return [Finding(source.path, 1, f"no layer for module {source.module}: add a row to LAYERS")]
    findings = []
    for line, name in imported_names(source):
        message = _refusal(source.module, layer, name)
        if message:
            findings.append(Finding(source.path, line, message))
    return findings


def _refusal(module: str, layer: str, name: str) -> str | None:
    rule = LAYERS[layer]
    for door, importers, why in DOORS:
        if _within(name, door) and not any(_within(module, importer) for importer in importers):
            return f"{module} may not import {name}: {why}"
    if _is_core(module):
        return _core_refusal(module, name)
    if _is_shell(name) and _is_shell(module) and _part(name) != _part(module) and not _stands_on(module, name):
        return f"a shell may not import another part's shell ({name}): let node.py hand it over"
    if name.split(".")[0] in OURS:
        if any(_within(name, allowed) for allowed in (*rule.ours, module)):
            return None
        # `from package import module` is read as package.module; the bare package is fine when a child is allowed.
        if any(_within(allowed, name) for allowed in rule.ours) and "." not in name:
            return None
        return f"{layer} may not import {name}; allowed of ours: {', '.join(rule.ours)}"
    if any(_within(name, banned) for banned in rule.never):
        return f"{layer} may not import {name}: keep it free of {name.split('.')[0]}"
    return None


def _core_refusal(module: str, name: str) -> str | None:
    """A core decides: values in, values out."""
    top = name.split(".")[0]
    if top in CORE.never:
        return f"a core never awaits ({module} imports {name}): move the act into the shell"
    own = (*CORE.ours, _part(module), *PORTS[2:4], *CORES_BELOW.get(module, ()))
    if top not in OURS or (any(_within(name, p) for p in own) and not _is_shell(name)):
        return None
    return f"a core may import values and its own part only, not {name}"


def _is_core(module: str) -> bool:
    return module.startswith("understudy_runtime.") and module.endswith(".core")


def _is_shell(module: str) -> bool:
    return module.startswith("understudy_runtime.") and ".shell" in module


def _stands_on(module: str, name: str) -> bool:
    return any(module == upper and _within(name, lower) for upper, lower in BELOW)


def _part(module: str) -> str:
    return ".".join(module.split(".")[:2])


def _within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def imported_names(source: Source) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import; `from a import b` is given as `a.b`."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(source, node)
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}" if base else alias.name


def _absolute(source: Source, node: ast.ImportFrom) -> str:
    if node.level == 0:
        return node.module or ""
    package = source.module.split(".")
    if not source.path.endswith("__init__.py"):
        package = package[:-1]
    package = package[: len(package) - node.level + 1]
    return ".".join([*package, *((node.module or "").split(".") if node.module else [])])
