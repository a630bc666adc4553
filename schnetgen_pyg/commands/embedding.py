"""Vectors of molecules by a trained encoder of 2-D graphs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from schnetgen_pyg.commands.options import (
    add_device,
    add_out,
    add_smiles,
    claim,
    command_parser,
    require_suffix,
    usable_device,
)
from schnetgen_pyg.commands.parser import Parser

if TYPE_CHECKING:
    import numpy as np

    from schnetgen_pyg.data.molecule_rows import MoleculeRow
    from schnetgen_pyg.representations.boltzmann_gnn import BoltzmannGNN

#: The bundled encoder, and molecules that are encoded at once.
DEFAULT, AT_ONCE = "boltzmann", 256
#: Failures that are named one by one.
NAMED = 5


def embed(arguments: Sequence[str]) -> None:
    """write the vectors of molecules, one row each, by a Boltzmann GNN"""
    from pathlib import Path

    from schnetgen_pyg.commands.output import say
    from schnetgen_pyg.commands.progress import progress
    from schnetgen_pyg.data.csv_tables import FAILURE
    from schnetgen_pyg.data.molecule_rows import MoleculeRows
    from schnetgen_pyg.data.vector_tables import TABLES, VECTOR, VECTORS
    from schnetgen_pyg.errors import InputError
    from schnetgen_pyg.parallel import grouped
    from schnetgen_pyg.representations.boltzmann_gnn import BoltzmannGNN
    from schnetgen_pyg.storage.atomic import replacing

    parser = command_parser(
        "embed",
        "Write the vector of every molecule, which stands for all its conformers: one row each, "
        "with all that the file says of it. Rows that are no molecule are kept without a vector "
        "and named.",
    )
    _add_options(parser)
    options = parser.parse_args(arguments)
    require_suffix(options.out, *TABLES)
    writing = claim(options, options.out)
    rows = MoleculeRows(Path(options.file), options.smiles)
    for name in rows.columns:
        if name in (FAILURE, VECTORS) or name.startswith(VECTOR):
            raise InputError(
                f"{options.file}: has a column {name!r}, which is to be made; rename it"
            )
    model = BoltzmannGNN.from_pretrained(options.model).to(usable_device(options.device))
    encoder = _Encoder(model)
    with writing, replacing(options.out) as temporary:
        table = TABLES[Path(options.out).suffix.lower()](temporary)
        try:
            for some in grouped(progress(rows), AT_ONCE):
                vectors, failures = encoder.vectors(some)
                said = {name: [row.said.get(name, "") for row in some] for name in rows.columns}
                table.add(said | {FAILURE: failures}, vectors)
        finally:
            table.close()
        if not encoder.made:
            first = encoder.failures[:1] or [f"{options.file}: holds no molecules"]
            raise InputError(f"no vector could be made: {first[0]}")
    for text in encoder.told():
        say(text, options.out)
    say(f"wrote {encoder.made} vectors of {model.config.channels} numbers to {options.out}")


def _add_options(parser: Parser) -> None:
    parser.add_argument(
        "file", type=str, help="SMILES (.csv, .smi) or molecules with bonds (.sdf, .mol)"
    )
    parser.add_argument(
        "--model",
        type=str,
        default=DEFAULT,
        help="name of a bundled encoder, its file, or the file of a generator of conformers",
    )
    add_smiles(parser)
    add_device(parser)
    add_out(parser, "table: .csv, .npz or .parquet")


class _Encoder:
    """Vectors of rows, and what went wrong."""

    def __init__(self, model: BoltzmannGNN):
        self.model, self.made, self.failed = model, 0, 0
        self.failures: list[str] = []
        self.unseen: dict[int, None] = {}  # in the order of the file
        self.first_unseen, self.with_unseen = "", 0

    def vectors(self, rows: Sequence[MoleculeRow]) -> tuple[np.ndarray, list[str]]:
        """Of rows [num_rows, channels], NaN where there is none, and why."""
        import numpy as np
        import torch

        from schnetgen_pyg.chem.molecular_graphs import MolecularGraph
        from schnetgen_pyg.data.graph_features import GraphBatch
        from schnetgen_pyg.errors import InputError

        found = np.full((len(rows), self.model.config.channels), np.nan, dtype=np.float32)
        graphs, places, failures = [], [], [""] * len(rows)
        for place, row in enumerate(rows):
            try:
                graph = MolecularGraph.of_mol(row.molecule())
            except InputError as error:
                failures[place] = str(error).removeprefix(f"{row.where}: ")
                self.failed += 1
                if len(self.failures) < NAMED:
                    self.failures.append(str(error))
                continue
            self._see({*graph.numbers.tolist()}, row.where)
            graphs.append(graph)
            places.append(place)
        if graphs:
            device = next(self.model.parameters()).device
            with torch.inference_mode():
                batch = GraphBatch.of_graphs(graphs)
                told = self.model(*(part.to(device) for part in batch))
            found[places] = told.float().cpu().numpy()
        self.made += len(graphs)
        return found, failures

    def _see(self, numbers: set[int], where: str) -> None:
        unseen = numbers - {*self.model.config.elements} if self.model.config.elements else set()
        if unseen:
            self.unseen |= dict.fromkeys(sorted(unseen))
            self.first_unseen = self.first_unseen or where
            self.with_unseen += 1

    def told(self) -> Iterator[Any]:
        """What went wrong, in words."""
        from schnetgen_pyg.chem.elements import hill_formula

        if self.failed:
            more = "; …" if self.failed > len(self.failures) else ""
            total = self.made + self.failed
            yield f"{self.failed} of {total} rows have no vector: {'; '.join(self.failures)}{more}"
        if self.unseen:
            symbols = ", ".join(hill_formula([number]) for number in self.unseen)
            yield (
                f"warning: the encoder has never seen {symbols}, which {self.with_unseen} of the "
                f"rows have (first {self.first_unseen}): their vectors say little"
            )
