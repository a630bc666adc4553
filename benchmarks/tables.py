"""Write the tables of the README from ``benchmarks/results/*.json``, and nothing by hand.

python benchmarks/tables.py            # rewrite README.md
python benchmarks/tables.py --check    # exit status 1 if it is out of date
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README = HERE.parent / "README.md"


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def source(name: str, record: dict[str, Any]) -> str:
    versions = record["versions"]
    return (
        f"`benchmarks/results/{name}.json`: commit {record['commit']}, {record['processor']}, "
        f"torch {versions['torch']}, seed {record['seed']}."
    )


def paper(record: dict[str, Any]) -> str:
    ours, theirs = record["evaluation"], record["paper"]
    sizes = ours["references"]
    real = sizes["test"]
    share = f"{theirs['test_found'] / theirs['test_size']:.1%}"
    found = ours["matches"]["test"]["fingerprint"]
    rows = [
        ["structures generated", f"{theirs['n']:,}", f"{ours['n']:,}", f"{real['n']:,}"],
        [
            "valid (strict: neutral, closed-shell, one fragment)",
            "not stated",
            f"{ours['valid']:,}",
            f"{real['valid']:,}",
        ],
        [
            "different scaffolds (fingerprint)",
            f"{theirs['unique']:,}",
            f"{ours['unique']['fingerprint']:,} (of the valid)",
            f"{real['unique']['fingerprint']:,}",
        ],
        [
            "training isomers found",
            f"{theirs['train_found']:,} of 2,000",
            f"{ours['matches']['train']['fingerprint']:,} of {sizes['train']['n']:,}",
            "",
        ],
        [
            "unseen test isomers found",
            f"{theirs['test_found']:,} of {theirs['test_size']:,} ({share})",
            f"{found:,} of {sizes['test']['n']:,} ({found / sizes['test']['n']:.1%})",
            "",
        ],
    ]
    training = record["training"]
    seconds = record["generation_seconds"]
    speed = f" Generation took {seconds:,.0f} s." if seconds else ""
    note = (
        f"{training['step']:,} training steps of {training['training']['batch_size']} molecules, "
        f"validation loss {training['metrics']['validation_loss']:.3f} nats per distance, "
        f"T = {record['temperature']}.{speed} {source('paper', record)}"
    )
    return markdown(["", "paper", "`c7h10o2-paper`", "the real test isomers"], rows) + "\n\n" + note


def training_step(record: dict[str, Any]) -> str:
    rows = [
        [
            name,
            f"{row['prepare_seconds']:.3f}",
            f"{row['step_seconds']:.3f}",
            f"{record['times_ours'][name]:.1f}",
        ]
        for name, row in record["medians"].items()
    ]
    header = ["", "preparation (s)", "forward, backward, Adam (s)", "times ours"]
    note = (
        f"{record['molecules']} molecules C7H10O2, all partial molecules, 9 blocks, 128 features, "
        f"{record['threads']} CPU threads, medians. {source('training_step', record)}"
    )
    return markdown(header, rows) + "\n\n" + note


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "paper": paper,
    "training_step": training_step,
}


def render(text: str) -> str:
    """The README's text with every table between its markers made anew."""
    for name, table in TABLES.items():
        record = json.loads((HERE / "results" / f"{name}.json").read_text())
        block = f"<!-- table: {name} -->\n{table(record)}\n<!-- end -->"
        text, count = re.subn(
            rf"<!-- table: {name} -->.*?<!-- end -->", lambda _, b=block: b, text, flags=re.DOTALL
        )
        if count != 1:
            raise SystemExit(f"README.md needs the markers of table {name!r} exactly once")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    text = README.read_text()
    made = render(text)
    if options.check:
        sys.exit(made != text)
    README.write_text(made)


if __name__ == "__main__":
    main()
