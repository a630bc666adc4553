"""Speed tricks that can be switched off, to see what each of them brings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from schnetgen_pyg.errors import require

#: Every trick, and what is done without it.
TRICKS = {
    "pair_convolution": "sums over pairs of atoms; without: messages or matrix products",
    "padding": "all steps of a molecule as padded blocks; without: lists of edges",
    "kept_filters": "filters of placed pairs from step to step; without: evaluated in every step",
    "radial_tables": "interpolated filters in sampling and force calls; without: the network",
    "skin": "neighbours kept until an atom has moved; without: found in every call",
    "triton_kernels": "one GPU kernel for positions; without: plain torch",
}
_off: ContextVar[frozenset[str]] = ContextVar("switched_off", default=frozenset())


def enabled(trick: str) -> bool:
    """Whether a trick of `TRICKS` may be used here."""
    return trick not in _off.get()


@contextmanager
def disabled(*tricks: str) -> Iterator[None]:
    """Within it these tricks are not used, in this thread; results stay the same but for
    rounding."""
    for trick in tricks:
        require(trick in TRICKS, "trick", repr(trick), f"one of {', '.join(TRICKS)}")
    token = _off.set(_off.get() | set(tricks))
    try:
        yield
    finally:
        _off.reset(token)
