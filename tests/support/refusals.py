"""Every sentence by which hanwave refuses, read from its source: each a template, and how long it can become.

What counts: the sentences within a `raise` (and those that were first given a name, or that a function called there
returns), a permit's NotNow, a row's Refusal, an engine's ApplicationError, what a function of type `str | None` returns
(None: nothing stands against it), what a variable or a parameter `reason`, `why` or `wrong` is given, a
module's constants that are a sentence, and the reasons in the permit's SQL.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("hanwave", "workflows", "activities", "workers", "infra")
_CALLS = {"ApplicationError", "NotNow", "Refusal"}
_NAMED = {"reason", "why", "wrong"}
_PROSE = re.compile(r"[a-z`][^=({]*")
_SQL = re.compile(r"SELECT .* FROM")
_SQL_REASON = re.compile(r"THEN\s+('.*?'(?: \|\| .+)?)$", re.MULTILINE)

WORD = 24
"""Characters of a placeholder that nothing below knows: a number, a code, a state, a field's name: a word of hanwave's."""
BOUNDS = {
    # What somebody else gave, of any length: HanwaveError cuts its middle, and the sentence leaves it this much room.
    **dict.fromkeys(("path", "file", "folder", "state", "data", "out", "url", "address", "image", "files"), 60),
    **dict.fromkeys(("error", "message", "msg", "why", "refusal", "wrong"), 80),
    # What has a bound of its own.
    **dict.fromkeys(("release", "actor"), 64),
    "campaign": 63,
    "verb": 13,  # cancel_device
    **dict.fromkeys(("len", "number", "count", "n", "wave", "line", "limit", "per_stratum", "settled", "open"), 10),
    "join": 70,  # every Region
    "known": 133,  # every Outcome
    **dict.fromkeys(("digest", "hash", "previous", "checkpoint", "manufacturer_image_hash"), 64),
    **dict.fromkeys(("isoformat", "strerror", "model", "request_id", "response_id"), 48),
}
"""Characters of a placeholder, by the last name in it: what a sentence of ours must leave room for."""


@dataclass(frozen=True, slots=True, order=True)
class Refusal:
    """A sentence: where it is said, its template, and the most characters that it has."""

    module: str
    function: str
    template: str
    longest: int

    def __str__(self) -> str:
        return f"{self.module}:{self.function}: {self.template}"


@cache
def refusals() -> tuple[Refusal, ...]:
    """All of them, sorted, each once."""
    return tuple(sorted({found for path, tree in sources().items() for found in read_module(path, tree)}))


@cache
def sources() -> dict[Path, ast.Module]:
    """Every module of the product."""
    return {path: ast.parse(path.read_text()) for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))}


def read_module(path: Path, tree: ast.Module) -> Iterator[Refusal]:
    """Those of one module."""
    module = str(path.relative_to(ROOT))
    called, calls, constants = _called(tree), _CALLS | _takers(tree), _constants(tree)
    found = [(name, node) for name, scope in _scopes(tree) for node in _said(scope, called, calls, constants)]
    found += [(name, node) for name, node in constants.items() if _is_prose(node)]
    yield from (Refusal(module, name, template(node), longest(node)) for name, node in found if not _is_sql(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.JoinedStr) and "END AS reason" in (sql := _fixed(node)):
            yield from (Refusal(module, "SQL", said, len(said)) for said in _SQL_REASON.findall(sql))


def template(node: ast.expr) -> str:
    """A string expression as it reads, with what is put into it as {placeholders}."""
    match node:
        case ast.Constant(value=str(held)):
            return " ".join(held.split("\n"))
        case ast.JoinedStr(values=parts):
            return "".join(template(part) for part in parts)
        case ast.BinOp(left=left, right=right):
            return template(left) + template(right)
        case ast.FormattedValue(value=value, conversion=conversion, format_spec=spec):
            shown = f"!{chr(conversion)}" if conversion > 0 else ""
            return "{" + ast.unparse(value) + shown + (f":{template(spec)}" if spec else "") + "}"
    return "{" + ast.unparse(node) + "}"


def longest(node: ast.expr) -> int:  # noqa: PLR0911 - a return a form of string
    """The most characters of a string expression: its own, and each placeholder's by its cut, its format or BOUNDS."""
    match node:
        case ast.Constant(value=held):
            return len(str(held))
        case ast.JoinedStr(values=parts):
            return sum(map(longest, parts))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return longest(left) + longest(right)
        case ast.IfExp(body=one, orelse=other):
            return max(longest(one), longest(other))
        case ast.BoolOp(values=choices):
            return max(map(longest, choices))
        case ast.Subscript(slice=ast.Slice(upper=ast.Constant(value=int(most)))):
            return most
        case ast.Subscript(slice=ast.Slice(lower=ast.UnaryOp(operand=ast.Constant(value=int(most))))):
            return most
        case ast.FormattedValue(value=value, conversion=conversion, format_spec=spec):
            return _formatted(value, template(spec) if spec else "") + 2 * (conversion == ord("r"))
    return BOUNDS.get(_last_name(node), WORD)


