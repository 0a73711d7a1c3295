"""Draws the parts of weft and who uses whom, from the sources, as an SVG.

    python scripts/draw_architecture.py docs/images/architecture.svg

A box is a package of python/weft (or the files beside them, or the compiled module), or a folder of csrc (or a header
beside them). An arrow says that files of the one import or include files of the other when they are loaded. Left out
are arrows that a longer way makes anyway, and the thinner one of two opposite arrows. What expands the list
WEFT_KERNELS of backend.h implements it: there the arrow is dashed and points from the table to the implementation, as a
call goes. `make docs` draws the picture anew. Its colours are those of the page that it stands in, light or dark.
"""

from __future__ import annotations

import ast
import itertools
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

BOX_W, BOX_H, GAP_X, GAP_Y, MARGIN = 168, 46, 26, 34, 20
DUMMY_W = 20  # the way of an arrow that passes a row
COMPILED = "weft.kernels"

STYLE = """
.architecture { --ink: var(--color-foreground-primary, #1b1b1f); --soft: var(--color-foreground-muted, #5f6470);
  --fill: var(--color-background-secondary, #f5f5f7); --python: #3b76c4; --cpp: #c2703d;
  font-family: system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { .architecture { --ink: var(--color-foreground-primary, #e8e8ea);
  --soft: var(--color-foreground-muted, #a0a4ae); --fill: var(--color-background-secondary, #1f2126); } }
.architecture rect { fill: var(--fill); stroke-width: 1.5; }
.architecture .python { stroke: var(--python); }
.architecture .cpp { stroke: var(--cpp); }
.architecture text { fill: var(--ink); font-size: 14px; text-anchor: middle; }
.architecture .about { fill: var(--soft); font-size: 11px; }
.architecture path { fill: none; stroke: var(--soft); stroke-width: 1.3; }
.architecture .implements { stroke-dasharray: 5 4; }
.architecture marker path { fill: var(--soft); stroke: none; }
"""


@dataclass
class Box:
    """A part: its kind ("python" or "cpp"), and how much there is of it."""

    kind: str
    files: int = 0
    lines: int = 0


@dataclass
class Parts:
    boxes: dict[str, Box] = field(default_factory=dict)
    uses: Counter[tuple[str, str]] = field(default_factory=Counter)
    implements: set[str] = field(default_factory=set)

    def add_file(self, name: str, kind: str, text: str) -> None:
        box = self.boxes.setdefault(name, Box(kind))
        box.files += 1
        box.lines += text.count("\n")


# --- what the sources say ---


def read_python(package: Path, parts: Parts) -> None:
    """Imports at the top level of modules; those inside of functions and for type checkers make no order."""

    def part_of(module: str) -> str:
        head = module.split(".")[1] if "." in module else ""
        if head == "kernels":
            return COMPILED
        return f"weft.{head}" if (package / head).is_dir() and head else "weft"

    for path in sorted(package.rglob("*.py")):
        inner = path.relative_to(package).parts[:-1]
        own = f"weft.{inner[0]}" if inner else "weft"
        text = path.read_text()
        parts.add_file(own, "python", text)
        for statement in ast.parse(text).body:
            modules: list[str] = []
            if isinstance(statement, ast.Import):
                modules = [alias.name for alias in statement.names]
            elif isinstance(statement, ast.ImportFrom) and statement.module:
                modules = [f"{statement.module}.{alias.name}" for alias in statement.names]
            for module in modules:
                if module.split(".")[0] == "weft" and part_of(module) != own:
                    parts.uses[own, part_of(module)] += 1


def read_cpp(root: Path, parts: Parts) -> None:
    """Includes between the folders. The bindings are the compiled module."""

    def part_of(path: Path) -> str | None:
        inner = path.relative_to(root).parts
        if len(inner) > 1:
            return COMPILED if inner[0] == "bindings" else f"csrc/{inner[0]}"
        # A source without a header offers nothing to others.
        return f"csrc/{path.stem}.h" if path.with_suffix(".h").exists() else None

    for path in sorted(p for p in root.rglob("*") if p.suffix in (".h", ".cpp", ".cu")):
        own = part_of(path)
        if own is None:
            continue
        text = path.read_text()
        parts.add_file(own, "cpp", text)
        if "WEFT_KERNELS(" in text and path.parent != root:
            parts.implements.add(own)
        for name in re.findall(r'^#include "([^"]+)"', text, re.MULTILINE):
            target = next((p for p in (root / name, path.parent / name) if p.exists()), None)
            other = part_of(target.resolve()) if target is not None else None
            if other is not None and other != own:
                parts.uses[own, other] += 1


def arrows(parts: Parts) -> set[tuple[str, str]]:
    """The arrows that are drawn: those of the implementations turned, no two opposite ones, none that others imply."""
    table = next((name for name in parts.boxes if name.endswith("backend.h")), "")
    turned: Counter[tuple[str, str]] = Counter()
    for (a, b), count in parts.uses.items():
        turned[(b, a) if a in parts.implements and b == table else (a, b)] += count
    for a in parts.implements & set(parts.boxes):
        # What implements the table stands below the contract that it includes.
        turned = Counter({(x, y): n for (x, y), n in turned.items() if x != a or (y, table) not in turned})
    kept = {(a, b) for (a, b), n in turned.items() if n > turned.get((b, a), 0)}
    following = {name: {b for a, b in kept if a == name} for name in parts.boxes}

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        waiting = list(following[start])
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += following[name]
        return found

    return {(a, b) for a, b in kept if not any(b in reached(other) for other in following[a] - {b})}


