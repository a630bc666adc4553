"""Equilibrium molecules in 3-D, atom by atom: SchNetGen for PyTorch Geometric."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
