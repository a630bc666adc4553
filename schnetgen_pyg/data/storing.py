"""Write structures to a file from which any can be read, a few at a time, in bounded memory."""

from __future__ import annotations

import json
import shutil
import tempfile
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.data.columns import OF_THE_BATCH
from schnetgen_pyg.data.columns_on_disk import CODES, Kind, kind_and_rows
from schnetgen_pyg.data.digest import Digest
from schnetgen_pyg.data.stored import FORMAT
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.storage.atomic import naming, replacing
from schnetgen_pyg.storage.provenance import provenance


class _Spool:
    """An array that grows in a file of its own."""

    def __init__(self, path: Path, dtype: str, shape: tuple[int, ...] = ()):
        self.path, self.dtype, self.shape, self.length = path, dtype, shape, 0

    def append(self, rows: Tensor) -> None:
        with self.path.open("ab") as file:
            file.write(rows.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        self.length += len(rows)

    def append_numbers(self, numbers: Sequence[int]) -> None:
        self.append(torch.tensor(numbers, dtype=torch.int64))


class _Column:
    """The rows of one attribute, and of which structures they are."""

    def __init__(self, kind: Kind, folder: Path, number: int):
        self.kind, self.number = kind, 0
        self.per_atom = self.per_graph = True
        name = folder / str(number)
        self.rows = _Spool(name, kind.stored, kind.shape)
        self.ends = _Spool(name.with_suffix(".ptr"), "I64")
        self.owners = _Spool(name.with_suffix(".of"), "I64")
        self.ends.append_numbers([0])

    def append(self, owners: list[int], sizes: list[int], parts: list[Tensor]) -> None:
        counts = [len(part) for part in parts]
        self.per_atom &= counts == sizes
        self.per_graph &= set(counts) == {1}
        end, ends = self.rows.length, array("q")
        for count in counts:
            end += count
            ends.append(end)
        self.rows.append(torch.cat(parts))
        self.ends.append_numbers(ends)
        self.owners.append_numbers(owners)
        self.number += len(owners)

    def finished(self, total: int, key: str) -> tuple[Kind, dict[str, _Spool]]:
        """What it is in the file, and its arrays there."""
        some = self.number < total
        spools = {key: self.rows} | ({f"{key}:of": self.owners} if some else {})
        texts = self.kind.what == "json"
        if self.per_atom and not some and not texts:
            return replace(self.kind, rows="atom", key=key), spools
        if self.per_graph and not texts:
            return replace(self.kind, rows="graph", some=some, key=key), spools
        kind = replace(self.kind, rows="ptr", some=some, key=key)
        return kind, spools | {f"{key}:ptr": self.ends}


class Store:
    """A file of structures that grows; within a ``with``, at whose end it is there, whole.

    Args:
        path: of the file.

    Raises:
        InputError: naming a structure that cannot be written; then there is no file.
    """

    def __init__(self, path: Path):
        self.path, self.number = path, 0
        self.metadata: dict[str, Any] = {}
        self._digests = Digest(), Digest()
        self._elements: set[int] = set()
        self._columns: dict[tuple[Any, ...], _Column] = {}
        self._further: dict[str, _Spool] = {}

    def __enter__(self) -> Self:
        with naming(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            place = tempfile.TemporaryDirectory(
                dir=self.path.parent, prefix=".partial-", suffix=self.path.name
            )
        self._place, self._folder = place, Path(place.name)
        self._ptr = _Spool(self._folder / "ptr", "I64")
        self._ptr.append_numbers([0])
        self._end = 0
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: TracebackType | object) -> None:
        try:
            if kind is None:
                self._publish()
        finally:
            self._place.cleanup()

    def add(self, structures: Sequence[Data], further: Mapping[str, Tensor]) -> None:
        """Append structures with ``z`` [num_atoms] and ``pos`` [num_atoms, 3] (Å).

        Args:
            structures: checked, with any attributes.
            further: rows of arrays that are no attributes, by their names in the file.
        """
        found: dict[tuple[Any, ...], tuple[list[int], list[int], list[Tensor]]] = {}
        ends = array("q")
        for number, data in enumerate(structures, self.number):
            size = data.z.numel()
            self._end += size
            ends.append(self._end)
            self._count(data)
            for name, value in data.to_dict().items():
                if value is None or name in OF_THE_BATCH:
                    continue
                kind, rows = kind_and_rows(name, value, f"structure {number}")
                same = name, kind.what, kind.dtype, kind.shape, kind.dim
                if same not in self._columns:
                    self._columns[same] = _Column(kind, self._folder, len(self._columns))
                owners, counts, parts = found.setdefault(same, ([], [], []))
                owners.append(number)
                counts.append(size)
                parts.append(rows)
        with naming(self.path, "is there room for it?"):
            self._ptr.append_numbers(ends)
            for same, values in found.items():
                self._columns[same].append(*values)
            for name, rows in further.items():
                code = CODES[rows.dtype]
                name_here = self._folder / f"further {len(self._further)}"
                spool = _Spool(name_here, code, tuple(rows.shape[1:]))
                self._further.setdefault(name, spool).append(rows)
        self.number += len(structures)

    def _count(self, data: Data) -> None:
        self._elements.update(data.z.tolist())
        self._digests[0].add(data)
        self._digests[1].add(Data(z=data.z, pos=data.pos))

    def _publish(self) -> None:
        if not self.number:
            raise InputError(f"{self.path}: there are no structures to write")
        arrays, kinds, names = {"ptr": self._ptr} | self._further, [], set()
        for column in self._columns.values():
            key, count = column.kind.name, 1
            while key in names or ":" in key or key in arrays:
                count += 1
                key = f"{column.kind.name.replace(':', ' ')} {count}"
            names.add(key)
            kind, spools = column.finished(self.number, key)
            kinds.append(kind)
            arrays |= spools
        said = {
            "num_structures": self.number,
            "num_atoms": self._end,
            "elements": sorted(self._elements),
            "digest": str(self._digests[0]),
            "digest_of_atoms": str(self._digests[1]),
            **self.metadata,
            "made": provenance(),
            "columns": [kind.as_json() for kind in kinds],
        }
        with replacing(self.path) as temporary:
            _write(temporary, arrays, {"format": FORMAT, "structures": json.dumps(said)})


def _write(path: Path, arrays: Mapping[str, _Spool], metadata: Mapping[str, str]) -> None:
    """Put arrays together as safetensors does: a header, then one after the other, those of large
    numbers first, so that all begin at multiples of their size."""
    sizes = {name: spool.path.stat().st_size for name, spool in arrays.items()}
    width = {name: int("".join(filter(str.isdigit, s.dtype)) or 8) for name, s in arrays.items()}
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    order, end = sorted(arrays, key=lambda name: (-width[name], name)), 0
    for name in order:
        spool = arrays[name]
        shape = [spool.length, *spool.shape]
        span = [end, end := end + sizes[name]]
        header[name] = {"dtype": spool.dtype, "shape": shape, "data_offsets": span}
    content = json.dumps(header).encode()
    content += b" " * (-len(content) % 8)
    with path.open("wb") as file:
        file.write(len(content).to_bytes(8, "little") + content)
        for name in order:
            with arrays[name].path.open("rb") as part:
                shutil.copyfileobj(part, file, 2**20)
