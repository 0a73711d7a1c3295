"""Writes docs/reference: a page for each public module, from what the modules say of themselves.

A module is public where the `__all__` of the package above names it, a name where its module's `__all__` does (without
one: what is defined there and has no underscore). So a new name appears by itself. An object that several modules
offer is documented in the highest one.
"""

from __future__ import annotations

import builtins
import importlib
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

from docutils.nodes import Text
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

LARGE = 40  # members from which on a class has a page of its own


class Reference:
    """All that is public: {module: {name: object}}, and where each object is documented."""

    def __init__(self, root: str) -> None:
        self.modules: dict[str, dict[str, Any]] = {}
        self.names: dict[str, str] = {}  # by the name that an object has where it is defined
        waiting, seen = [importlib.import_module(root)], set()
        while waiting:
            module = waiting.pop(0)
            names: dict[str, Any] = {}
            for name, value in _public(module).items():
                if isinstance(value, ModuleType):
                    waiting.append(value)
                elif id(value) not in seen or not callable(value):
                    seen.add(id(value))
                    names[name] = value
                    self.names[_defined(value)] = f"{module.__name__}.{name}"
            if names:
                self.modules[module.__name__] = names

    def stands_elsewhere(self, base: type) -> bool:
        """Whether the entry of a class leaves out what it has from `base`: that has its own, or is not weft's."""
        return _defined(base) in self.names or not base.__module__.startswith("weft")

    def members(self, cls: type) -> set[str]:
        """What the entry of a class lists."""
        own = [cls, *(base for base in cls.__mro__[1:] if not self.stands_elsewhere(base))]
        return {name for c in own for name in vars(c) if not name.startswith("_")}


def _public(module: ModuleType) -> dict[str, Any]:
    names = getattr(module, "__all__", None)
    if names is not None:
        return {name: getattr(module, name) for name in sorted(names)}
    return {
        name: value
        for name, value in sorted(vars(module).items())
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isroutine(value))
        and value.__module__ == module.__name__
    }


def _defined(value: Any) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', id(value))}"


def _heading(text: str, line: str) -> list[str]:
    return ["", text, line * len(text), ""]


def _class(reference: Reference, name: str, cls: type) -> list[str]:
    others = ", ".join(base.__name__ for base in cls.__mro__[1:] if reference.stands_elsewhere(base))
    options = [":members:", ":undoc-members:", f":inherited-members: {others}"]
    if any(_defined(base) in reference.names for base in cls.__bases__):
        options.append(":show-inheritance:")
    return [f".. autoclass:: {name}", *(f"   {option}" for option in options), ""]


def _table(names: list[str]) -> list[str]:
    return [".. autosummary::", "   :nosignatures:", "", *(f"   {name}" for name in names), ""]


def _page(reference: Reference, module: str, names: dict[str, Any]) -> dict[str, str]:
    """The module's page, and those of its large classes: {file without its ending: text}."""
    pages: dict[str, str] = {}
    classes = {n: v for n, v in names.items() if inspect.isclass(v)}
    functions = {n: v for n, v in names.items() if callable(v) and n not in classes}
    constants = {n: v for n, v in names.items() if n not in classes and n not in functions}
    lines = [*_heading(module, "="), f".. automodule:: {module}", ""]
    entries: list[str] = []
    if classes:
        lines += [*_heading("Classes", "-"), *_table(list(classes))]
    for name, value in classes.items():
        full = f"{module}.{name}"
        if len(reference.members(value)) < LARGE:
            entries += _class(reference, full, value)
        else:
            pages[full] = "\n".join([*_heading(full, "="), *_class(reference, full, value)])
    if functions:
        lines += [*_heading("Functions", "-"), *_table(list(functions))]
        entries += [f".. autofunction:: {module}.{name}\n" for name in functions]
    if constants:
        lines += _heading("Constants", "-")
        for kind in sorted({type(value).__name__ for value in constants.values()}):
            of_kind = [f"``{n}``" for n, v in constants.items() if type(v).__name__ == kind]
            lines += [f"{kind}: {', '.join(of_kind)}", ""]
    if entries:
        lines += [*_heading("In detail", "-"), *entries]
    return {module: "\n".join(lines), **pages}


def write(folder: Path) -> Reference:
    """The pages and their index. A page that is as before stays untouched, so that Sphinx does not read it again."""
    reference = Reference("weft")
    pages: dict[str, str] = {}
    for module, names in reference.modules.items():
        pages |= _page(reference, module, names)
    tree = [".. toctree::", "   :maxdepth: 1", "", *(f"   {name}" for name in sorted(pages, key=str.lower))]
    about = ["From the docstrings: what `help` shows. All names are torch's where torch has them.", ""]
    pages["index"] = "\n".join([*_heading("Reference", "="), *about, *tree, ""]).replace("`help`", "``help``")
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.rst"):
        if path.stem not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    return reference


def _resolve(app: Sphinx, env: Any, node: Any, content: Any) -> Any:
    """A type that a signature names as its module does: a link to where it is documented, or none.

    Types of other libraries, and those that are not public, stay text. Anything else is a warning."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    known = app.weft_reference.names.get(target)  # type: ignore[attr-defined]
    if known is not None:
        domain = env.get_domain("py")
        return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], known, node, content)
    return content if node["reftype"] in ("class", "obj", "data", "exc") and node.get("py:module") else None


def _leave_builtins(app: Sphinx, tree: Any) -> None:
    """`bool` in a signature is Python's, not the method of that name that Sphinx would find."""
    for node in list(tree.findall(pending_xref)):
        if node.get("refdomain") == "py" and hasattr(builtins, node["reftarget"]):
            node.replace_self(Text(node["reftarget"]))


def setup(app: Sphinx) -> dict[str, bool]:
    app.weft_reference = write(Path(app.srcdir) / "reference")  # type: ignore[attr-defined]
    app.connect("doctree-read", _leave_builtins)
    app.connect("missing-reference", _resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
