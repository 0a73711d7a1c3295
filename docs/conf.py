"""Sphinx's configuration. `make docs` builds the site into build/docs; a warning is an error.

The architecture's picture and the pages of the reference are drawn and written anew in each build (docs/_ext,
scripts/draw_architecture.py); neither is in the repository.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "docs" / "_ext"), str(ROOT / "scripts")]
os.environ["WEFT_CHECKOUT"] = str(ROOT)  # for the pages that show a source of C++

# A profile of IPython for the processes that run the pages: it keeps no history in the reader's home, and does not warn
# that it talks over a local socket.
PROFILE = ROOT / "build" / "ipython" / "profile_default"
PROFILE.mkdir(parents=True, exist_ok=True)
(PROFILE / "ipython_kernel_config.py").write_text("c.IPKernelApp.log_level = 40\nc.HistoryManager.enabled = False\n")
os.environ["IPYTHONDIR"] = str(PROFILE.parent)

import weft  # noqa: E402 (the one that is installed)

project = "weft"
author = "the authors of weft"
version = release = weft.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "reference",
    "plain_docstrings",
    "pictures",
    "links",
]
exclude_patterns = ["_ext"]
nitpicky = True  # a reference to something that does not exist is a warning

html_theme = "furo"
html_title = "weft"
html_static_path = ["_static"]
html_css_files = ["weft.css"]
html_copy_source = False
html_show_copyright = False
pygments_style, pygments_dark_style = "friendly", "github-dark"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4

# Pages with cells run when the site is built, each in a process of its own, in a temporary folder.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_show_tb = True  # of a page that fails, which is a warning as everything else
nb_execution_timeout = 120
nb_merge_streams = True

autodoc_member_order = "groupwise"
autodoc_typehints_format = "short"
autoclass_content = "both"
autosummary_generate = False  # the tables only: what they list is documented below them
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
add_module_names = False
toc_object_entries = False  # each page of the reference begins with a table of them