def _formatted(value: ast.expr, spec: str) -> int:
    if "%" in spec and not spec.endswith("%"):
        return len(f"{datetime(2026, 9, 30, tzinfo=UTC):{spec}}")
    cut = re.fullmatch(r"\.(\d+)", spec)
    if cut:
        return int(cut[1])
    return 10 if spec else longest(value)


def _last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Subscript(slice=ast.Constant(value=str(name))):
            return name
        case ast.Call(args=[ast.Name(id="error")]):
            return "error"
        case ast.Call(func=func):
            return _last_name(func)
    return ""


def _scopes(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """A module's functions and methods by their names; the module itself where one is raised outside all of them."""

    def within(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.AST]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{prefix}{child.name}"
                if not isinstance(child, ast.ClassDef):
                    yield name, child
                yield from within(child, f"{name}.")
            else:
                yield from within(child, prefix)

    yield from within(tree, "")


def _is_prose(node: ast.expr) -> bool:
    return len(_fixed(node).split()) > 3 and _PROSE.fullmatch(_fixed(node)) is not None


def _is_sql(node: ast.expr) -> bool:
    return _SQL.search(_fixed(node)) is not None


def _called(tree: ast.Module) -> set[str]:
    """The functions that a module calls for what it raises."""
    raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc]
    return {_last_name(node) for said in raised for node in ast.walk(said) if isinstance(node, ast.Call)}


def _takers(tree: ast.Module) -> set[str]:
    """The functions of a module that are given a reason, and those that only refuse."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {
        node.name
        for node in functions
        if {arg.arg for arg in node.args.args} & _NAMED or (node.returns and ast.unparse(node.returns) == "NoReturn")
    }


def _said(scope: ast.AST, called: set[str], calls: set[str], constants: dict[str, ast.expr]) -> Iterator[ast.expr]:
    refuses = _refuses(scope) or getattr(scope, "name", "") in called
    spoken = [said for node in _own(scope) if (said := _speaks(node, calls, refuses=refuses)) is not None]
    names = _NAMED | {node.id for said in spoken for node in ast.walk(said) if isinstance(node, ast.Name)}
    spoken += [
        node.value
        for node in _own(scope)
        if isinstance(node, ast.Assign | ast.NamedExpr | ast.AnnAssign) and node.value and _targets(node) & names
    ]
    for said in spoken:
        yield from _sentences(said)
    for name, held in constants.items():
        if name in names:
            yield from _sentences(held)


def _own(scope: ast.AST) -> Iterator[ast.AST]:
    """What stands in a function, without the functions in it."""
    for child in ast.iter_child_nodes(scope):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield child
            yield from _own(child)


def _speaks(node: ast.AST, calls: set[str], *, refuses: bool) -> ast.expr | None:
    match node:
        case ast.Raise(exc=ast.expr() as said):
            return said
        case ast.Call(func=func) if _last_name(func) in calls:
            return node
        case ast.keyword(arg=name, value=said) if name in _NAMED:
            return said
        case ast.Return(value=ast.expr() as said) if refuses:
            return said
    return None


def _refuses(scope: ast.AST) -> bool:
    """Whether a function makes refusals: it returns a sentence or None, or an error for its caller to raise."""
    returns = getattr(scope, "returns", None)
    said = ast.unparse(returns) if returns else ""
    return said == "str | None" or said.endswith("Error")


def _targets(node: ast.Assign | ast.NamedExpr | ast.AnnAssign) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}


def _sentences(node: ast.AST) -> Iterator[ast.expr]:
    """The string expressions in it, each whole, of more words than one."""
    if isinstance(node, ast.Constant | ast.JoinedStr) or (isinstance(node, ast.BinOp) and _fixed(node)):
        if " " in _fixed(node).strip():
            yield node
        return
    for child in ast.iter_child_nodes(node):
        yield from _sentences(child)


def _fixed(node: ast.AST) -> str:
    match node:
        case ast.Constant(value=str(held)):
            return held
        case ast.JoinedStr(values=parts):
            return "".join(_fixed(part) if isinstance(part, ast.Constant) else template(part) for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _fixed(left) + _fixed(right)
    return ""


def _constants(tree: ast.Module) -> dict[str, ast.expr]:
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and list(_sentences(node.value)):
            found[node.targets[0].id] = node.value
    return found
