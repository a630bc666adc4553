"""Energies and forces by name: tight binding, density-functional theory, our potentials, ORCA.

Every method is an ASE calculator of neutral molecules (energies in eV, forces in eV/Å) with the
lowest spin that the number of electrons allows.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import ase
import ase.units
import numpy as np
from ase.calculators.calculator import Calculator, all_changes

from schnetgen_pyg.accelerated.radial_tables import serves
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.potentials.calculator import PotentialCalculator
from schnetgen_pyg.potentials.model import Potential
from schnetgen_pyg.potentials.prediction import predict

#: Tight-binding methods by their name here and in tblite.
XTB = {"gfn2-xtb": "GFN2-xTB", "gfn1-xtb": "GFN1-xTB"}


#: ORCA's keywords, unless others are named.
ORCA = "PBE def2-SVP def2/J TightSCF"


#: What a method may be, in words.
METHODS = (
    f"{', '.join(XTB)}, FUNCTIONAL/BASIS such as pbe/def2-svp (PySCF), potential:NAME (bundled, or "
    "a file), orca or orca:KEYWORDS"
)


class PySCFCalculator(Calculator):
    """Kohn-Sham energies (eV) and forces (eV/Å) of neutral molecules, with density fitting. The
    density of the step before is the first guess.

    Args:
        functional, basis: as PySCF names them, e.g. ``"pbe"`` and ``"def2-svp"``.
    """

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def __init__(self, functional: str, basis: str):
        super().__init__()
        self.functional, self.basis = functional, basis
        self._numbers: list[int] = []
        self._density: Any = None
        self._field: Any = None

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        from pyscf import dft, gto

        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        if system_changes or self._field is None:
            self._field = None
            molecule = gto.M(
                atom=list(zip(self.atoms.symbols, self.atoms.positions, strict=True)),
                unit="Angstrom",
                basis=self.basis,
                spin=int(self.atoms.numbers.sum()) % 2,
                verbose=0,
            )
            field = dft.KS(molecule, xc=self.functional).density_fit()
            numbers = self.atoms.numbers.tolist()
            field.kernel(dm0=self._density if numbers == self._numbers else None)
            if not field.converged:
                self._density = None
                raise RuntimeError("the self-consistent field did not converge")
            self._numbers, self._density, self._field = numbers, field.make_rdm1(), field
        energy = float(self._field.e_tot) * ase.units.Hartree
        self.results |= {"energy": energy, "free_energy": energy}
        if "forces" in properties:
            forces = -self._field.nuc_grad_method().kernel()
            self.results["forces"] = forces * (ase.units.Hartree / ase.units.Bohr)


def _installed(method: str, package: str, extra: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise InputError(f'{method} needs {package}; pip install "schnetgen_pyg[{extra}]"')


def _orca_command() -> str:
    """Of ASE's configuration, or the binary that the shell finds; ORCA wants its full path."""
    from ase.config import cfg

    with contextlib.suppress(KeyError):
        return str(cfg.parser["orca"]["command"])
    found = shutil.which("orca")
    if found is None:
        raise InputError(
            "orca: no binary `orca` is on the PATH, and ASE's configuration names none ([orca] "
            "command = /full/path/orca); install ORCA from https://www.faccts.de, or choose "
            "pbe/def2-svp, which PySCF computes"
        )
    return os.path.realpath(found)


@lru_cache(maxsize=4)
def _potential(name: str) -> Potential:
    """A potential in double precision: forces are differences of large numbers near a minimum."""
    potential = Potential.from_pretrained(name).double()
    return potential.tabulate() if serves(potential.representation) else potential


def check(method: str) -> None:
    """Whether the method can be computed here.

    Raises:
        InputError: with cause and cure.
    """
    kind, _, rest = method.partition(":")
    functional, _, basis = method.partition("/")
    if method in XTB:
        _installed(method, "tblite", "xtb")
    elif kind == "potential" and rest:
        _potential(rest)
    elif kind == "orca":
        _orca_command()
    elif functional and basis and kind == method:
        _installed(method, "pyscf", "dft")
    else:
        raise InputError(f"method must be one of {METHODS}; got {method!r}")


def calculator(method: str, folder: str | os.PathLike[str] = ".") -> Any:
    """A fresh ASE calculator.

    Args:
        method: one of `METHODS`.
        folder: for the files of a program that writes some (ORCA).

    Raises:
        InputError: if the method is none, or what computes it is not installed.
    """
    check(method)
    kind, _, rest = method.partition(":")
    if method in XTB:
        from tblite.ase import TBLite

        return TBLite(method=XTB[method], verbosity=0)
    if kind == "potential":
        return PotentialCalculator(_potential(rest))
    if kind == "orca":
        from ase.calculators.orca import ORCA as Orca
        from ase.calculators.orca import OrcaProfile

        return Orca(
            profile=OrcaProfile(command=_orca_command()),
            directory=folder,
            orcasimpleinput=f"{rest or ORCA} EnGrad",
            orcablocks="%pal nprocs 1 end",
        )
    functional, _, basis = method.partition("/")
    return PySCFCalculator(functional, basis)


def reason(error: BaseException) -> str:
    """An exception in one line."""
    text = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {text[0]}"


def _single(atoms: ase.Atoms, method: str) -> float | str:
    try:
        with tempfile.TemporaryDirectory() as folder, quiet():
            energy = float(calculator(method, folder).get_potential_energy(atoms))
    except Exception as error:
        return reason(error)
    return energy if np.isfinite(energy) else "the energy is not finite"


def energies(structures: Sequence[ase.Atoms], method: str) -> list[float | str]:
    """Energy (eV) of every structure, or why there is none; potentials take them in batches."""
    kind, _, rest = method.partition(":")
    if kind != "potential":
        return [_single(atoms, method) for atoms in structures]
    try:
        data = predict(_potential(rest), list(structures), forces=False)
    except Exception:  # one of them, which is named then
        return [_single(atoms, method) for atoms in structures]
    found = [float(single.energy) for single in data]
    return [e if np.isfinite(e) else "the energy is not finite" for e in found]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Programs that print as they go are silent; errors still are raised."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield
