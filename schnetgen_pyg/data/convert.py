"""Make one file of structures from files of any format: for data larger than memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ase
from torch_geometric.data import Data

from schnetgen_pyg.data.coincidence import require_molecules
from schnetgen_pyg.data.conversion import as_data, from_ase
from schnetgen_pyg.data.datasets import DATASETS, load
from schnetgen_pyg.data.labels import Labels
from schnetgen_pyg.data.lewis_structures import GROUP
from schnetgen_pyg.data.perceived import with_perception
from schnetgen_pyg.data.readers import stream
from schnetgen_pyg.data.stored import SUFFIX, StoredStructures, is_stored
from schnetgen_pyg.data.storing import Store
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.parallel import grouped, job_count
from schnetgen_pyg.storage.atomic import require_writable


def convert(
    *sources: str | os.PathLike[str] | Iterable[Data],
    out: str | os.PathLike[str],
    keys: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    perceive: bool = True,
    jobs: int | None = None,
    progress: Callable[..., Any] | None = None,
) -> StoredStructures:
    """Write structures to one file from which `schnetgen_pyg.load` reads any without the rest.

    They are read, checked and written a few at a time, with all their attributes. The file is there
    whole or not at all.

    Args:
        sources: files and names as `load` takes them, or structures that were read already, such as
            a generator of ``Data``.
        out: the file, ``.safetensors``.
        keys, units: of the labels in files, as `load` has them.
        perceive: find Lewis structures and hashes, which the training of a generator needs; some
            milliseconds a molecule.
        jobs: processes that perceive; by default one per core.
        progress: such as ``tqdm.tqdm``.

    Raises:
        InputError: naming file and structure, and what is wrong.
    """
    path = Path(out)
    if not is_stored(path):
        raise InputError(f"{path}: structures are written as {SUFFIX}; give it such a suffix")
    require_writable(path)
    if not sources:
        raise InputError("there is nothing to convert; name files or data sets")
    labels, told = Labels(keys or {}, units or {}), list[dict[str, Any]]()
    everything = (data for source in sources for data in _counted(source, labels, told))
    everything = progress(everything, desc="structures") if progress else everything
    chunks = grouped(everything, GROUP)
    known: dict[tuple[int, ...], int] = {}
    with Store(path) as store:
        if perceive:
            for chunk, arrays in with_perception(chunks, job_count(jobs), known):
                store.add(chunk, arrays)
        else:
            for chunk in chunks:
                store.add(chunk, {})
        store.metadata["sources"] = told
        if labels:
            store.metadata |= {"keys": dict(labels.keys), "units": dict(labels.units)}
        if perceive:
            store.metadata["states"] = list(known)
    return StoredStructures(path)


def write_stored(path: Path, structures: Iterable[ase.Atoms]) -> None:
    """Write structures to such a file, without perception."""
    frames = (from_ase(atoms, f"structure {k}") for k, atoms in enumerate(structures))
    convert(frames, out=path, perceive=False)


def _counted(source: Any, labels: Labels, told: list[dict[str, Any]]) -> Iterator[Data]:
    """The structures of a source, which is then told of."""
    entry: dict[str, Any] = {"name": "structures in memory"}
    if not isinstance(source, (str, os.PathLike)):
        structures: Iterable[Data] = _checked(source)
    elif isinstance(source, str) and source in DATASETS:
        structures, entry = load(source), {"name": source}
    else:
        path = Path(source)
        structures = stream(path, labels=labels)
        entry = {"name": path.name}
        if path.is_file():
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            entry |= {"bytes": path.stat().st_size, "sha256": content}
    number = 0
    for data in structures:
        yield data
        number += 1
    told.append(entry | {"num_structures": number})


def _checked(structures: Iterable[Any]) -> Iterator[Data]:
    """Structures from Python, checked as those of a file are."""
    first = 0
    for group in grouped(structures, GROUP):
        checked = as_data(group, first=first)
        require_molecules(checked, first=first)
        first += len(group)
        yield from checked
