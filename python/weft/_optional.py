"""Packages that some functions need and `import weft` does not: each is imported where it is used."""

from __future__ import annotations

import importlib
from typing import Any


def require(module: str, who: str, package: str = "") -> Any:
    """The imported module. ImportError that names who needs which package and how to install it.

    package: what it is called where it differs from the module's first name.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = package or module.partition(".")[0]
        raise ImportError(f"{who}: needs {name}: pip install {name} ({error})") from error
