"""Energies and forces by name: tight binding, density-functional theory, our potentials, ORCA.

Every method is an ASE calculator (energies in eV, forces in eV/Å) of a structure as it is: with its
charge and spin (`schnetgen_pyg.data.electrons`) and in its cell, or it refuses the structure.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import ase
import ase.units
import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from torch_geometric.data import Data

from schnetgen_pyg.accelerated.radial_tables import serves
from schnetgen_pyg.chem.electrons import Electrons
from schnetgen_pyg.data.conversion import as_data, to_ase
from schnetgen_pyg.data.electrons import electrons, require_neutral
from schnetgen_pyg.data.origin import named
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.potentials.calculator import PotentialCalculator
from schnetgen_pyg.potentials.model import Potential
from schnetgen_pyg.targets.prediction import predict

#: Tight-binding methods by their name here and in tblite.
XTB = {"gfn2-xtb": "GFN2-xTB", "gfn1-xtb": "GFN1-xTB"}


#: ORCA's keywords, unless others are named.
ORCA = "PBE def2-SVP def2/J TightSCF"


#: Of density-functional theory with PySCF, beside functional and basis: density fitting with
#: PySCF's fitting basis of the basis, its level of the integration grid, and the change of the
#: energy (Hartree) at which the self-consistent field has converged.
SETTINGS = {"density_fitting": True, "grid_level": 3, "convergence": 1e-9}


#: Volume in Å³ below which a cell is flat.
SMALLEST_CELL = 1e-3


#: What a method may be, in words.
METHODS = (
    f"{', '.join(XTB)}, FUNCTIONAL/BASIS such as pbe/def2-svp (PySCF), potential:NAME (bundled, or "
    "a file), orca or orca:KEYWORDS"
)


class PySCFCalculator(Calculator):
    """Kohn-Sham energies (eV) and forces (eV/Å) of molecules, with density fitting and the charge
    and spin that they state. The density of the step before is the first guess.

    Args:
        functional, basis: as PySCF names them, e.g. ``"pbe"`` and ``"def2-svp"``.
    """

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def __init__(self, functional: str, basis: str):
        super().__init__()
        self.functional, self.basis = functional, basis
        self._system: Any = None
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
            found = electrons(self.atoms)
            molecule = gto.M(
                atom=list(zip(self.atoms.symbols, self.atoms.positions, strict=True)),
                unit="Angstrom",
                basis=self.basis,
                charge=found.charge,
                spin=found.multiplicity - 1,
                verbose=0,
            )
            field = dft.KS(molecule, xc=self.functional).density_fit()
            field.grids.level, field.conv_tol = SETTINGS["grid_level"], SETTINGS["convergence"]
            system = (self.atoms.numbers.tolist(), found)
            field.kernel(dm0=self._density if system == self._system else None)
            if not field.converged:
                self._density = None
                raise RuntimeError(
                    f"the self-consistent field did not converge in {field.max_cycle} cycles "
                    f"({found.words()}; is another spin_multiplicity lower?)"
                )
            self._system, self._density, self._field = system, field.make_rdm1(), field
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


def check_structure(method: str, atoms: ase.Atoms, where: str = "structure") -> Electrons:
    """Whether the method can compute this very structure; its charge and spin.

    Raises:
        InputError: where the method knows no cell, charge or spin and the structure has one.
    """
    kind = method.partition(":")[0]
    found = electrons(atoms, where)
    if kind == "potential":
        require_neutral(atoms, method, where)
    elif atoms.pbc.any() and method not in XTB:
        raise InputError(
            f"{where}: {method} computes molecules here, and the structure is periodic (pbc "
            f"{atoms.pbc.tolist()}); take gfn2-xtb or a potential, or remove its cell"
        )
    elif atoms.pbc.any() and not atoms.pbc.all():
        raise InputError(
            f"{where}: {method} (tblite) is periodic in three directions or in none, and the "
            f"structure has pbc {atoms.pbc.tolist()}; give it a cell with vacuum in the other "
            "directions and pbc in all three, or take a potential"
        )
    if atoms.pbc.any() and abs(np.linalg.det(atoms.cell.complete().array)) < SMALLEST_CELL:
        raise InputError(
            f"{where}: its cell is flat (volume {atoms.cell.volume:.3g} Å³, vectors "
            f"{atoms.cell.array.tolist()}); correct the cell, or remove it"
        )
    return found


def prepared(structures: Any, *methods: str) -> tuple[list[Data], list[ase.Atoms]]:
    """Structures at the door, as ``Data`` and as ASE ``Atoms`` whose ``info`` says charge and spin
    where they are not those of a neutral closed shell; every method can compute all of them.

    Args:
        structures: ``Data`` or ASE ``Atoms``.

    Raises:
        InputError: naming the structure that one of the methods cannot compute as it is.
    """
    data = as_data(structures)
    atoms, radicals = [to_ase(single) for single in data], []
    for number, (single, each) in enumerate(zip(data, atoms, strict=True)):
        where = named(single, f"structure {number}")
        found = electrons(single, where)
        each.info |= found.info()
        radicals += [number] * found.unstated
        for method in methods:
            check_structure(method, each, where)
    if radicals:
        first = named(data[radicals[0]], f"structure {radicals[0]}")
        warnings.warn(
            f"{first}{f' and {len(radicals) - 1} others' * (len(radicals) > 1)}: "
            "an odd number of electrons and no spin_multiplicity; computed as doublets (state "
            "charge=… or spin_multiplicity=… in the file if that is wrong)",
            stacklevel=3,
        )
    return data, atoms


def calculator(
    method: str, folder: str | os.PathLike[str] = ".", atoms: ase.Atoms | None = None
) -> Any:
    """A fresh ASE calculator.

    Args:
        method: one of `METHODS`.
        folder: for the files of a program that writes some (ORCA).
        atoms: the structure that it is for, which says charge and spin. Without, tight binding
            takes ASE's initial charges and magnetic moments, ORCA a neutral closed shell.

    Raises:
        InputError: if the method is none, what computes it is not installed, or it cannot compute
            the structure as it is.
    """
    check(method)
    kind, _, rest = method.partition(":")
    found = None if atoms is None else check_structure(method, atoms)
    if method in XTB:
        from tblite.ase import TBLite

        known = {"charge": found.charge, "multiplicity": found.multiplicity} if found else {}
        return TBLite(method=XTB[method], verbosity=0, **known)
    if kind == "potential":
        return PotentialCalculator(_potential(rest))
    if kind == "orca":
        from ase.calculators.orca import ORCA as Orca
        from ase.calculators.orca import OrcaProfile

        return Orca(
            profile=OrcaProfile(command=_orca_command()),
            directory=folder,
            charge=found.charge if found else 0,
            mult=found.multiplicity if found else 1,
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
            energy = float(calculator(method, folder, atoms).get_potential_energy(atoms))
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
