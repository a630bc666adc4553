"""QM9's molecules with properties of one half only: what `qm9-targets` and its judges learn from.

    python benchmarks/make_targets.py --structures runs/checkpoints/qm9-train.safetensors \\
        --test runs/checkpoints/qm9-test.extxyz.gz --geometries geometries.npz \\
        --properties properties.npz --out runs/targets

The molecules, those that the model ``qm9`` was trained on and those held out of it, are found among
the geometries by their positions. The training molecules are cut into two halves by a seed:

- ``qm9-targets.safetensors``: all of them, with the properties of the second half; NaN in the first
  (`checkpoints.py qm9-targets`);
- ``qm9-judge.safetensors``: the first half, for the property model that judges;
- ``qm9-ranker.safetensors``: the second half, for the property model that ranks candidates; targets
  are drawn from it, too;
- ``qm9-held-out.safetensors``: the held-out molecules, for the errors of both;
- ``qm9-held-out.extxyz.gz``: 1,000 of these, which the package ships.

``relative_energy`` is U0 per atom less what the composition lets expect: contributions of the
elements by least squares over the second half (Gebauer et al., Nat. Commun. 13, 973, 2022).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import ase
import ase.units
import numpy as np
import torch
from model_recipes import PROPERTIES
from samples import drawn
from torch import Tensor
from torch_geometric.data import Data
from tqdm import tqdm

from schnetgen_pyg import load
from schnetgen_pyg.chem.elements import hill_formula
from schnetgen_pyg.chem.identity import IDENTITIES
from schnetgen_pyg.data.conversion import to_ase
from schnetgen_pyg.data.convert import convert
from schnetgen_pyg.data.fingerprints import STORED, fingerprints_of
from schnetgen_pyg.data.perceived import HASH, LEWIS, STATE
from schnetgen_pyg.data.stored import StoredStructures
from schnetgen_pyg.data.storing import Store
from schnetgen_pyg.data.writers import write
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.targets import Joined, fit_references

#: Name here: name in the file, factor, unit.
COLUMNS = {
    "mu": ("mu_D", 1.0, "D"),
    "alpha": ("alpha_bohr3", ase.units.Bohr**3, "Å³"),
    "homo": ("homo_Ha", ase.units.Hartree, "eV"),
    "lumo": ("lumo_Ha", ase.units.Hartree, "eV"),
    "gap": ("gap_Ha", ase.units.Hartree, "eV"),
    "Cv": ("Cv_cal_mol_K", 1.0, "cal/(mol K)"),
    "energy": ("U0_Ha", ase.units.Hartree, "eV"),
}
RELATIVE = "relative_energy"
UNITS = {name: unit for name, (_, _, unit) in COLUMNS.items() if name != "energy"}
UNITS |= {RELATIVE: "eV"}
#: Structures that are copied at a time.
CHUNK = 2_000


def halves(number: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Numbers of the first and the second half, by a seed, ascending."""
    order = torch.randperm(number, generator=torch.Generator().manual_seed(seed))
    one, other = order.chunk(2)
    return one.sort().values, other.sort().values


def keys(z: np.ndarray, pos: np.ndarray) -> list[bytes]:
    """By which a geometry is found again, where its last digits were lost: rounded to 0.001 Å, to
    the nearest and down, so that a coordinate on the border is on that of one of both only."""
    types = z.astype(np.uint8).tobytes()
    scaled = 1_000 * pos.astype(np.float64)
    return [types + kind(scaled).astype(np.int32).tobytes() for kind in (np.rint, np.floor)]


class Known:
    """Properties of molecules by their geometries.

    Args:
        geometries: file with ``z``, ``pos`` (Å), ``n_atoms`` and ``gdb_index``.
        properties: file with ``names``, ``values`` [num_molecules, num_names] and ``gdb_index``.
    """

    def __init__(self, geometries: Path, properties: Path):
        with np.load(properties) as file:
            names, values = file["names"].tolist(), file["values"]
            place = {int(number): k for k, number in enumerate(file["gdb_index"])}
        columns = [names.index(name) for name, _, _ in COLUMNS.values()]
        self.values = values[:, columns] * [factor for _, factor, _ in COLUMNS.values()]
        with np.load(geometries) as file:
            index, counts, z, pos = (file[k] for k in ("gdb_index", "n_atoms", "z", "pos"))
        self.rows: dict[bytes, int] = {}
        for number, end, count in zip(index.tolist(), np.cumsum(counts), counts, strict=True):
            for key in keys(z[end - count : end], pos[end - count : end]):
                self.rows[key] = place[number]

    def of(self, structures: Iterable[Data]) -> Tensor:
        """Values [num_structures, columns] (float64).

        Raises:
            InputError: for a molecule that is not among the geometries.
        """
        found = []
        for number, data in enumerate(structures):
            own = (self.rows.get(key) for key in keys(data.z.numpy(), data.pos.numpy()))
            row = next((one for one in own if one is not None), None)
            if row is None:
                raise InputError(
                    f"molecule {number} ({hill_formula(data.z.tolist())}) is none of the "
                    "geometries; name the file that the structures are from"
                )
            found.append(row)
        return torch.from_numpy(self.values[found])


