"""The paper's experiment: generate from a checkpoint, judge against train and test isomers.

    python benchmarks/paper.py --checkpoint RUN/model.safetensors --train train.extxyz.gz \
        --test test.extxyz.gz --out runs/paper

Writes ``paper.json``. A run that was stopped continues; one that is asked for more structures makes
the others only.

    python benchmarks/paper.py --steps 3000 12250 50000 --train … --test …

trains the recipe of `c7h10o2-paper` and generates after each of these numbers of steps, which the
paper does not state: ``paper_steps.json``, a row for each.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from checkpoints import RECIPES, Stage, train
from common import benchmark_parser, kept_row, save
from samples import structures, weights_of
from tqdm import tqdm

from schnetgen_pyg import SamplingConfig, SchNetGen, evaluate, load
from schnetgen_pyg.data.digest import digest

PAPER = {"n": 10_000, "unique": 4392, "train_found": 266, "test_found": 388, "test_size": 4095}


def judged(model: SchNetGen, path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Structures of a model, and what became of them."""
    config = SamplingConfig(temperature=options.temperature)
    made, generation = structures(model, options.num, path, options.seed, config)
    sets = {"train": load(options.train), "test": load(options.test)}
    result = evaluate(made, **sets, judges=(), progress=tqdm)
    print(result.summary())
    return {"generation": generation, "evaluation": result.figures()}


def after(steps: int, options: argparse.Namespace) -> SchNetGen:
    """The model after so many steps of one run; longer ones continue it."""
    path = options.out / f"after_{steps}.safetensors"
    if path.is_file():
        return SchNetGen.from_pretrained(path)
    (stage,) = RECIPES["c7h10o2-paper"].stages
    longer = Stage(stage.command, stage.settings | {"steps": steps})
    options.out.mkdir(parents=True, exist_ok=True)
    model = SchNetGen.from_pretrained(train("training", longer, options.train, options.out))
    if model.provenance["step"] != steps:
        raise SystemExit(
            f"{options.out}: the run is at step {model.provenance['step']}, beyond {steps}; train "
            "to this length in another --out"
        )
    model.save(path)
    return model


def over_steps(options: argparse.Namespace) -> None:
    """A row for each length of the training; every row is saved at once."""
    (stage,) = RECIPES["c7h10o2-paper"].stages
    record: dict[str, Any] = {
        "paper": PAPER,
        "structures": options.num,
        "temperature": options.temperature,
        "batch_size": stage.all_settings()["batch_size"],
        "note": options.note,
        "rows": {},
    }
    sets = {name: digest(load(getattr(options, name))) for name in ("train", "test")}
    for steps in sorted(options.steps):
        model = after(steps, options)
        asked = {"weights": weights_of(model), "structures": options.num, "sets": sets}
        asked |= {"temperature": options.temperature, "seed": options.seed}
        told = {
            "num_training": model.provenance["num_training"],
            "validation_loss": model.provenance["metrics"].get("validation_loss", float("nan")),
        }
        path = options.out / f"after_{steps}.extxyz"
        record["rows"][str(steps)] = kept_row(
            options.out / "rows.json",
            str(steps),
            asked,
            lambda m=model, p=path, t=told: t | judged(m, p, options),
        )
        save("paper_steps", record, options.seed, options.results)


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--checkpoint", default="c7h10o2-paper")
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--num", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--temperature", type=float, default=0.01)
    parser.add_argument("--steps", type=int, nargs="+", help="train anew, generate after each")
    parser.add_argument("--note", default="", help="what else the machine did meanwhile")
    parser.add_argument("--out", type=Path, default=Path("runs/paper"))
    options = parser.parse_args()

    if options.steps:
        over_steps(options)
        return
    model = SchNetGen.from_pretrained(options.checkpoint)
    figures = {
        "checkpoint": str(Path(options.checkpoint).name),
        "training": model.provenance,
        "temperature": options.temperature,
        "note": options.note,
        "paper": PAPER,
    }
    figures |= judged(model, options.out / "generated.extxyz", options)
    save("paper", figures, options.seed, options.results)


if __name__ == "__main__":
    main()
