"""Data sets by their names, and files.

To add a data set, register its loader, a function from the path that `load` was given (or `None`)
to the structures::

    from schnetgen_pyg.data.datasets import DATASETS, DataSet

    DATASETS.register("mine", DataSet("what it is, at which level of theory", load_mine))
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch_geometric.data import Data

from schnetgen_pyg.data.cache import read_cached
from schnetgen_pyg.data.download import download, figshare
from schnetgen_pyg.data.labels import Labels
from schnetgen_pyg.data.readers import read
from schnetgen_pyg.data.stored import StoredStructures, is_stored
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.registry import Registry, nearest

EMBEDDED = Path(__file__).parent / "embedded"

#: QM9 (Ramakrishnan et al., Sci. Data 1, 140022, 2014), figshare collection 978904, CC0.
QM9 = figshare("dsgdb9nsd.xyz.tar.bz2", 3195389, "ad1ebd51ee7f5b3a6e32e974e5d54012")

#: Its 6,095 isomers of C7H10O2; energies at the G4MP2 level.
QM9_ISOMERS = figshare("dsC7O2H10nsd.xyz.tar.bz2", 3195398, "c750c9f3832e6f63ad64bfb3bd12a045")

#: Indices of QM9's 3,054 molecules whose geometry disagrees with their SMILES.
QM9_EXCLUDED = figshare("uncharacterized.txt", 3195404, "a361887bacb427b8a0ce7903d92a53b4")


@dataclass(frozen=True)
class DataSet:
    """A data set that `load` and ``--data`` know by its name.

    Attributes:
        description: one line: what it is, and the level of theory.
        load: from the path of the published archive, or `None` to fetch it, to the structures.
    """

    description: str
    load: Callable[[Path | None], list[Data]]


def _embedded(name: str) -> Callable[[Path | None], list[Data]]:
    return lambda _: read(EMBEDDED / f"{name}.extxyz.gz")


def _qm9(path: Path | None) -> list[Data]:
    beside = path.with_name(QM9_EXCLUDED.name) if path is not None else None
    listing = download(QM9_EXCLUDED, beside if beside is not None and beside.is_file() else None)
    first_words = [line.split()[0] for line in listing.read_text().splitlines() if line.split()]
    excluded = {int(word) for word in first_words if word.isdigit()}
    archive = download(QM9, path)
    return [data for data in read_cached(archive) if data.index not in excluded]


def _qm9_isomers(path: Path | None) -> list[Data]:
    return read_cached(download(QM9_ISOMERS, path))


#: What `load` knows by name.
DATASETS: Registry[DataSet] = Registry(
    "data set",
    {
        "c7h10o2-xtb": DataSet(
            "the embedded isomers of C7H10O2, GFN2-xTB (made by this project)",
            _embedded("c7h10o2-xtb"),
        ),
        "qm9-held-out": DataSet(
            "1,000 embedded molecules of QM9 that no bundled model has seen, six properties each",
            _embedded("qm9-held-out"),
        ),
        "qm9": DataSet("QM9, B3LYP/6-31G(2df,p), without its 3,054 uncharacterized ones", _qm9),
        "qm9-c7h10o2": DataSet("QM9's 6,095 isomers of C7H10O2, energies at G4MP2", _qm9_isomers),
    },
)


def load(
    *sources: str | os.PathLike[str],
    path: str | os.PathLike[str] | None = None,
    keys: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
) -> Sequence[Data]:
    """Load data sets by name or file, one after the other.

    Args:
        sources: names (`DATASETS`) or files: anything ASE reads (also gzipped), SDF, the QM9
            archives as published, PyG's ``gdb9.sdf``, ISO17's databases, npz of MD17 and rMD17,
            and what readers of your own take (`schnetgen_pyg.data.readers.READERS`).
        path: for a name, the published archive where it is already on the disk.
        keys: of files, where labels have other names: ``{"energy": "REF_energy"}``.
        units: of files that do not state them: ``{"energy": "kcal/mol", "pos": "Bohr"}``; forces
            are then in kcal/mol/Bohr, unless their own unit is given.

    Returns:
        list of ``Data`` with ``z``, ``pos`` (Å) and, where known, ``energy`` (eV), ``forces``
        (eV/Å), ``cell`` (Å), ``charge`` (e), ``spin_multiplicity``, ``info`` and other attributes.
        Those of a file that `schnetgen_pyg.data.convert.convert` made stay on the disk, as
        `schnetgen_pyg.data.stored.StoredStructures`.

    Raises:
        InputError: naming the file, the structure and what is wrong.
    """
    if not sources:
        raise InputError(f"nothing to load: name a file or a data set ({', '.join(DATASETS)})")
    labels = Labels(keys or {}, units or {})
    names = {source for source in sources if isinstance(source, str) and source in DATASETS}
    if path is not None and not names:
        raise InputError(f"the path {path} is for data sets by name; give the file itself instead")
    if labels and len(names) == len(sources) > 0:
        raise InputError(
            "keys and units are for files; data sets by name have labels of known names and units"
        )
    if any(isinstance(source, (str, os.PathLike)) and is_stored(source) for source in sources):
        return _stored(sources, bool(labels))
    structures: list[Data] = []
    for source in sources:
        if not isinstance(source, (str, os.PathLike)):
            raise InputError(
                f"expected the name of a data set or a file, got {type(source).__name__}; several "
                "are arguments of their own: load(one, another)"
            )
        if source in names:
            structures += DATASETS[str(source)].load(None if path is None else Path(path))
        elif Path(source).is_dir():
            raise InputError(f"{source}: is a folder; name a file in it")
        elif not Path(source).is_file():
            raise InputError(
                f"{source}: no such file, nor a data set{nearest(str(source), DATASETS)} (there "
                f"are {', '.join(DATASETS)})"
            )
        else:
            structures += read_cached(Path(source), labels)
    return structures


def _stored(sources: Sequence[str | os.PathLike[str]], labels: bool) -> Sequence[Data]:
    """The one file whose structures stay on the disk."""
    path = next(Path(source) for source in sources if is_stored(source))
    if len(sources) > 1:
        raise InputError(
            f"{path}: stays on the disk and cannot be joined with others; make one file of all: "
            f"schnetgen convert {' '.join(str(Path(source).name) for source in sources)} --out …"
        )
    if labels:
        raise InputError(f"{path}: keys and units are told when it is made (schnetgen convert)")
    if not path.is_file():
        raise InputError(
            f"{path}: {'is a folder; name a file in it' if path.is_dir() else 'no such file'}"
        )
    return StoredStructures(path)
