"""How Sphinx builds the documentation: ``make docs``."""

from importlib import import_module
from inspect import getdoc
from pathlib import Path

import schnetgen_pyg

project = "schnetgen_pyg"
author = "The authors of schnetgen_pyg"
version = release = schnetgen_pyg.__version__
html_title = f"schnetgen_pyg {version}"

extensions = [
    "myst_parser",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# One page for every room, from the package's tree.
apidoc_modules = [
    {
        "path": "../schnetgen_pyg",
        "destination": "api",
        "module_first": True,
        "automodule_options": {"members", "show-inheritance"},
    }
]
# A name is described where it is at home, and a method that says nothing of itself is left out.
autodoc_default_options = {"ignore-module-all": True}
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
autodoc_mock_imports = ["triton"]
napoleon_use_ivar = True
napoleon_use_rtype = False
add_module_names = False
# `name` in a docstring is a link where there is something of that name.
default_role = "py:obj"

html_theme = "furo"
html_static_path: list[str] = []
exclude_patterns = ["_build"]


def public_names() -> str:
    """The page of what ``import schnetgen_pyg`` gives, each with a link to its own room."""
    lines = ["Public names", "============", "", "What ``import schnetgen_pyg`` gives:", ""]
    for name in schnetgen_pyg.__all__:
        thing = getattr(schnetgen_pyg, name)
        home = getattr(thing, "__module__", None)
        if home is None or not hasattr(import_module(home), name):
            continue
        first = (getdoc(thing) or "").split("\n\n")[0].replace("\n", " ")
        lines.append(f"- :py:obj:`{name} <{home}.{name}>`: {first}")
    return "\n".join(lines) + "\n"


(Path(__file__).parent / "public.rst").write_text(public_names())
