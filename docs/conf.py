"""How Sphinx builds the documentation: ``make docs``."""

import re
import shutil
from importlib import import_module
from inspect import getdoc
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import schnetgen_pyg

project = "schnetgen_pyg"
author = "The authors of schnetgen_pyg"
version = release = schnetgen_pyg.__version__
html_title = f"schnetgen_pyg {version}"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# What says nothing of itself is left out, and a name is described where it is at home.
autodoc_default_options = {"members": True, "show-inheritance": True, "ignore-module-all": True}
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
autodoc_mock_imports = ["triton", "torch_sim", "ipi"]
napoleon_use_ivar = True
napoleon_use_rtype = False
add_module_names = False
# `name` in a docstring is a link where there is something of that name.
default_role = "py:obj"

html_theme = "furo"
html_static_path: list[str] = []
exclude_patterns = ["_build"]


HERE = Path(__file__).parent


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", one_name_each, priority=600)  # after napoleon


def one_name_each(*event: Any) -> None:
    """Attributes that are described together, each for itself: of ``low, high`` Sphinx would take
    the first for a type."""
    lines = event[-1]
    several = re.compile(r"^:ivar (\w+(?:, \w+)+):(.*(?:\n +.*)*)", re.MULTILINE)

    def each(found: re.Match[str]) -> str:
        return "\n".join(f":ivar {name}:{found[2]}" for name in found[1].split(", "))

    lines[:] = several.sub(each, "\n".join(lines)).split("\n")


def page(title: str, *parts: str) -> str:
    return "\n\n".join([f"{title}\n{'=' * len(title)}", *parts]) + "\n"


def public_names() -> str:
    """What ``import schnetgen_pyg`` gives, each name with a link to its room."""
    lines = []
    for name in schnetgen_pyg.__all__:
        thing = getattr(schnetgen_pyg, name)
        home = getattr(thing, "__module__", "")
        if home and hasattr(import_module(home), name):
            first = (getdoc(thing) or "").split("\n\n")[0].replace("\n", " ")
            lines.append(f"- :py:obj:`{name} <{home}.{name}>`: {first}")
    return page("Public names", "What ``import schnetgen_pyg`` gives:", "\n".join(lines))


def rooms() -> dict[str, list[str]]:
    """All packages, each with its modules."""
    found: dict[str, list[str]] = {"schnetgen_pyg": []}
    for module in walk_packages(schnetgen_pyg.__path__, "schnetgen_pyg."):
        if module.ispkg:
            found[module.name] = []
        else:
            found[module.name.rpartition(".")[0]].append(module.name)
    return found


def room(package: str, modules: list[str]) -> str:
    """The page of a room, module by module."""
    parts = [f".. automodule:: {package}"]
    for module in modules:
        title = module.rpartition(".")[2]
        parts += [f"{title}\n{'-' * len(title)}", f".. automodule:: {module}"]
    return page(package.removeprefix("schnetgen_pyg.") or package, *parts)


shutil.rmtree(HERE / "api", ignore_errors=True)
(HERE / "api").mkdir()
(HERE / "api" / "public.rst").write_text(public_names())
for name, modules in rooms().items():
    (HERE / "api" / f"{name}.rst").write_text(room(name, modules))
