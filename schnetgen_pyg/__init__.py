"""Equilibrium molecules in 3-D, atom by atom: SchNetGen for PyTorch Geometric."""

from importlib.metadata import PackageNotFoundError, version

import lazy_loader

try:
    __version__ = version("schnetgen_pyg")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "unknown"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
