"""Writes python/weft/kernels.pyi, the typed face of the compiled module; --check only compares.

The signatures and docstrings come from the module by pybind11-stubgen. The names that the bindings use for
what they accept (ArrayLike, ...) are no objects of the module: they are defined here, once.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
STUB = ROOT / "python" / "weft" / "kernels.pyi"

ALIASES = """
class _HasDLPack(typing.Protocol):
    def __dlpack__(self) -> typing.Any: ...

class _HasArray(typing.Protocol):
    @property
    def array(self) -> Array: ...

# What becomes an Array: without a copy but for numbers and lists.
ArrayLike: typing.TypeAlias = (
    Array | _HasArray | numpy.ndarray[typing.Any, typing.Any] | _HasDLPack | bool | int | float
    | collections.abc.Sequence[typing.Any]
)
# What is written in place: its own memory, never a copy.
OutputLike: typing.TypeAlias = Array | _HasArray | numpy.ndarray[typing.Any, typing.Any] | _HasDLPack
# What names an element type.
DTypeLike: typing.TypeAlias = DType | str | type | numpy.dtype[typing.Any]
# One int, or one for each axis.
Ints: typing.TypeAlias = typing.SupportsIndex | collections.abc.Sequence[typing.SupportsIndex]
"""


def generate() -> str:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "pybind11_stubgen", "weft.kernels", "-o", folder, "--enum-class-locations",
             "DType:weft.kernels", "--enum-class-locations", "MemoryFormat:weft.kernels"],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        text = (Path(folder) / "weft" / "kernels.pyi").read_text()
    return finish(text)


def finish(text: str) -> str:
    text = text.replace("weft.kernels.", "")
    modules = ("builtins", "collections.abc", "typing", "numpy")
    for module in modules:
        text = re.sub(rf"^import {re.escape(module)}\n", "", text, flags=re.MULTILINE)
    future = "from __future__ import annotations\n"
    text = text.replace(future, future + "".join(f"import {module}\n" for module in modules), 1)
    text = text.replace("typing.SupportsInt | typing.SupportsIndex", "int")
    text = text.replace("typing.SupportsFloat | typing.SupportsIndex", "float")
    # pybind11 does not say that an object may be None where None is its default.
    text = re.sub(r"(?<=generator: )Generator(?= = None)", "Generator | None", text)
    # Inside DType the name `bool` is a member.
    start = text.index("class DType:")
    end = text.index("\nclass ", start)
    text = text[:start] + text[start:end].replace("-> bool:", "-> builtins.bool:") + text[end:]
    # The aliases stand after the imports and before the first class.
    at = re.search(r"^(class|def) ", text, flags=re.MULTILINE)
    assert at
    text = text[: at.start()] + ALIASES.lstrip("\n") + "\n" + text[at.start() :]
    return ruff_format(text)


def ruff_format(text: str) -> str:
    for arguments in (["check", "--fix", "-q", "--select", "I,UP,RUF022", "-"], ["format", "-q", "-"]):
        text = subprocess.run(
            [sys.executable, "-m", "ruff", *arguments[:-1], "--stdin-filename", str(STUB), "-"],
            input=text, check=True, capture_output=True, text=True, cwd=ROOT,
        ).stdout  # fmt: skip
    return text


def main() -> int:
    text = generate()
    if "--check" in sys.argv:
        if not STUB.exists() or STUB.read_text() != text:
            print("python/weft/kernels.pyi is not what the module says: run `make stubs`")
            return 1
        print("make_stubs: python/weft/kernels.pyi agrees with the module")
        return 0
    STUB.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
