"""The code in README.md, CONTRIBUTING.md and docs/ runs as it stands there.

The blocks of a page run one after the other, in one namespace and an empty folder, as a reader would type them. Two
comments of HTML, which no reader sees, say what is different:

    <!-- before:                 code that the next block needs and a reader has: a loader, a model
    loader = ...
    -->
    <!-- not run: the reason --> the next block is not run

`make docs` runs the {code-cell} blocks too, and shows their results; here a page that fails is found in seconds.
"""

from __future__ import annotations

import gzip
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import weft
import weft.kernels as K
from helpers import ROOT

PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    if "reference" not in path.parts
)
pytestmark = [pytest.mark.cpu, pytest.mark.once]

# What the cookbook needs beside weft, and a machine may lack.
OPTIONAL = {"matplotlib", "optuna", "safetensors", "sklearn", "tensorboard"}
# Languages of blocks that no Python is in; a block without one stands in indented text.
OTHER = {"", "sh", "text", "cpp", "diff", "{toctree}", "{raw}", "{include}", "{glossary}"}
NOT_RUN = re.compile(r"<!-- not run: (?P<reason>.+?) -->")
PART = re.compile(
    r"^<!-- before:\n(?P<before>.*?)^-->$"
    r"|^(?P<mark><!-- not run:.*?-->)$"
    r"|^```(?P<language>[^\n]*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass
class Block:
    """Code of a page, and where it stands."""

    page: str
    line: int
    code: str
    hidden: bool = False
    not_run: str | None = None


def blocks(page: str) -> Iterator[Block]:
    """The Python of a page, hidden lines included. ValueError for a block of an unknown language."""
    text = (ROOT / page).read_text()
    mark: str | None = None
    for part in PART.finditer(text):
        line = text.count("\n", 0, part.start()) + 1
        if part["before"] is not None:
            yield Block(page, line, part["before"], hidden=True)
        elif part["mark"] is not None:
            match = NOT_RUN.fullmatch(part["mark"])
            if match is None:
                raise ValueError(f"{page}:{line}: expected <!-- not run: the reason -->, got {part['mark']}")
            mark = match["reason"]
        else:
            language, _, _ = part["language"].partition(" ")
            if language in ("python", "{code-cell}"):
                code = re.sub(r"\A(?::.*\n)+", lambda tags: "\n" * tags[0].count("\n"), part["code"])
                yield Block(page, line, code, not_run=mark)
            elif language not in OTHER:
                raise ValueError(f"{page}:{line}: is `{language}` code that runs? Then write `python`, else see OTHER")
            mark = None


def write_mnist(folder: Path) -> None:
    """A small MNIST of noise, so that pages that train on it run at once, and without a network."""
    rng = np.random.default_rng(0)
    (folder / "MNIST" / "raw").mkdir(parents=True)
    for kind, count in (("train", 256), ("t10k", 64)):
        images = rng.integers(0, 256, (count, 28, 28), np.uint8)
        labels = rng.integers(0, 10, count, np.uint8)
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            path = folder / "MNIST" / "raw" / f"{kind}-{name}-ubyte.gz"
            path.write_bytes(gzip.compress(head + array.tobytes()))


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where the code runs: an empty folder, MNIST, the settings of a new process; all is put back afterwards."""
    write_mnist(tmp_path / "data")
    monkeypatch.setenv("WEFT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("WEFT_CHECKOUT", str(ROOT))
    monkeypatch.setenv("MPLBACKEND", "agg")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    isa, threads, precision = K.isa(), weft.get_num_threads(), weft.conv_precision()
    weft.manual_seed(0)
    yield
    K.set_isa(isa)
    weft.set_num_threads(threads)
    weft.set_conv_precision(precision)


def run(block: Block, namespace: dict[str, Any]) -> None:
    """Runs a block; its lines are those of the page in a traceback."""
    code = compile("\n" * block.line + block.code, str(ROOT / block.page), "exec")
    exec(code, namespace)


@pytest.mark.parametrize("page", [page for page in PAGES if any(blocks(page))])
@pytest.mark.usefixtures("reader")
def test_page(page: str) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.not_run is not None:
            continue  # test_not_run names it
        try:
            run(block, namespace)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in OPTIONAL:
                raise
            pytest.skip(f"{page}:{block.line} needs {error.name}")
        except ImportError as error:  # weft's own, for what an optional package does
            if not isinstance(error.__cause__, ModuleNotFoundError):
                raise
            pytest.skip(f"{page}:{block.line}: {error}")


@pytest.mark.parametrize(
    "block",
    [block for page in PAGES for block in blocks(page) if block.not_run is not None],
    ids=lambda block: f"{block.page}:{block.line}",
)
def test_not_run(block: Block) -> None:
    """A block that is marked shows as a skipped test, with the reason."""
    compile(block.code, block.page, "exec")
    pytest.skip(f"{block.page}:{block.line}: {block.not_run}")


def test_pages_are_found() -> None:
    """A change of the pattern that loses blocks is noticed."""
    counts = {page: len(list(blocks(page))) for page in PAGES}
    assert counts["README.md"] == 2
    assert counts["docs/tutorial.md"] > 10
    for page in PAGES:
        fences = re.findall(r"^```(?:python|\{code-cell\})", (ROOT / page).read_text(), re.MULTILINE)
        assert sum(not block.hidden for block in blocks(page)) == len(fences), page


def test_a_mark_needs_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "page.md").write_text("<!-- not run: -->\n```python\nx\n```\n")
    with pytest.raises(ValueError, match=r"page\.md:1: expected <!-- not run: the reason -->"):
        list(blocks("page.md"))
    (tmp_path / "page.md").write_text("<!-- not run: needs a GPU -->\n```python\nx\n```\n```python\ny\n```\n")
    assert [block.not_run for block in blocks("page.md")] == ["needs a GPU", None]
    (tmp_path / "page.md").write_text("```pyhton\nx\n```\n")
    with pytest.raises(ValueError, match="is `pyhton` code that runs"):
        list(blocks("page.md"))
