"""The docstrings are plain text, made for `help` and for the source; this makes reStructuredText of them.

Kept are paragraphs, indented code, `names` in backticks, and the lines of a paragraph that begin with an argument's
name, "Returns", an exception or "Source:".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sphinx.application import Sphinx

# The first line of a docstring of pybind11.
SIGNATURE = re.compile(r"\w+\(.*\) -> .+$")
ITEM = re.compile(r"(?P<name>\*{0,2}\w+(?:, \*{0,2}\w+)*)(?P<colon>: )|Returns\b|[A-Z]\w*Error\b|Source: ")


def _escaped(text: str) -> str:
    """What is in backticks as code, everything else as it stands."""
    parts = re.split(r"`([^`]+)`", text)
    parts[::2] = [re.sub(r"([\\*`|_])", r"\\\1", part) for part in parts[::2]]
    parts[1::2] = [f"\\ ``{part}``\\ " for part in parts[1::2]]
    return "".join(parts).strip()


def _item(text: str) -> str:
    """One line; an argument's name at its beginning is set off."""
    match = ITEM.match(text)
    if match is None or match["name"] is None:
        return _escaped(text)
    names = ", ".join(f"**{_escaped(name)}**" for name in match["name"].split(", "))
    return f"{names}: {_escaped(text[match.end() :])}"


def _paragraph(lines: list[str]) -> list[str]:
    if all(line.startswith("    ") for line in lines):
        return ["::", "", *lines, ""]
    items: list[str] = []
    for line in lines:
        if not items or ITEM.match(line):
            items.append(line)
        else:
            items[-1] += " " + line.strip()
    if len(items) == 1:
        return [_item(items[0]), ""]
    return [*(f"| {_item(item)}" for item in items), ""]


def converted(lines: list[str]) -> list[str]:
    """A docstring's lines as reStructuredText."""
    if lines and SIGNATURE.match(lines[0]):
        lines = lines[1:]
    if "Members:" in lines:  # of an enumeration of pybind11: they have entries
        lines = lines[: lines.index("Members:")]
    return [line for paragraph in _paragraphs(lines) for line in _paragraph(paragraph)]


def _paragraphs(lines: list[str]) -> Iterator[list[str]]:
    paragraph: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            paragraph.append(line.rstrip())
        elif paragraph:
            yield paragraph
            paragraph = []


def _process(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    lines[:] = converted(list(lines))


def _signature(app: Sphinx, what: str, name: str, value: Any, options: Any, arguments: Any, returns: Any) -> Any:
    """pybind11's arguments as a reader passes them: without self, and what can be an int is called int."""
    if not arguments:
        return None
    arguments = re.sub(r"^\(self: [\w.]+(, )?", "(", arguments)
    arguments = re.sub(r"typing\.Supports(Int|Float) \| typing\.SupportsIndex", lambda m: m[1].lower(), arguments)
    return arguments, returns


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", _process)
    app.connect("autodoc-process-signature", _signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
