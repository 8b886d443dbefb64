"""Finds every error code that the source can raise, by reading syntax trees; `errors_doc` writes them down.

A code is the first argument of an `EmeritError` subclass. Where that is not a literal, the few ways in which the
source passes codes around are followed: a parameter of the enclosing function, a local name, a module constant, a
field of the enclosing class, an f-string of those. What cannot be followed is reported, not left out.
"""

from __future__ import annotations

import ast
import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SHIPPED = ("src/emerit", "node/emerit_node", "validator/emerit_validator")
Function = ast.FunctionDef | ast.AsyncFunctionDef
# Codes computed from something else than literals, and documented from where they come.
COMPUTED = {"kebab"}
# The codec's reader joins a kind and a reason; these pairs it never makes, since the caller has no such check.
NEVER_JOINED = {"blob-table"} | {
    f"aggregate-{reason}"
    for reason in (
        *("codec", "feedback", "level", "scale"),
        *("wrong-author", "wrong-base", "wrong-chain", "wrong-run", "wrong-table"),
    )
}


@dataclass(frozen=True)
class Site:
    """One place that raises: where, the class of the error, its codes, and its cause and fix as far as literal."""

    where: str
    error_class: str
    codes: frozenset[str]
    cause: str
    fix: str


@dataclass
class Scan:
    """All error sites, and the places whose code could not be followed."""

    sites: list[Site] = field(default_factory=list)
    unresolved: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Context:
    """Where an expression stands: its module, and the class and function around it."""

    module: ast.Module
    cls: ast.ClassDef | None = None
    function: Function | None = None


Call = tuple[ast.Call, Context]


def error_classes(root: Path) -> dict[str, int]:
    """Return each class of the error tree with its exit code, read from errors.py."""
    found: dict[str, int] = {}
    for node in ast.parse((root / "src/emerit/errors.py").read_text()).body:
        if not isinstance(node, ast.ClassDef):
            continue
        bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
        code = next((found[base] for base in bases if base in found), 1)
        for item in node.body:
            target = item.target if isinstance(item, ast.AnnAssign) else None
            if isinstance(target, ast.Name) and target.id == "exit_code" and isinstance(item, ast.AnnAssign):
                code = ast.literal_eval(item.value) if item.value else code
        found[node.name] = code
    return found


def scan(root: Path) -> Scan:
    """Read the shipped source below `root` and return what it can raise."""
    classes = error_classes(root)
    finder = _Finder()
    named: dict[int, str] = {}
    for folder in SHIPPED:
        for path in sorted((root / folder).rglob("*.py")):
            module = ast.parse(path.read_text(encoding="utf-8"))
            named[id(module)] = str(path.relative_to(root))
            finder.read(module)
    result = Scan()
    for name in classes:
        for call, context in finder.calls[name]:
            where = f"{named[id(context.module)]}:{call.lineno}"
            code = _argument(call, 0, "code")
            codes = finder.values(code, context) if code is not None else None
            if codes is None:
                result.unresolved.append(f"{where} {ast.unparse(call)[:80]}")
            elif codes:
                cause, fix = _argument(call, 1, "cause"), _argument(call, 2, "fix")
                result.sites.append(Site(where, name, frozenset(codes - NEVER_JOINED), _shown(cause), _shown(fix)))
    result.sites.sort(key=lambda site: site.where)
    return result


