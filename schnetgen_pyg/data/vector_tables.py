"""Tables of molecules with their vectors, written a few rows at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Protocol

import numpy as np
import pandas as pd

from schnetgen_pyg.errors import InputError

#: Columns of the vectors begin so; as one array they are called so.
VECTOR, VECTORS = "vector_", "vectors"


class VectorTable(Protocol):
    """A file that is being written."""

    def add(self, texts: Mapping[str, Sequence[Any]], vectors: np.ndarray) -> None:
        """Rows: what is said of each, by column, and its vector [num_rows, channels]."""

    def close(self) -> None:
        """There are no more rows."""


class CsvTable:
    """``.csv``: the columns, and ``vector_0`` and so on."""

    def __init__(self, path: Path):
        self.file, self.begun = path.open("w", newline="", encoding="utf-8"), False

    def add(self, texts: Mapping[str, Sequence[Any]], vectors: np.ndarray) -> None:
        frame = _frame(texts, vectors)
        frame.to_csv(self.file, index=False, header=not self.begun, float_format="%.8g")
        self.begun = True

    def close(self) -> None:
        self.file.close()


class NpzTable:
    """``.npz``: ``vectors`` [num_molecules, channels], and each column as an array of texts, which
    alone are kept in memory."""

    def __init__(self, path: Path):
        self.path, self.rows, self.channels = path, TemporaryFile(), 0  # noqa: SIM115
        self.texts: dict[str, list[str]] = {}

    def add(self, texts: Mapping[str, Sequence[Any]], vectors: np.ndarray) -> None:
        for name, values in texts.items():
            self.texts.setdefault(name, []).extend(map(str, values))
        self.channels = vectors.shape[1]
        self.rows.write(np.ascontiguousarray(vectors, dtype=np.float32).tobytes())

    def close(self) -> None:
        self.rows.flush()
        vectors = np.empty((0, 0), dtype=np.float32)
        if self.channels:
            vectors = np.memmap(self.rows, np.float32, "r").reshape(-1, self.channels)
        arrays = {VECTORS: vectors} | {name: np.array(v) for name, v in self.texts.items()}
        # `np.savez` takes the names as those of arguments, and has one that is called file.
        with zipfile.ZipFile(self.path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for name, values in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, np.asanyarray(values), allow_pickle=False)
        self.rows.close()


class ParquetTable:
    """``.parquet``, with the columns of ``.csv``; it needs pyarrow."""

    def __init__(self, path: Path):
        try:
            import pyarrow.parquet
        except ImportError as error:
            raise InputError(
                ".parquet is written by pyarrow, which is not there (pip install "
                "pyarrow); take .csv or .npz"
            ) from error
        self.arrow, self.path = pyarrow, path
        self.writer: Any = None

    def add(self, texts: Mapping[str, Sequence[Any]], vectors: np.ndarray) -> None:
        plain = {name: [str(value) for value in values] for name, values in texts.items()}
        table = self.arrow.Table.from_pandas(_frame(plain, vectors), preserve_index=False)
        if self.writer is None:
            self.writer = self.arrow.parquet.ParquetWriter(self.path, table.schema)
        self.writer.write_table(table)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


#: By the suffix of the file.
TABLES: dict[str, Callable[[Path], VectorTable]] = {
    ".csv": CsvTable,
    ".npz": NpzTable,
    ".parquet": ParquetTable,
}


def _frame(texts: Mapping[str, Sequence[Any]], vectors: np.ndarray) -> pd.DataFrame:
    names = [f"{VECTOR}{k}" for k in range(vectors.shape[1])]
    numbers = pd.DataFrame(vectors, columns=names)
    return pd.concat([pd.DataFrame(dict(texts)), numbers], axis=1)
