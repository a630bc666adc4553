"""Structures in a file, of which any are read without the rest: data larger than memory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch_geometric.data import Data

from schnetgen_pyg.data.columns_on_disk import Kind
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.graphs.indexing import ranges

#: Suffix of the files, and how their metadata name the format.
SUFFIX, FORMAT = ".safetensors", "schnetgen_pyg structures 1"

#: Structures that are looked at together where all are.
CHUNK = 50_000


class StoredColumn(NamedTuple):
    """One attribute in a file.

    Attributes:
        kind: what its values have in common.
        rows: of all structures that have it, one after the other [num_rows, …], in the file.
        ptr: first row of each of these, and the number of rows [number + 1]; none where each
            structure has one row.
        of: their numbers, ascending [number]; none if all have it.
    """

    kind: Kind
    rows: Tensor
    ptr: Tensor | None
    of: Tensor | None

    def place(self, number: int) -> int | None:
        """Where a structure is among those that have the attribute; ``None`` if it lacks it."""
        if self.of is None:
            return number
        owners = self.of.numpy()
        place = int(np.searchsorted(owners, number))
        return place if place < len(owners) and owners[place] == number else None

    def value(self, number: int) -> Any:
        """Of a structure; ``None`` if it lacks the attribute."""
        place = self.place(number)
        if place is None:
            return None
        start, stop = (place, place + 1) if self.ptr is None else _span(self.ptr, place)
        return self.kind.value(self.rows[start:stop])


def _span(ptr: Tensor, place: int) -> tuple[int, int]:
    start, stop = ptr[place : place + 2].tolist()
    return start, stop


class _File:
    """The arrays of a file, mapped into memory: what is not used is not read, and what was used
    the kernel drops where memory is short. Processes share it."""

    def __init__(self, path: Path, digest: str | None = None):
        self.path = path
        try:
            self._open()
        except InputError:
            raise
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}: not a readable file of structures ({error}); make it again with "
                "`schnetgen convert`"
            ) from error
        if digest is not None and digest != self.metadata["digest"]:
            raise InputError(f"{path}: was replaced by another file while it was in use")

    def _open(self) -> None:
        with safe_open(self.path, "pt") as file:
            said = file.metadata() or {}
            if said.get("format") != FORMAT:
                raise InputError(
                    f"{self.path}: holds no structures but a model or other tensors; files of "
                    "structures are made by `schnetgen convert`"
                )
            self.metadata = json.loads(said["structures"])
            self.arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        self.ptr = self.arrays["ptr"]
        self.columns: dict[str, list[StoredColumn]] = {}
        for entry in self.metadata["columns"]:
            kind = Kind.from_json(entry)
            ptr = {"atom": self.ptr, "graph": None}.get(
                kind.rows, self.arrays.get(f"{kind.key}:ptr")
            )
            of = self.arrays[f"{kind.key}:of"] if kind.some else None
            column = StoredColumn(kind, self.arrays[kind.key], ptr, of)
            self.columns.setdefault(kind.name, []).append(column)


def is_stored(path: str | os.PathLike[str]) -> bool:
    """Whether a file of this name holds structures that stay on the disk."""
    return Path(path).suffix.lower() == SUFFIX


class StoredStructures(Sequence[Data]):
    """Structures that stay in their file, which `schnetgen_pyg.data.convert.convert` made.

    ``structures[7]`` is one, with all its attributes and no others, read anew each time;
    ``structures[[4, 0, 7]]``, or of a slice or a tensor, are these, still in the file. They were
    checked when the file was made. Copies in other processes (they can be pickled, and go to the
    workers of a ``DataLoader``) open the file themselves.

    Attributes:
        path: of the file.
        metadata: ``sources`` (name, bytes, SHA-256 and number of structures of each file that they
            come from), ``elements``, ``digest``, and versions, date and machine of the conversion.

    Args:
        path: of the file.

    Raises:
        InputError: if it holds no structures, or is damaged.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self._file = _File(Path(path))
        self._numbers: Tensor | None = None
        self._names: tuple[str, ...] | None = None
        #: Rows of attributes in place of those of the file, of all structures of the file.
        self.replaced: dict[str, Tensor] = {}

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in vars(self).items() if name != "_file"}
        return state | {"_opened": (self.path, self.metadata["digest"])}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._file = _File(*state.pop("_opened"))
        vars(self).update(state)

    @property
    def path(self) -> Path:
        return self._file.path

    @property
    def metadata(self) -> dict[str, Any]:
        return self._file.metadata

    @property
    def ptr(self) -> Tensor:
        """First atom of each structure of the file, and the number of atoms [number + 1]."""
        return self._file.ptr

    @property
    def numbers(self) -> Tensor:
        """Of these structures in the file [num_structures]."""
        return torch.arange(self.num_in_file) if self._numbers is None else self._numbers

    @property
    def num_in_file(self) -> int:
        return self.ptr.numel() - 1

    @property
    def whole(self) -> bool:
        """Whether these are all structures of the file."""
        return self._numbers is None

    @property
    def complete(self) -> bool:
        """Whether they have all attributes of the file."""
        return self._names is None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the attributes that any structure of the file has."""
        known = {**self._file.columns, **self.replaced}
        return tuple(known if self._names is None else (n for n in self._names if n in known))

    @cached_property
    def elements(self) -> list[int]:
        """Atomic numbers in the file, ascending."""
        return list(map(int, self.metadata["elements"]))

    @property
    def sizes(self) -> Tensor:
        """Numbers of atoms [num_structures], without a look at the atoms."""
        return self.ptr[self.numbers + 1] - self.ptr[self.numbers]

    def atoms(self, chunk: int = CHUNK) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Where the atoms are, of so many structures at a time: places of these structures, and of
        every atom [num_atoms] its structure among them and its row in the file."""
        for places in torch.arange(len(self)).split(chunk):
            numbers = self.numbers[places] if not self.whole else places
            start = self.ptr[numbers]
            batch, place = ranges(self.ptr[numbers + 1] - start)
            yield places, batch, start[batch] + place

    def columns(self, name: str) -> list[StoredColumn]:
        """Of the attribute: one, or several where structures have it in different types."""
        return self._file.columns.get(name, [])

    def has_array(self, key: str) -> bool:
        """Whether the file has an array of this name."""
        return key in self._file.arrays

    def array(self, key: str) -> Tensor:
        """An array of the file that is no attribute of the structures."""
        return self._file.arrays[key]

    def __len__(self) -> int:
        return self.num_in_file if self._numbers is None else self._numbers.numel()

    @overload
    def __getitem__(self, index: int) -> Data: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | Tensor) -> StoredStructures: ...

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, (int, np.integer)) or (isinstance(index, Tensor) and not index.dim()):
            place = int(index)
            if not -len(self) <= place < len(self):
                raise IndexError(f"structure {place} of {len(self)}")
            return self._one(place % len(self))
        if not isinstance(index, slice):
            index = torch.as_tensor(index)
            index = index if index.numel() else index.long()
        chosen = torch.arange(len(self))[index]
        return self._changed(_numbers=chosen if self._numbers is None else self._numbers[chosen])

    def __iter__(self) -> Iterator[Data]:
        return map(self._one, range(len(self)))

    def _one(self, place: int) -> Data:
        number = place if self._numbers is None else int(self._numbers[place])
        data = Data()
        for name in self.names:
            if name in self.replaced:
                rows = self.replaced[name]
                each = rows.shape[0] == self.num_in_file
                start, stop = (number, number + 1) if each else _span(self.ptr, number)
                data[name] = rows[start:stop].clone()
                continue
            for column in self._file.columns[name]:
                if (value := column.value(number)) is not None:
                    data[name] = value
        units = (data.get("info") or {}).get("units")
        if self.replaced and isinstance(units, dict):  # the file states those of its own rows
            units = {name: unit for name, unit in units.items() if name not in self.replaced}
            data.info = {**data.info, "units": units}
        return data

    def _changed(self, **changes: Any) -> StoredStructures:
        result = StoredStructures.__new__(StoredStructures)
        vars(result).update(vars(self) | changes)
        return result

    def only(self, *names: str) -> StoredStructures:
        """The same with these attributes alone, which are read faster."""
        return self._changed(_names=names)

    def with_everything(self) -> StoredStructures:
        """The same with all attributes of the file."""
        return self._changed(_names=None)

    def with_rows(self, **rows: Tensor) -> StoredStructures:
        """The same with other rows of these attributes, which are in memory.

        Args:
            rows: one for each structure of the file [num_in_file, …], or for each atom.
        """
        return self._changed(
            replaced=self.replaced | rows,
            _names=None if self._names is None else tuple(dict.fromkeys((*self._names, *rows))),
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path.name!r}, {len(self):,} structures)"


