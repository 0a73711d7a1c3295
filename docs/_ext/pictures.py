"""Draws docs/images/architecture.svg before the pages are read."""

from __future__ import annotations

from pathlib import Path

import draw_architecture
from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, bool]:
    root = Path(app.srcdir).parent
    draw_architecture.write(root, root / "docs" / "images" / "architecture.svg")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
