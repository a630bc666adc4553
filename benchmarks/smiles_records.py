"""What the makers of data share: a record of each SMILES, made in processes, kept as it comes."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rdkit import rdBase
from tqdm import tqdm

from schnetgen_pyg.data.writers import file_format
from schnetgen_pyg.parallel import Failure, each_in_processes, in_order
from schnetgen_pyg.storage.resumable import ResumableFile

#: Makes the record of a SMILES; ``failure`` says why there is nothing in it.
Make = Callable[[str], dict[str, Any]]


def records_of(
    texts: list[str], make: Make, out: Path, settings: dict[str, Any], jobs: int, seconds: float
) -> list[dict[str, Any]]:
    """The records of all SMILES, in their order. ``NAME.jsonl`` beside ``out`` has a line for each;
    a run that was stopped continues.

    Args:
        make: can be pickled.
        settings: all that decides what is made.
        jobs: processes.
        seconds: after which a SMILES is given up.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    file_format(out)
    log = out.with_name(f"{out.name.partition('.')[0]}.jsonl")
    file = ResumableFile(log, "jsonl", settings)
    if not file.finished:
        file.extend(_lines(texts, file.done, make, jobs, seconds))
        file.publish()
    return [json.loads(line) for line in log.read_text().splitlines()]


def _made(texts: list[str], make: Make) -> list[str]:
    warnings.filterwarnings("ignore")
    with rdBase.BlockLogs():
        return [json.dumps(make(text)) for text in texts]


def _lines(texts: list[str], done: int, make: Make, jobs: int, seconds: float) -> Iterator[str]:
    """A line of every SMILES after those that are done, in their order."""
    waiting = texts[done:]
    work = partial(_made, make=make)
    results = each_in_processes(work, waiting, size=1, jobs=jobs, timeout=seconds)
    progress = tqdm(in_order(results), total=len(texts), initial=done)
    for text, line in zip(waiting, progress, strict=True):
        if isinstance(line, Failure):
            line = json.dumps({"smiles": text, "failure": line.reason})
        yield f"{line}\n"