# --- where it is drawn ---


def heights(names: list[str], edges: set[tuple[str, str]]) -> dict[str, int]:
    """The longest way down from each part; a circle, which would be an error of the code, ends where it began."""
    found: dict[str, int] = {}

    def height(name: str, above: frozenset[str]) -> int:
        if name not in found:
            below = [b for a, b in edges if a == name and b not in above]
            found[name] = max((height(b, above | {name}) + 1 for b in below), default=0)
        return found[name]

    for name in names:
        height(name, frozenset())
    return found


def placed(names: list[str], edges: set[tuple[str, str]]) -> tuple[dict[str, tuple[float, float]], list[list[str]]]:
    """The centre of each part, and each arrow as the points that it goes through (one in each row that it passes)."""
    height = heights(names, edges)
    top = max(height.values())
    rows: list[list[str]] = [[n for n in names if height[n] == top - r] for r in range(top + 1)]
    ways: list[list[str]] = []
    for a, b in sorted(edges):
        way = [a]
        for r in range(top - height[a] + 1, top - height[b]):
            way.append(f"{a}>{b}:{r}")
            rows[r].append(way[-1])
        ways.append([*way, b])
    links = [pair for way in ways for pair in itertools.pairwise(way)]
    order = {name: float(i) for row in rows for i, name in enumerate(row)}
    for _ in range(4):  # each row in the order of what it is joined with, downwards and upwards
        for row, side in [*((r, 1) for r in rows), *((r, 0) for r in reversed(rows))]:
            middle = {}
            for name in row:
                near = [order[pair[1 - side]] for pair in links if pair[side] == name]
                middle[name] = sum(near) / len(near) if near else order[name]
            row.sort(key=lambda name: middle[name])
            for i, name in enumerate(row):
                order[name] = i - (len(row) - 1) / 2
    at: dict[str, tuple[float, float]] = {}
    for r, row in enumerate(rows):
        widths = [DUMMY_W if ">" in name else BOX_W for name in row]
        x = -(sum(widths) + GAP_X * (len(row) - 1)) / 2
        for name, width in zip(row, widths, strict=True):
            at[name] = (x + width / 2, r * (BOX_H + GAP_Y) + BOX_H / 2)
            x += width + GAP_X
    return at, ways


def drawn_way(points: list[tuple[float, float]]) -> str:
    """A smooth line from below the first point's box to above the last one's."""
    points = [(points[0][0], points[0][1] + BOX_H / 2), *points[1:-1], (points[-1][0], points[-1][1] - BOX_H / 2)]
    path = f"M{points[0][0]:.0f},{points[0][1]:.0f}"
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        middle = (y0 + y1) / 2
        path += f" C{x0:.0f},{middle:.0f} {x1:.0f},{middle:.0f} {x1:.0f},{y1:.0f}"
    return path


def svg(parts: Parts) -> str:
    edges = arrows(parts)
    names = [n for n in parts.boxes if any(n in edge for edge in edges)]
    at, ways = placed(names, edges)
    left = min(x for x, _ in at.values()) - BOX_W / 2 - MARGIN
    right = max(x for x, _ in at.values()) + BOX_W / 2 + MARGIN
    bottom = max(y for _, y in at.values()) + BOX_H / 2 + MARGIN
    view = f"{left:.0f} {-MARGIN} {right - left:.0f} {bottom + MARGIN:.0f}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="architecture" role="img" viewBox="{view}" '
        f'width="{right - left:.0f}" aria-label="The parts of weft, and which uses which">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0,0 L8,4 L0,8 z"/></marker></defs>',
    ]
    for way in ways:
        dashed = way[-1] in parts.implements and way[0].endswith("backend.h")
        kind = ' class="implements"' if dashed else ""
        lines.append(f'<path{kind} marker-end="url(#head)" d="{drawn_way([at[name] for name in way])}"/>')
    for name in names:
        box, (x, y) = parts.boxes[name], at[name]
        about = f"{box.files} file{'s' if box.files > 1 else ''}, {box.lines:,} lines"
        if name == COMPILED:
            about = f"csrc/bindings: {box.lines:,} lines"
        place = f'x="{x - BOX_W / 2:.0f}" y="{y - BOX_H / 2:.0f}" width="{BOX_W}" height="{BOX_H}" rx="7"'
        lines.append(f'<rect class="{box.kind}" {place}/><text x="{x:.0f}" y="{y - 3:.0f}">{escape(name)}</text>')
        lines.append(f'<text class="about" x="{x:.0f}" y="{y + 14:.0f}">{about}</text>')
    return "\n".join([*lines, "</svg>", ""])


def write(root: Path, output: Path) -> None:
    """Reads the sources below `root` and writes the picture."""
    parts = Parts()
    read_python(root / "python" / "weft", parts)
    read_cpp(root / "csrc", parts)
    output.parent.mkdir(parents=True, exist_ok=True)
    text = svg(parts)
    if not output.exists() or output.read_text() != text:
        output.write_text(text)


if __name__ == "__main__":
    write(Path(__file__).resolve().parent.parent, Path(sys.argv[1]))
