"""Names product code may not use: each with what to use instead, and the few files that may.

The product has one door to the outside (`World` in the server, `Host` in the SDK, the kernel's own ports in the
simulator).  A clock, a coin or a file reached in any other way is a run that cannot be replayed.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import attrs

from tests.tidy.sources import Finding, Source

Test = Callable[[Source], Iterator[ast.AST]]


@attrs.frozen
class Ban:
    """One banned thing: its name, what to use instead, and the path prefixes that may use it (with the reason)."""

    name: str
    instead: str
    allowed: Mapping[str, str]


REAL_WORLD = "runtime/understudy_runtime/real_world.py"
CLI = "runtime/understudy_runtime/cli/"
STAGE_CLI = "sim/understudy_sim/cli/"
REPL = "sim/understudy_sim/cli/repl.py"
PYTEST_PLUGIN = "sim/understudy_sim/stage/pytest_plugin.py"
STAGE_PLAY = "sim/understudy_sim/stage/play.py"
STAGE_SEARCH = "sim/understudy_sim/stage/search.py"
STAGE_WORKERS = "sim/understudy_sim/stage/workers.py"
STAGE_TELLING = "sim/understudy_sim/stage/telling.py"
STAGE_RUN = "sim/understudy_sim/stage/run.py"
MUTANTS = "sim/understudy_sim/mutants/"
FENCE = "sim/understudy_sim/kernel/fence"
ENDPOINT = "sdk/understudy/host.py"

DOOR = "it is the door"
TOOL = "a command on the real machine, outside every run"
REPLACES = "it replaces the name during a run"


def files(*pairs: tuple[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(pairs))


MODULES: tuple[Ban, ...] = (
    Ban(
        "time",
        "use world.now_ms() for the wall clock and trio.current_time() for durations; host.now_ms() in the SDK",
        files(
            (REAL_WORLD, DOOR),
            (CLI, TOOL),
            (STAGE_CLI, TOOL),
            (STAGE_SEARCH, TOOL),
            (STAGE_TELLING, TOOL),
            (MUTANTS, TOOL),
            (FENCE, REPLACES),
            (ENDPOINT, DOOR),
        ),
    ),
    Ban(
        "secrets",
        "use world.entropy(n)",
        files((REAL_WORLD, DOOR), (FENCE, REPLACES)),
    ),
    Ban(
        "socket",
        "use world.dial and world.listen",
        files(
            (REAL_WORLD, DOOR),
            (FENCE, REPLACES),
            ("sim/understudy_sim/kernel/sockets.py", "it is trio's socket port over the simulated network"),
        ),
    ),
    Ban(
        "threading",
        "use world.run_sync for blocking work; the product has one thread",
        files(
            (REAL_WORLD, DOOR),
            (FENCE, REPLACES),
            ("sim/understudy_sim/kernel/reaper.py", "its watchdog interrupts what spins, after the run"),
            ("sim/understudy_sim/kernel/spin.py", "its watchdog interrupts what spins"),
            (STAGE_WORKERS, "an executor may have threads: they take turns"),
            (MUTANTS, TOOL),
        ),
    ),
    Ban("_thread", "the product has one thread", files((FENCE, REPLACES))),
    Ban("select", "use trio streams from world.dial and world.listen", files()),
    Ban(
        "multiprocessing",
        "a process is the operator's to start; `--jobs` alone uses a pool",
        files((STAGE_CLI, TOOL), (MUTANTS, TOOL), (STAGE_WORKERS, TOOL)),
    ),
    Ban(
        "subprocess",
        "a process is the operator's to start",
        files((MUTANTS, TOOL), (f"{STAGE_CLI}torture.py", TOOL), (f"{STAGE_CLI}run.py", TOOL)),
    ),
    Ban(
        "tempfile",
        "write below the data folder through world.disk",
        files((MUTANTS, TOOL), (f"{STAGE_CLI}torture.py", TOOL)),
    ),
    Ban(
        "logging",
        "call observe(event); the command line turns events into logs",
        files(
            (CLI, TOOL),
            (ENDPOINT, "hazards are told to whoever runs an endpoint"),
            ("sdk/understudy/logging.py", "handlers log, and not again while they replay"),
            ("sim/understudy_sim/kernel/reaper.py", "what the dead log while they are freed is about nobody"),
            ("sim/understudy_sim/stage/guest_sdk.py", "it silences the official SDK, which logs every accident"),
        ),
    ),
    Ban("pickle", "values lie in CBOR with numbered fields", files()),
)

ATTRIBUTES: tuple[Ban, ...] = (
    Ban("os.urandom", "use world.entropy(n)", files((REAL_WORLD, DOOR), (FENCE, REPLACES), (ENDPOINT, DOOR))),
    Ban("os.getpid", "name processes by their world", files((CLI, TOOL), (REAL_WORLD, DOOR), (MUTANTS, TOOL))),
    Ban(
        "os.environ",
        "take settings as arguments; the command line reads the environment",
        files(
            (CLI, TOOL),
            (STAGE_CLI, TOOL),
            (MUTANTS, TOOL),
            (PYTEST_PLUGIN, TOOL),
            (STAGE_PLAY, "the operator's part: user code finds its providers there"),
            (STAGE_RUN, "it gives the process its environment back"),
            ("sim/understudy_sim/kernel/modules.py", "it looks whether an import would see anything else now"),
        ),
    ),
    Ban("datetime.now", "use world.now_ms()", files((FENCE, REPLACES))),
    Ban("datetime.utcnow", "use world.now_ms()", files((FENCE, REPLACES))),
    Ban("datetime.today", "use world.now_ms()", files((FENCE, REPLACES))),
    Ban("date.today", "use world.now_ms()", files((FENCE, REPLACES))),
    Ban("uuid.uuid1", "build the id from world.entropy(n)", files((FENCE, REPLACES))),
    Ban("uuid.uuid4", "build the id from world.entropy(n)", files((FENCE, REPLACES))),
)

CALLS: tuple[Ban, ...] = (
    Ban(
        "open",
        "use world.disk",
        files(
            (REAL_WORLD, DOOR),
            (CLI, TOOL),
            (STAGE_CLI, TOOL),
            (MUTANTS, TOOL),
            ("sim/understudy_sim/stage/large_pages.py", "it asks between runs what memory this process has"),
        ),
    ),
    Ban("input", "the product does not ask", files((REPL, "it asks what to do in a stopped run"))),
    Ban("print", "call observe(event), or click.echo on a command line", files((MUTANTS, TOOL))),
    Ban(
        "id",
        "give the thing a sequence number at birth",
        files(("sim/understudy_sim/kernel/pristine.py", "it meets each object once; no order comes of it")),
    ),
    Ban("hash", "use xxhash or blake2b: hash() differs from process to process", files()),
    Ban("eval", "say it in code", files((REPL, "`py` is for whoever debugs a run, who may run anything anyway"))),
    Ban(
        "exec",
        "say it in code",
        files(("sim/understudy_sim/kernel/modules.py", "it imports user modules afresh")),
    ),
)

# `random.Random(seed)` is arithmetic and fine; everything else of the module is the process's coin.
RANDOM = Ban(
    "random",
    "use world.entropy(n); random.Random(seed) with a recorded seed is fine; Choices in the simulator",
    files((FENCE, REPLACES)),
)
SETS = "iterate a dict or a sorted list: the order of a set differs from process to process"


def check_banned(source: Source) -> list[Finding]:
    """All banned names in a product file."""
    findings = [
        *_banned_modules(source),
        *_banned_attributes(source),
        *_banned_calls(source),
        *_random(source),
        *_set_iterations(source),
    ]
    return sorted(findings, key=lambda finding: finding.line)


def _refuse(source: Source, node: ast.AST, ban: Ban) -> Iterator[Finding]:
    if not any(source.path.startswith(prefix) for prefix in ban.allowed):
        yield Finding(source.path, getattr(node, "lineno", 1), f"{ban.name}: {ban.instead}")


def _banned_modules(source: Source) -> Iterator[Finding]:
    bans = {ban.name: ban for ban in MODULES}
    for node in ast.walk(source.tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module]
        for name in names:
            ban = bans.get(name.split(".")[0])
            if ban is not None:
                yield from _refuse(source, node, ban)


def _banned_attributes(source: Source) -> Iterator[Finding]:
    bans = {ban.name: ban for ban in ATTRIBUTES}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute):
            ban = bans.get(f"{_last_name(node.value)}.{node.attr}")
            if ban is not None:
                yield from _refuse(source, node, ban)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                ban = bans.get(f"{node.module}.{alias.name}")
                if ban is not None:
                    yield from _refuse(source, node, ban)


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def _banned_calls(source: Source) -> Iterator[Finding]:
    bans = {ban.name: ban for ban in CALLS}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in bans:
            yield from _refuse(source, node, bans[node.func.id])


def _random(source: Source) -> Iterator[Finding]:
    seeded: set[ast.AST] = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and _is_random_class(node.func) and node.args:
            seeded.add(node.func)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and _last_name(node.value) == "random" and node not in seeded:
            if node.attr != "Random" or _is_called(source, node):
                yield from _refuse(source, node, RANDOM)
        elif isinstance(node, ast.ImportFrom) and node.module == "random" and _names(node) != ["Random"]:
            yield from _refuse(source, node, RANDOM)


def _names(node: ast.ImportFrom) -> list[str]:
    return [alias.name for alias in node.names]


def _is_random_class(node: ast.expr) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr == "Random") or (
        isinstance(node, ast.Name) and node.id == "Random"
    )


def _is_called(source: Source, function: ast.expr) -> bool:
    return any(isinstance(node, ast.Call) and node.func is function for node in ast.walk(source.tree))


# Consumers whose result does not depend on the order they see.
ORDERLESS = ("sorted", "set", "frozenset", "len", "sum", "min", "max", "any", "all")


def _set_iterations(source: Source) -> Iterator[Finding]:
    """Loops, comprehensions and list()/tuple()/join() over something that is plainly a set."""
    known = _set_names(source.tree)
    orderless: set[ast.AST] = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ORDERLESS:
            orderless.update(node.args)
    for node in ast.walk(source.tree):
        for iterated in _iterated(node, orderless):
            if _is_set(iterated, known):
                yield Finding(source.path, iterated.lineno, SETS)


def _iterated(node: ast.AST, orderless: set[ast.AST]) -> Iterator[ast.expr]:
    if isinstance(node, ast.For | ast.AsyncFor):
        yield node.iter
    elif isinstance(node, ast.ListComp | ast.GeneratorExp | ast.DictComp):
        if node not in orderless:
            yield from (generator.iter for generator in node.generators)
    elif isinstance(node, ast.Starred):
        yield node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id in ("list", "tuple", "iter", "enumerate", "deque"):
            yield from node.args[:1]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr in ("join", "extend", "fromkeys"):
            yield from node.args[:1]
        elif node.func.attr == "pop" and not node.args:
            yield node.func.value


def _set_names(tree: ast.Module) -> set[str]:
    """Names and attribute names that this file assigns a set to, or annotates as one, and nothing else."""
    sets: set[str] = set()
    others: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign):
            (sets if _is_set_annotation(node.annotation) else others).add(_last_name(node.target))
        elif isinstance(node, ast.arg) and node.annotation is not None:
            (sets if _is_set_annotation(node.annotation) else others).add(node.arg)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                (sets if _is_set(node.value, set()) else others).add(_last_name(target))
    return (sets - others) | {name for name in sets if name.startswith("_")} - {""}


def _is_set_annotation(node: ast.expr) -> bool:
    head = node.value if isinstance(node, ast.Subscript) else node
    return _last_name(head) in ("set", "frozenset", "AbstractSet", "MutableSet", "Set", "FrozenSet")


def _is_set(node: ast.expr, known: set[str]) -> bool:
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in ("set", "frozenset")
    if isinstance(node, ast.BinOp):
        return _is_set(node.left, known) or _is_set(node.right, known)
    return isinstance(node, ast.Name | ast.Attribute) and _last_name(node) in known
