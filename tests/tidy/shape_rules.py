"""How code is cut: lengths, docstrings, no mutable state at module level."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from tests.tidy.sources import Finding, Source

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 600
FUNCTION_LINES_MEDIAN_MAX = 10

Function = ast.FunctionDef | ast.AsyncFunctionDef

MUTABLE_CALLS = (
    "list",
    "dict",
    "set",
    "bytearray",
    "defaultdict",
    "deque",
    "OrderedDict",
    "Counter",
    "ChainMap",
    "count",
)
MUTABLE_DISPLAYS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
# mypy refuses to change a value annotated like this.
READ_ONLY = ("Mapping", "Sequence", "Collection", "Iterable", "AbstractSet", "tuple")
MODULE_LEVEL_NAMES = ("__all__", "pytest_plugins")
# (path, name): why it may.
MUTABLE = {
    ("sim/understudy_sim/kernel/reaper.py", "_UNDEAD"): "nothing reads it; it keeps the collector from the undead",
}


def check_lengths(source: Source) -> list[Finding]:
    """A file and its functions stay short enough to be read in one go."""
    findings = []
    lines = source.text.count("\n")
    if lines > FILE_LINES_MAX:
        findings.append(Finding(source.path, 1, f"{lines} lines, at most {FILE_LINES_MAX}: split it by topic"))
    for function in functions(source.tree):
        length = function_lines(function)
        if length > FUNCTION_LINES_MAX:
            message = f"{function.name} has {length} lines, at most {FUNCTION_LINES_MAX}: give its steps names"
            findings.append(Finding(source.path, function.lineno, message))
    return findings


def check_median(path: str, sources: Sequence[Source]) -> list[Finding]:
    """Most functions of a package are a few lines."""
    lengths = sorted(function_lines(f) for source in sources for f in functions(source.tree))
    if not lengths or lengths[len(lengths) // 2] <= FUNCTION_LINES_MEDIAN_MAX:
        return []
    median = lengths[len(lengths) // 2]
    return [Finding(path, 1, f"the median function has {median} lines, at most {FUNCTION_LINES_MEDIAN_MAX}")]


def functions(tree: ast.Module) -> Iterator[Function]:
    """Every function and method."""
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node


def function_lines(function: Function) -> int:
    """Lines of code and comment from `def` to the end, without its docstring."""
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None and first.end_lineno is not None:
        lines -= first.end_lineno - first.lineno + 1
    return lines


def check_docstring(source: Source) -> list[Finding]:
    """Each module opens with a claim: one sentence, ended."""
    docstring = ast.get_docstring(source.tree)
    if not docstring:
        return [Finding(source.path, 1, "no module docstring: say what it is, what it is not, and its rules")]
    if not docstring.split("\n\n")[0].rstrip().endswith((".", ":", "!", "?", ")", "`")):
        return [Finding(source.path, 1, "the docstring's first paragraph is no sentence")]
    return []


def check_module_state(source: Source) -> list[Finding]:
    """Module level holds constants, read-only tables and loggers: a run leaves nothing behind for the next."""
    findings = [
        Finding(source.path, node.lineno, f"global {', '.join(node.names)}: pass it as an argument")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Global)
    ]
    for statement in _module_level(source.tree.body):
        name = _mutable_name(statement)
        if name is not None and name not in MODULE_LEVEL_NAMES and (source.path, name) not in MUTABLE:
            message = f"{name} is mutable at module level: a tuple, MappingProxyType, or a read-only annotation"
            findings.append(Finding(source.path, statement.lineno, message))
    return findings


def _module_level(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With):
            yield from _module_level(statement.body)


def _mutable_name(statement: ast.stmt) -> str | None:
    if isinstance(statement, ast.Assign) and _is_mutable(statement.value):
        return ast.unparse(statement.targets[0])
    if isinstance(statement, ast.AnnAssign) and statement.value is not None and _is_mutable(statement.value):
        return None if _is_read_only(statement.annotation) else ast.unparse(statement.target)
    return None


def _is_mutable(node: ast.expr) -> bool:
    if isinstance(node, MUTABLE_DISPLAYS):
        return True
    if not isinstance(node, ast.Call):
        return False
    function = node.func.value if isinstance(node.func, ast.Subscript) else node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in MUTABLE_CALLS


def _is_read_only(annotation: ast.expr) -> bool:
    if isinstance(annotation, ast.Subscript):
        head = annotation.value
        name = head.attr if isinstance(head, ast.Attribute) else getattr(head, "id", "")
        return _is_read_only(annotation.slice) if name == "Final" else name in READ_ONLY
    return isinstance(annotation, ast.Name) and annotation.id in READ_ONLY
