"""The files of python/weft and of bench import each other in one direction only: each can be read after those below."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import ROOT

Graph = dict[str, set[str]]


def modules(package: Path) -> dict[str, Path]:
    """The files of a package by their names; weft.kernels, which is compiled, by its stub."""
    found = {}
    for path in sorted(p for p in package.rglob("*.py*") if p.suffix in (".py", ".pyi")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def executed(node: ast.AST) -> Iterator[ast.AST]:
    """All statements, also those of functions, but for what only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            continue
        yield child
        yield from executed(child)


def imported(path: Path, name: str) -> Iterator[tuple[str, str]]:
    """What a file imports: a module, and what is taken from it."""
    inside = name.split(".") if path.stem == "__init__" else name.split(".")[:-1]
    for node in executed(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = inside[: len(inside) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((module, alias.name) for alias in node.names)


def graph(package: Path) -> Graph:
    """Which files of a package each of them imports."""
    known = modules(package)
    edges: Graph = {name: set() for name in known}
    for name, path in known.items():
        for module, taken in imported(path, name):
            file = f"{module}.{taken}" if f"{module}.{taken}" in known else module
            if file in known and file != name:
                edges[name].add(file)
    return edges


def circles(edges: Graph) -> list[list[str]]:
    """The strongly connected components of more than one file: those that reach each other."""

    def reached(start: str) -> set[str]:
        found, waiting = set(), [start]
        while waiting:
            for name in edges[waiting.pop()] - found:
                found.add(name)
                waiting.append(name)
        return found

    reach = {name: reached(name) for name in edges}
    groups = {tuple(sorted(other for other in reach[name] if name in reach[other])) for name in edges}
    return sorted(list(group) for group in groups if len(group) > 1)


@pytest.mark.cpu
@pytest.mark.once
@pytest.mark.parametrize("package", ["python/weft", "bench"])
def test_no_circle_of_imports(package: str) -> None:
    edges = graph(ROOT / package)
    assert sum(map(len, edges.values())) > len(edges)  # the imports were found
    assert circles(edges) == []


@pytest.mark.cpu
@pytest.mark.once
def test_a_circle_is_found(tmp_path: Path) -> None:
    """Through a function and through a relative import; what is imported for types alone makes none."""
    package = tmp_path / "p"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("from p.inner import c\n")
    (package / "a.py").write_text("def f():\n    from p import b\n")
    (package / "b.py").write_text("from p.inner.c import thing\n")
    (package / "inner" / "__init__.py").write_text("")
    (package / "inner" / "c.py").write_text("from .. import a\nimport p.d\nimport os\n")
    (package / "d.py").write_text("if TYPE_CHECKING:\n    from p.inner import c\n")
    assert circles(graph(package)) == [["p.a", "p.b", "p.inner.c"]]
