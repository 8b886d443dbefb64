"""What the code never does: run what a stranger sent, swallow errors silently, name a machine or a registry."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.unit.house.tree import ROOT, python_files, shipped_python_files, source, syntax, tracked_files

# Modules whose loaders run code from the data.
CODE_RUNNING_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "joblib", "marshal"}
CODE_RUNNING_CALLS = {"torch.load", "torch.save", "torch.hub.load", "yaml.load", "pandas.read_pickle"}
BROAD = {"Exception", "BaseException"}
WORDS_OF_A_REASON = 3


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module.split(".")[0]


def unsafe_calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        if name in CODE_RUNNING_CALLS or name in {"eval", "exec", "builtins.eval", "builtins.exec", "__import__"}:
            yield node.lineno, name
        for keyword in node.keywords:
            constant = isinstance(keyword.value, ast.Constant) and keyword.value.value
            if keyword.arg in {"allow_pickle", "shell"} and constant is not False:
                yield node.lineno, f"{keyword.arg}="


def test_nothing_from_a_stranger_can_run() -> None:
    found = []
    for name in python_files():
        tree = syntax(name)
        found += [f"{name}:{line} {what}" for line, what in imported(tree) if what in CODE_RUNNING_MODULES]
        found += [f"{name}:{line} {what}" for line, what in unsafe_calls(tree)]
    assert not found, "\n" + "\n".join(found)


def has_reason(name: str, handler: ast.ExceptHandler) -> bool:
    """Whether a comment of a few words stands on the handler's line, the one above, or before its first statement."""
    text = source(name).splitlines()
    near = text[max(0, handler.lineno - 2) : handler.body[0].lineno]
    for line in near:
        comment = re.sub(r"noqa(:\s*[A-Z]+\d+)?", "", line.partition("#")[2])
        if len(re.findall(r"[A-Za-z]{2,}", comment)) >= WORDS_OF_A_REASON:
            return True
    return False


def passes_it_on(handler: ast.ExceptHandler) -> bool:
    """Whether the handler only cleans up and then raises the same error again."""
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def test_a_broad_except_says_why() -> None:
    unexplained = []
    for name in (*shipped_python_files(), *(item for item in python_files() if item.startswith("scripts/"))):
        for node in ast.walk(syntax(name)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            broad = any(kind is None or dotted(kind) in BROAD for kind in kinds)
            if broad and not passes_it_on(node) and not has_reason(name, node):
                unexplained.append(f"{name}:{node.lineno}")
    assert not unexplained, "\n" + "\n".join(unexplained)


# Put together from pieces, so that this file does not hold what it looks for.
MACHINE_PATHS = [re.escape("/" + path) for path in ("work/main", "work/shared", "opt/pypi", "opt/wheels", "tmp/w/")] + [
    r"(?<![\w.$}])/" + r"(home|Users)/[a-z]\w*/",
    r"(?<![\w.$}])/" + r"root/\w",
]
REGISTRY_HOSTS = [
    re.escape(".".join(parts))
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("registry", "yarnpkg", "com"),
        ("download", "pytorch", "org"),
        ("ghcr", "io"),
        ("quay", "io"),
        ("docker", "io"),
        ("unpkg", "com"),
        ("jsdelivr", "net"),
        ("huggingface", "co"),
    )
]


def test_no_file_names_a_machine_or_a_registry() -> None:
    pattern = re.compile("|".join(MACHINE_PATHS + REGISTRY_HOSTS))
    found = []
    for name in tracked_files():
        data = (ROOT / name).read_bytes()
        if b"\0" in data[:8192]:
            continue
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            match = pattern.search(line)
            if match:
                found.append(f"{name}:{number} {match.group()}")
    assert not found, "\n" + "\n".join(found)


def test_nothing_is_left_to_be_done() -> None:
    marks = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK")) + r")\b")
    found = []
    for name in tracked_files():
        if name.endswith((".py", ".sol", ".js", ".sh", ".yml", ".toml", ".md")) and "/vendor/" not in name:
            found += [f"{name}:{n}" for n, line in enumerate(source(name).splitlines(), 1) if marks.search(line)]
    raised = []
    for name in shipped_python_files():
        for node in ast.walk(syntax(name)):
            if isinstance(node, ast.Raise) and node.exc is not None and "NotImplemented" in ast.dump(node.exc):
                raised.append(f"{name}:{node.lineno}")
    assert not (found + raised), "\n" + "\n".join(found + raised)
