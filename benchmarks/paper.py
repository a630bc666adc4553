"""The paper's experiment: generate from a checkpoint, judge against train and test isomers.

    python benchmarks/paper.py --checkpoint RUN/model.safetensors --train train.extxyz.gz \
        --test test.extxyz.gz --out runs/paper/generated.extxyz

Writes ``paper.json``. A run that was stopped continues.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import ase.io
from common import COMMIT, benchmark_parser, save
from tqdm import tqdm

from schnetgen_pyg import SamplingConfig, SchNetGen, evaluate, load
from schnetgen_pyg.generator.sampling.streaming import generate_file

PAPER = {"n": 10_000, "unique": 4392, "train_found": 266, "test_found": 388, "test_size": 4095}


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--checkpoint", default="c7h10o2-paper")
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--num", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--temperature", type=float, default=0.01)
    parser.add_argument("--note", default="", help="what else the machine did meanwhile")
    parser.add_argument("--out", type=Path, default=Path("runs/paper/generated.extxyz"))
    options = parser.parse_args()

    model = SchNetGen.from_pretrained(options.checkpoint)
    config = SamplingConfig(temperature=options.temperature)
    # How long the generation took, and at which commit, is kept beside the structures.
    log = options.out.with_suffix(".json")
    if not options.out.exists():
        fresh = not options.out.with_name(options.out.name + ".partial.json").exists()
        options.out.parent.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        generate_file(
            model,
            "C7H10O2",
            options.num,
            options.out,
            seed=options.seed,
            config=config,
            progress=tqdm,
        )
        seconds = time.perf_counter() - start if fresh else None
        log.write_text(json.dumps({"commit": COMMIT, "seconds": seconds}))
    result = evaluate(
        ase.io.read(options.out, ":"),
        train=load(options.train),
        test=load(options.test),
        progress=tqdm,
    )
    print(result.summary())
    figures = {
        "checkpoint": str(Path(options.checkpoint).name),
        "training": model.provenance,
        "temperature": options.temperature,
        "generation": json.loads(log.read_text()),
        "note": options.note,
        "paper": PAPER,
        "evaluation": result.figures(),
    }
    save("paper", figures, options.seed, options.results)


if __name__ == "__main__":
    main()
