"""What ASE's databases keep of a structure beside its atoms and the results of a calculator.

Numbers and words of ``info`` are key-value pairs, which ``ase db`` shows and selects by. All else,
and what ASE takes no key or value for, lies in the row's ``data``: under ``info`` and ``arrays``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ase
import ase.db
import ase.db.core
import numpy as np

#: Arrays that a row has a place for.
OWN = ("numbers", "positions", "momenta", "masses", "tags", "initial_magmoms", "initial_charges")


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _is_pair(key: Any, value: Any) -> bool:
    """Whether ASE takes this as a key-value pair and gives it back as it was."""
    if not isinstance(key, str) or not isinstance(value, (bool, int, float, str)):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # keys that are chemical formulas
            ase.db.core.check({key: value})
    except (ValueError, UserWarning):
        return False
    # SQLite has no booleans: ASE would give back numbers. Nor has it larger integers.
    return not isinstance(value, bool) and abs(value if isinstance(value, int) else 0) < 2**63


def write_database(path: Path, structures: Iterable[ase.Atoms]) -> None:
    """Write structures with ``info`` and ``arrays`` to a new ASE database."""
    path.unlink(missing_ok=True)
    with ase.db.connect(path, type="db", use_lock_file=False) as database:
        for atoms in structures:
            info = {key: _plain(value) for key, value in atoms.info.items()}
            pairs = {key: value for key, value in info.items() if _is_pair(key, value)}
            # ASE makes floating-point numbers of some, such as a charge.
            inexact = info.keys() - (pairs.keys() - ase.db.core.numeric_keys)
            data = {
                "info": {key: value for key, value in info.items() if key in inexact},
                "arrays": {key: a for key, a in atoms.arrays.items() if key not in OWN},
            }
            database.write(atoms, pairs, data={name: rest for name, rest in data.items() if rest})
