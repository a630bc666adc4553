"""Pictures and files from evaluated structures and training logs."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pandas as pd
from rdkit import Chem

from schnetgen_pyg.chem.bonds import connectivity
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.evaluation.evaluation import Evaluation
from schnetgen_pyg.report.ranking import ranking
from schnetgen_pyg.storage.atomic import replacing


def valid_molecules(structures: Sequence[ase.Atoms], evaluation: Evaluation) -> list[Chem.Mol]:
    """One RDKit molecule per different valid constitution, the best first
    (`schnetgen_pyg.report.ranking.ranking`).

    Properties: ``smiles``, ``sample``, ``log_prob`` (of the generator) and ``known_from``, the
    first reference set that holds the constitution, ``seen`` by the generator, or ``new``.
    """
    return best_molecules([structures], [evaluation])[0]


def best_molecules(
    samples: Sequence[Sequence[ase.Atoms]], evaluations: Sequence[Evaluation]
) -> tuple[list[Chem.Mol], str]:
    """`valid_molecules` of several samples together, and by what they are ordered."""
    structures = [atoms for sample in samples for atoms in sample]
    records = [record for one in evaluations for record in one.records]
    origins = [origin for one in evaluations for origin in one.origins()]
    order, words = ranking(structures, records)
    found: dict[str, Chem.Mol] = {}
    for number in order:
        atoms, record = structures[number], records[number]
        text = record["smiles"]
        if text in found:
            continue
        mol = record.mol
        assert mol is not None
        known = origins[number]
        mol.SetProp("_Name", text)
        properties = {"smiles": text, "known_from": "new" if known == "valid" else known} | {
            key: atoms.info[key] for key in ("sample", "log_prob") if key in atoms.info
        }
        for key, value in properties.items():
            mol.SetProp(key, str(value))
        found[text] = mol
    return list(found.values()), words


def write_sdf(path: str | os.PathLike[str], mols: Sequence[Chem.Mol]) -> None:
    """Write molecules with their conformers and properties, atomically."""
    text = io.StringIO()  # RDKit's writer would not say that a disk is full
    with Chem.SDWriter(text) as writer:
        for mol in mols:
            writer.write(mol)
    with replacing(path) as temporary:
        temporary.write_text(text.getvalue())


def draw_molecules(
    path: str | os.PathLike[str], mols: Sequence[Chem.Mol], columns: int = 4
) -> None:
    """2-D drawings in a grid (PNG), with SMILES and where each molecule is known from.

    Raises:
        InputError: where RDKit cannot draw.
    """
    flat = []
    for mol in mols:
        drawn = Chem.RemoveHs(mol)
        drawn.RemoveAllConformers()
        flat.append(drawn)
    legends = [f"{mol.GetProp('smiles')}  ({mol.GetProp('known_from')})" for mol in mols]
    image = drawing_tools().MolsToGridImage(
        flat, molsPerRow=columns, subImgSize=(300, 240), legends=legends, returnPNG=False
    )
    with replacing(path) as temporary:
        image.save(temporary, format="PNG")


def training_log(run: str | os.PathLike[str]) -> pd.DataFrame:
    """The logged figures of a run, over all its resumptions, by step; the later one counts."""
    files = sorted(
        Path(run).glob("logs/version_*/metrics.csv"),
        key=lambda path: int(path.parent.name.split("_")[1]),
    )
    if not files:
        raise InputError(f"{run}: holds no logs/version_*/metrics.csv; is it a training run?")
    frames: list[pd.DataFrame] = []
    for file in files:
        frame = pd.read_csv(file).groupby("step").first().drop(columns="epoch", errors="ignore")
        if frames:
            frames = [earlier[earlier.index < frame.index.min()] for earlier in frames]
        frames.append(frame)
    return pd.concat(frames).sort_index()


def draw_loss(path: str | os.PathLike[str], run: str | os.PathLike[str]) -> None:
    """Loss curves of a training run, and the share of valid structures where it was measured."""
    from matplotlib.figure import Figure

    log = training_log(run)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, style in (("loss", {"alpha": 0.35}), ("validation_loss", {"marker": "o"})):
        if name in log:
            values = log[name].dropna()
            axes.plot(values.index, values, label=name.replace("_", " "), **style)
    if "loss" in log:
        values = log["loss"].dropna()
        smooth = values.rolling(max(1, len(values) // 20), min_periods=1).mean()
        axes.plot(smooth.index, smooth, color="C0", label="loss, running mean")
    axes.set(xlabel="training step", ylabel="loss (nats)")
    if "valid" in log and log["valid"].notna().any():
        share = axes.twinx()
        valid = log["valid"].dropna()
        share.plot(valid.index, 100 * valid, color="C2", marker="s", label="valid")
        share.set(ylabel="valid structures (%)", ylim=(0, 100))
    axes.legend(loc="upper center")
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def draw_structures(
    path: str | os.PathLike[str], structures: Sequence[ase.Atoms], columns: int = 4
) -> None:
    """Structures in a grid (PNG), each seen along its thinnest direction, with bonds."""
    from ase.data import covalent_radii
    from ase.data.colors import jmol_colors
    from matplotlib.figure import Figure

    rows = -(-len(structures) // columns)
    columns = min(columns, len(structures))
    figure = Figure(figsize=(2.4 * columns, 2.5 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels:
        panel.set_axis_off()
    for number, (panel, atoms) in enumerate(zip(panels, structures, strict=False)):
        centered = atoms.positions - atoms.positions.mean(0)
        flat = centered @ np.linalg.svd(centered, full_matrices=False)[2].T
        if flat.shape[1] < 3:  # fewer atoms than directions
            flat = np.pad(flat, ((0, 0), (0, 3 - flat.shape[1])))
        for bond in connectivity(atoms).GetBonds():
            ends = [bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()]
            panel.plot(*flat[ends, :2].T, color="#888888", linewidth=3, zorder=flat[ends, 2].min())
        for place, n in zip(flat, atoms.numbers, strict=True):
            size = (18 * covalent_radii[n] + 6) ** 2 / 2
            panel.scatter(
                *place[:2], s=size, color=jmol_colors[n], edgecolor="#444444", zorder=place[2]
            )
        panel.set(aspect="equal", title=f"{atoms.info.get('sample', number)}")
        panel.margins(0.15)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def drawing_tools() -> Any:
    """RDKit's module ``Draw``, which is linked with libraries that servers may lack.

    Raises:
        InputError: where it cannot be loaded.
    """
    try:
        from rdkit.Chem import Draw
    except ImportError as error:
        raise InputError(
            f"RDKit cannot draw here ({error}): it needs X11's libraries (Debian's libxrender1 and "
            "libxext6), also without a screen"
        ) from error
    return Draw
