"""A link to a page of text that is not one of the site's, as tests/cuda_emulation/README.md, gives the file itself.

Pages are read in the repository too, so their links are those of the files.
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx


def _outside(app: Sphinx, page: str, source: list[str]) -> None:
    folder = (Path(app.srcdir) / page).parent

    def marked(match: re.Match[str]) -> str:
        inside = (folder / match[1]).resolve().is_relative_to(app.srcdir)
        return match[0] if inside else f"](path:{match[1]})"

    source[0] = re.sub(r"\]\(([\w./]+\.md)\)", marked, source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", _outside)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