def taken(structures: Sequence[Data], numbers: Sequence[int]) -> Sequence[Data]:
    """Those with these numbers; of a file, still in the file."""
    if isinstance(structures, StoredStructures):
        return structures[numbers]
    return [structures[number] for number in numbers]


def with_label(structures: Sequence[Data], name: str) -> Sequence[Data]:
    """Those that have an attribute whose numbers are all finite; of a file, still in the file."""

    def has(data: Data) -> bool:
        value = data.get(name)
        return value is not None and bool(torch.as_tensor(value).isfinite().all())

    if isinstance(structures, StoredStructures) and name in structures.replaced:
        rows = structures.replaced[name]
        fine = rows.isfinite().reshape(len(rows), -1).all(1)
        if len(rows) != structures.num_in_file:  # of atoms: those before each that are not
            missing = torch.cat([torch.zeros(1, dtype=torch.long), (~fine).long().cumsum(0)])
            fine = missing[structures.ptr].diff() == 0
        kept = fine[structures.numbers].nonzero().flatten().tolist()
    else:
        looked = structures.only(name) if isinstance(structures, StoredStructures) else structures
        kept = [number for number, data in enumerate(looked) if has(data)]
    return structures if len(kept) == len(structures) else taken(structures, kept)


def elements_in(structures: Sequence[Data]) -> set[int]:
    """Atomic numbers; of a file those of all that it holds."""
    if isinstance(structures, StoredStructures):
        return {*structures.elements}
    return {int(number) for data in structures for number in data.z.unique()}


def most_of_each(data: Sequence[Data]) -> dict[int, int]:
    """Most atoms of each element in any structure, by atomic number."""
    counts = torch.zeros(101, dtype=torch.long)
    for single in data:
        counts = torch.maximum(counts, torch.bincount(single.z, minlength=101))
    return {z: int(counts[z]) for z in counts.nonzero().flatten().tolist()}