class _Finder:
    """Index of calls by the name called, and the search for what an expression can be."""

    def __init__(self) -> None:
        self.calls: dict[str, list[Call]] = defaultdict(list)
        self.constants: dict[str, list[tuple[ast.expr, Context]]] = defaultdict(list)

    def read(self, module: ast.Module) -> None:
        for node, context in _walk(module, Context(module)):
            if isinstance(node, ast.Call):
                name = _called(node)
                # `cls(...)` and `type(self)(...)` make what the class around them is.
                if name == "cls" and context.cls is not None:
                    name = context.cls.name
                self.calls[name].append((node, context))
                if isinstance(node.func, ast.Attribute):
                    self.calls[f".{name}"].append((node, context))
            elif isinstance(node, ast.Assign | ast.AnnAssign) and context == Context(module):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                if isinstance(target, ast.Name) and node.value is not None:
                    self.constants[target.id].append((node.value, context))

    def values(self, node: ast.expr, at: Context, seen: frozenset[int] = frozenset()) -> set[str] | None:
        """Return the strings that `node` can be; empty for what was coded elsewhere; None where unknown."""
        if id(node) in seen:
            return set()
        seen |= {id(node)}
        if isinstance(node, ast.Constant):
            return {str(node.value)}
        if isinstance(node, ast.IfExp):
            return _union(self.values(part, at, seen) for part in (node.body, node.orelse))
        if isinstance(node, ast.JoinedStr):
            return self._joined(node, at, seen)
        if isinstance(node, ast.Name):
            return self._name(node.id, at, seen)
        if isinstance(node, ast.Attribute):
            if node.attr == "code":
                return set()  # an error raised again under its own code
            if isinstance(node.value, ast.Name) and node.value.id == "self" and at.cls is not None:
                return self._field(node.attr, at, seen)
        if isinstance(node, ast.Call) and _called(node) in COMPUTED:
            return set()
        return None

    def _joined(self, node: ast.JoinedStr, at: Context, seen: frozenset[int]) -> set[str] | None:
        choices: list[set[str]] = []
        for part in node.values:
            values = self.values(part.value if isinstance(part, ast.FormattedValue) else part, at, seen)
            if values is None:
                return None
            choices.append(values)
        return {"".join(parts) for parts in itertools.product(*choices)}

    def _name(self, name: str, at: Context, seen: frozenset[int]) -> set[str] | None:
        if at.function is not None:
            position = _position(at.function, name)
            if position is not None:
                method = at.cls is not None and not _is_static(at.function)
                called = f".{at.function.name}" if at.cls is not None else at.function.name
                if at.function.name == "__init__" and at.cls is not None:
                    called = at.cls.name
                return self._passed(called, position - method, name, _default(at.function, name), at, seen)
            assigned = [*_assigned(at.function, name), *self._looped(at, name)]
            if assigned:
                return _union(self.values(value, at, seen) for value in assigned)
        known = [item for item in self.constants[name] if item[1].module is at.module] or self.constants[name]
        return _union(self.values(value, context, seen) for value, context in known) if known else None

    def _looped(self, at: Context, name: str) -> Iterator[ast.expr]:
        """Yield what `name` becomes in loops over literal rows, as in `for code, text in ROWS`."""
        for node in ast.walk(at.function or at.module):
            if not isinstance(node, ast.For):
                continue
            rows: ast.expr | None = node.iter
            if isinstance(rows, ast.Name):
                rows = next((v for v, context in self.constants[rows.id] if context.module is at.module), None)
            targets = node.target.elts if isinstance(node.target, ast.Tuple) else [node.target]
            position = next((n for n, to in enumerate(targets) if isinstance(to, ast.Name) and to.id == name), None)
            if position is not None and isinstance(rows, ast.Tuple | ast.List):
                for row in rows.elts:
                    if isinstance(row, ast.Tuple | ast.List) and isinstance(node.target, ast.Tuple):
                        yield row.elts[position]
                    elif not isinstance(node.target, ast.Tuple):
                        yield row

    def _field(self, name: str, at: Context, seen: frozenset[int]) -> set[str] | None:
        assert at.cls is not None
        for method in at.cls.body:
            if isinstance(method, Function):
                for node in ast.walk(method):
                    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == f"self.{name}":
                        return self.values(node.value, Context(at.module, at.cls, method), seen)
        fields = [item for item in at.cls.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)]
        for position, item in enumerate(fields):
            if ast.unparse(item.target) == name:
                return self._passed(at.cls.name, position, name, item.value, at, seen)
        return None

    def _passed(
        self, called: str, position: int, name: str, default: ast.expr | None, at: Context, seen: frozenset[int]
    ) -> set[str] | None:
        """Return what all callers of `called` pass for one parameter."""
        found: list[set[str] | None] = []
        calls = self.calls[called]
        if called.lstrip(".").startswith("_"):
            calls = [item for item in calls if item[1].module is at.module]
        elif not called.startswith(".") and called[:1].islower():
            calls = [item for item in calls if isinstance(item[0].func, ast.Name)]
        for call, context in calls:
            value = _argument(call, position, name)
            if value is not None:
                found.append(self.values(value, context, seen))
            elif default is not None:
                found.append(self.values(default, at, seen))
        return _union(iter(found)) if found else None


def _walk(node: ast.AST, context: Context) -> Iterator[tuple[ast.AST, Context]]:
    for child in ast.iter_child_nodes(node):
        yield child, context
        inner = context
        if isinstance(child, ast.ClassDef):
            inner = Context(context.module, child)
        elif isinstance(child, Function):
            # A function inside a method is no method, but what it closes over belongs to the method.
            inner = Context(context.module, context.cls if context.function is None else None, child)
        yield from _walk(child, inner)


def _called(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _argument(call: ast.Call, position: int, name: str) -> ast.expr | None:
    if position < len(call.args) and not any(isinstance(arg, ast.Starred) for arg in call.args[: position + 1]):
        return call.args[position]
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


def _position(function: Function, name: str) -> int | None:
    names = [arg.arg for arg in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
    return names.index(name) if name in names else None


def _default(function: Function, name: str) -> ast.expr | None:
    positional = [*function.args.posonlyargs, *function.args.args]
    with_default = zip(reversed(positional), reversed(function.args.defaults), strict=False)
    keyword_only = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    return next((value for arg, value in (*with_default, *keyword_only) if arg.arg == name), None)


def _is_static(function: Function) -> bool:
    return any(isinstance(item, ast.Name) and item.id == "staticmethod" for item in function.decorator_list)


def _assigned(function: Function, name: str) -> Iterator[ast.expr]:
    for node in ast.walk(function):
        if not isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) or node.value is None:
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Name) and target.id == name:
                yield node.value
            elif isinstance(target, ast.Tuple):
                wholes = [node.value.body, node.value.orelse] if isinstance(node.value, ast.IfExp) else [node.value]
                for whole in wholes:
                    if isinstance(whole, ast.Tuple) and len(whole.elts) == len(target.elts):
                        pairs = zip(target.elts, whole.elts, strict=True)
                        yield from (item for to, item in pairs if isinstance(to, ast.Name) and to.id == name)


def _union(parts: Iterator[set[str] | None]) -> set[str] | None:
    total: set[str] = set()
    for part in parts:
        if part is None:
            return None
        total |= part
    return total


def _shown(node: ast.expr | None) -> str:
    """Return a literal text with an ellipsis for each value in it; empty where it is computed."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return ""