def relative(structures: Sequence[Data], energies: Tensor, references: dict[int, float]) -> Tensor:
    """Energy per atom less the mean of the elements' contributions, eV [num_structures]; NaN with
    an element that has none."""
    expected = [
        sum(references.get(z, torch.nan) for z in data.z.tolist()) / data.z.numel()
        for data in structures
    ]
    sizes = torch.tensor([data.z.numel() for data in structures])
    return energies / sizes - torch.tensor(expected).double()


def references_of(structures: Sequence[Data], energies: Tensor) -> dict[int, float]:
    """Contributions of the elements to the energy per atom (eV), by least squares."""
    elements = sorted({z for data in structures for z in data.z.tolist()})
    sizes = torch.tensor([data.z.numel() for data in structures])
    joined = Joined.of(structures)
    found, _ = fit_references(joined, energies / sizes, elements, extensive=False)
    return dict(zip(elements, found.tolist(), strict=True))


def labelled(data: Data, names: Sequence[str], values: Sequence[float]) -> Data:
    """A structure with properties and their units."""
    data.info = (data.get("info") or {}) | {"units": UNITS}
    for name, value in zip(names, values, strict=True):
        data[name] = value
    return data


def copied(
    stored: StoredStructures, chosen: Tensor, values: Tensor, bits: Tensor, out: Path
) -> None:
    """Some structures of a file with properties and all that perception has found.

    Args:
        chosen: their numbers.
        values: properties [num_structures, properties] of all of the file, NaN for none.
        bits: fingerprints of all of the file.
    """
    graphs = [LEWIS, *(HASH.format(name) for name in IDENTITIES)]
    with Store(out) as store:
        for part in tqdm(chosen.split(CHUNK), desc=out.name):
            atoms = torch.cat([atoms for _, _, atoms in stored[part].atoms()])
            further = {name: stored.array(name)[part] for name in graphs}
            further |= {STATE: stored.array(STATE)[atoms], STORED: bits[part]}
            structures = [
                labelled(stored[number], [*UNITS], values[number].tolist())
                for number in part.tolist()
            ]
            store.add(structures, further)
        store.metadata["states"] = stored.metadata["states"]
        source = {"name": stored.path.name, "num_structures": len(stored)}
        store.metadata["sources"] = [source]


def shipped(held_out: Sequence[Data]) -> list[ase.Atoms]:
    """Some of the held-out molecules, with their properties to six digits."""
    made = []
    for data in drawn(held_out, 1_000, 0):
        atoms = to_ase(data)
        info = {name: float(f"{atoms.info[name]:.6g}") for name in PROPERTIES}
        units = {name: atoms.info["units"][name] for name in PROPERTIES}
        made.append(ase.Atoms(atoms.numbers, atoms.positions, info=info | {"units": units}))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--structures", type=Path, required=True, help="of `schnetgen convert`")
    parser.add_argument("--test", required=True, help="held-out molecules")
    parser.add_argument("--geometries", type=Path, required=True)
    parser.add_argument("--properties", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/targets"))
    options = parser.parse_args()
    known = Known(options.geometries, options.properties)
    stored = StoredStructures(options.structures)
    first, second = halves(len(stored), options.seed)
    light = stored.only("z", "pos")
    energy = list(COLUMNS).index("energy")
    raw, labelled_half = known.of(tqdm(light, desc="molecules")), [light[int(k)] for k in second]
    references = references_of(labelled_half, raw[second, energy])

    def values(structures: Any, found: Tensor) -> Tensor:
        last = relative(structures, found[:, energy], references).unsqueeze(1)
        return torch.cat([found[:, [k for k in range(len(COLUMNS)) if k != energy]], last], 1)

    everything, bits = values(light, raw), fingerprints_of(stored)
    hidden = everything.clone()
    hidden[first] = torch.nan
    options.out.mkdir(parents=True, exist_ok=True)
    both = torch.arange(len(stored))
    for name, chosen, own in (
        ("qm9-targets", both, hidden),
        ("qm9-judge", first, everything),
        ("qm9-ranker", second, everything),
    ):
        copied(stored, chosen, own, bits, options.out / f"{name}.safetensors")
    test = list(load(options.test))
    rows = values(test, known.of(test)).tolist()
    told = (labelled(data, [*UNITS], row) for data, row in zip(test, rows, strict=True))
    held_out = options.out / "qm9-held-out.safetensors"
    convert(told, out=held_out)
    write(options.out / "qm9-held-out.extxyz.gz", shipped(load(held_out)))
    print(f"wrote {options.out}: {len(first)} and {len(second)} molecules, {len(test)} held out")


if __name__ == "__main__":
    main()
