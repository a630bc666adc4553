"""Generated structures that several benchmarks judge: kept, continued, and made in part only where
more are asked for."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from io import StringIO
from itertools import accumulate
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
from common import command_line, now
from tqdm import tqdm

from schnetgen_pyg import SamplingConfig, SchNetGen
from schnetgen_pyg.data.writers import keep_whole_frames
from schnetgen_pyg.generator.sampling.generate import sample
from schnetgen_pyg.storage.atomic import replacing
from schnetgen_pyg.storage.resumable import ResumableFile

#: Unless another is asked for.
FORMULA = "C7H10O2"
#: Settings that do not change the molecules.
COSMETIC = ("batch_size", "jobs", "max_elements")


def weights_of(model: SchNetGen) -> str:
    """SHA-256 of a model's weights."""
    content = hashlib.sha256()
    for value in model.state_dict().values():
        content.update(value.cpu().numpy().tobytes())
    return content.hexdigest()


def drawn(data: Sequence[Any], num: int, seed: int) -> list[Any]:
    """So many of them, or all there are, at random and in random order: the first few are a fair
    sample, too."""
    order = np.random.default_rng(seed).permutation(len(data))[:num]
    return [data[k] for k in order.tolist()]


def structures(
    model: SchNetGen,
    num: int,
    path: Path,
    seed: int,
    config: SamplingConfig,
    formula: str | None = FORMULA,
    targets: Mapping[str, float] | None = None,
) -> tuple[list[ase.Atoms], dict[str, Any]]:
    """The first so many structures of a seed; those that are in the file are not made again.

    Args:
        model: the generator.
        num: how many structures.
        path: of the file; ``PATH.partial.extxyz`` keeps them, with what decides them beside it.
        seed: molecule k of a seed is always the same.
        config: how they are sampled.
        formula: of all of them; ``None`` for any.
        targets: of all of them.

    Returns:
        as `kept`.

    Raises:
        InputError: where the file holds structures of other weights or settings.
    """
    asked = {"formula": formula} | ({"targets": dict(targets)} if targets else {})

    def made(first: int) -> Iterator[ase.Atoms]:
        told: dict[str, Any] = {"targets": targets} if targets else {}
        return sample(model, formula, num - first, seed=seed, config=config, first=first, **told)

    return kept(path, num, made_with(model, seed, config) | asked, made)


def made_with(model: SchNetGen, seed: int, config: SamplingConfig) -> dict[str, Any]:
    """What of a call always decides the molecules, as JSON can hold it."""
    decisive = {k: v for k, v in asdict(config).items() if k not in COSMETIC}
    return {"model": weights_of(model), "seed": seed, "config": decisive}


def file_of(folder: Path, name: str, settings: Mapping[str, Any]) -> Path:
    """A file of its own for all settings, so that a call with others disturbs none."""
    known = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    return folder / f"{name}_{known}.extxyz"


def kept(
    path: Path, num: int, settings: Mapping[str, Any], make: Callable[[int], Iterable[ase.Atoms]]
) -> tuple[list[ase.Atoms], dict[str, Any]]:
    """The first so many molecules of a run; those that are in the file are not made again.

    Args:
        path: of the file; ``PATH.partial.extxyz`` keeps them.
        num: how many.
        settings: all that decides them.
        make: from the number of the first that is wanted to the molecules from there on.

    Returns:
        the molecules, and ``commit`` and ``seconds`` of making them: no seconds where a part of
        the time is not known, as it was stopped; and ``seconds_a_molecule`` of those parts whose
        time is known.

    Raises:
        InputError: where the file holds molecules of other settings.
    """
    file = ResumableFile(path, "extxyz", settings, keep_whole_frames)
    log = path.with_suffix(".pieces.json")
    pieces = json.loads(log.read_text()) if log.is_file() and file.done else []
    if file.done < num:
        start, first = time.perf_counter(), file.done
        file.extend(map(_frame, tqdm(make(first), initial=first, total=num)))
        piece = {"first": first, "count": num - first, "command": command_line()}
        pieces.append(piece | now(start))
        with replacing(log) as temporary:
            temporary.write_text(json.dumps(pieces, indent=1))
    return ase.io.read(file.partial, f":{num}"), _quoted(pieces, num)


def _quoted(pieces: Sequence[dict[str, Any]], num: int) -> dict[str, Any]:
    """Commits of the pieces that the first so many are in, their seconds where all of them are, and
    those of one."""
    own = [piece for piece in pieces if piece["first"] < num]
    ends = list(accumulate(piece["count"] for piece in own))
    whole = bool(own) and ends[-1] == num and [0, *ends[:-1]] == [p["first"] for p in own]
    count, seconds = (sum(piece[key] for piece in own) for key in ("count", "seconds"))
    return {
        "commit": ", ".join(dict.fromkeys(piece["commit"] for piece in own)) or "unknown",
        "seconds": seconds if whole else None,
        "seconds_a_molecule": seconds / count if count else None,
    }


def _frame(atoms: ase.Atoms) -> str:
    text = StringIO()
    ase.io.write(text, atoms, format="extxyz")
    return text.getvalue()
