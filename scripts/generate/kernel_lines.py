"""Writes where each kernel's entry point stands, for csrc/profile.cpp: `kernel_lines.py SOURCE_FOLDER OUTPUT`.

An entry point is a line `void name(Stream&..., const ...Args& ...) {` at the beginning of a line in csrc/cpu,
csrc/reference or csrc/cuda.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ENTRY = re.compile(r"^void (\w+)\(Stream&", re.MULTILINE)


def lines(root: Path, folder: str) -> dict[str, str]:
    found = {}
    for path in sorted((root / "csrc" / folder).rglob("*.c*")):
        text = path.read_text()
        for match in ENTRY.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.setdefault(match[1], f"{path.relative_to(root).as_posix()}:{line}")
    return found


def function(folder: str, found: dict[str, str]) -> str:
    body = "".join(f'  if (same(name, "{name}")) return "{line}";\n' for name, line in sorted(found.items()))
    return f'inline const char* {folder}_line(const char* name) {{\n{body}  return "";\n}}\n'


def main() -> None:
    root, output = Path(sys.argv[1]), Path(sys.argv[2])
    head = (
        "// Made by scripts/generate/kernel_lines.py.\n#include <cstring>\n\nnamespace weft {\n\n"
        "inline bool same(const char* a, const char* b) { return std::strcmp(a, b) == 0; }\n"
    )
    parts = [function(folder, lines(root, folder)) for folder in ("cpu", "reference", "cuda")]
    made = head + "\n".join(parts) + "\n}  // namespace weft\n"
    if not output.exists() or output.read_text() != made:
        output.write_text(made)


if __name__ == "__main__":
    main()
