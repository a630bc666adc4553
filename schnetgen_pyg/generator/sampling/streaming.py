"""Generation into a file: molecules are written as they come, and a killed run continues."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ase.io

from schnetgen_pyg.data.conversion import as_data
from schnetgen_pyg.data.writers import file_format, keep_whole_frames, write
from schnetgen_pyg.errors import InputError
from schnetgen_pyg.generator.model import SchNetGen
from schnetgen_pyg.generator.sampling.config import SamplingConfig
from schnetgen_pyg.generator.sampling.formulas import check_formula, numbers_of
from schnetgen_pyg.generator.sampling.generate import sample
from schnetgen_pyg.storage.atomic import replacing

#: Settings that do not change the molecules.
COSMETIC = ("batch_size", "jobs", "max_elements")


#: What a partial file is already.
PLAIN = (".extxyz", ".xyz")


def _run_settings(
    model: SchNetGen, formula: str, seed: int, fragment: Any, config: SamplingConfig
) -> dict[str, Any]:
    """What decides which molecules a run makes, as JSON can hold it."""
    weights = hashlib.sha256()
    for value in model.state_dict().values():
        weights.update(value.cpu().numpy().tobytes())
    placed = None
    if fragment is not None:
        start = as_data(fragment, "fragment")[0]
        placed = [start.z.tolist(), start.pos.tolist()]
    return {
        "model": weights.hexdigest(),
        "formula": formula,
        "seed": seed,
        "fragment": placed,
        "config": {k: v for k, v in asdict(config).items() if k not in COSMETIC},
    }


def _continued(partial: Path, settings: Path, wanted: dict[str, Any]) -> int:
    """How many molecules a run that was stopped has left in ``partial``."""
    if not settings.is_file():
        partial.unlink(missing_ok=True)
        with replacing(settings) as temporary:
            temporary.write_text(json.dumps(wanted))
        return 0
    try:
        saved = json.loads(settings.read_text())
    except ValueError as error:
        raise InputError(
            f"{settings}: damaged, so that the molecules in {partial.name} are of unknown "
            "settings; remove both, or name another output"
        ) from error
    if saved != wanted:
        raise InputError(
            f"{partial}: holds molecules of another model or other settings; remove it and "
            f"{settings.name}, or name another output"
        )
    return keep_whole_frames(partial)


def generate_file(
    model: SchNetGen,
    formula: str,
    num_molecules: int,
    path: str | os.PathLike[str],
    *,
    seed: int = 0,
    fragment: Any = None,
    config: SamplingConfig | None = None,
    progress: Callable[..., Any] | None = None,
) -> None:
    """`generate` into a file; a run that was killed keeps what it has and continues.

    Molecules go to ``PATH.partial.extxyz`` as they are finished, and to ``path`` at the end.

    Raises:
        InputError: as `generate`; if the partial file is of another model or other settings; or
            if it cannot be written.
    """
    config = config or SamplingConfig()
    path = Path(path)
    file_format(path)
    check_formula(model, numbers_of(formula), config)
    common: dict[str, Any] = {"seed": seed, "fragment": fragment, "config": config}
    sample(model, formula, num_molecules, **common)  # refuses what is wrong, builds nothing
    partial, settings = (path.with_name(f"{path.name}.partial.{s}") for s in ("extxyz", "json"))
    done = _continued(partial, settings, _run_settings(model, formula, **common))
    if done < num_molecules:
        molecules: Any = sample(model, formula, num_molecules - done, first=done, **common)
        if progress:
            molecules = progress(molecules, initial=done, total=num_molecules)
        try:
            with partial.open("a") as file:
                for atoms in molecules:
                    ase.io.write(file, atoms, format="extxyz")
                    file.flush()
        except OSError as error:
            raise InputError(
                f"{partial}: could not be written ({error}); the molecules before are kept, the "
                "same command continues with the next one"
            ) from error
    if path.suffix in PLAIN and done <= num_molecules:
        partial.replace(path)
    else:
        write(path, ase.io.read(partial, index=f":{num_molecules}", format="extxyz"))
        partial.unlink()
    settings.unlink()
