"""The commands by their names; the first line of each is what ``schnetgen --help`` says of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from schnetgen_pyg.commands import (
    conformers,
    dynamics,
    embedding,
    energies,
    files,
    fragments,
    generation,
    generators,
    graphs,
    judges,
    probe,
)

COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "convert": files.convert,
    "train": generators.train,
    "generate": generation.generate,
    "complete": fragments.complete,
    "vary": fragments.vary,
    "hydrogens": fragments.hydrogens,
    "conformers": conformers.conformers,
    "embed": embedding.embed,
    "evaluate": judges.evaluate,
    "report": judges.report,
    "view": judges.view,
    "fit-potential": energies.fit_potential,
    "fit-graph": graphs.fit_graph,
    "predict": energies.predict,
    "label": energies.label,
    "relax": energies.relax,
    "probe": probe.probe,
    "md": dynamics.md,
}
