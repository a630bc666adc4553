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
    all_sizes = f"{theirs['test_found']:,} of {theirs['test_size']:,} ({share})"
    scaffolds = {name: figures["own"]["scaffold"] for name, figures in sizes.items()}
    matches = ours["matches"]

    def of(found: int, whole: int) -> str:
        return f"{found:,} of {whole:,} ({found / whole:.1%})"

    rows = [
        ["structures generated", f"{theirs['n']:,}", f"{ours['n']:,}", f"{real['n']:,}"],
        ["*all structures, hydrogens and bond orders ignored:*", "", "", ""],
        [
            "different scaffolds",
            f"{theirs['unique']:,}",
            f"{ours['unique']['scaffold']:,}",
            f"{real['unique']['scaffold']:,}",
        ],
        [
            "scaffolds of training isomers found",
            f"{theirs['train_found']:,}",
            of(matches["train"]["scaffold"], scaffolds["train"]),
            "",
        ],
        [
            "scaffolds of test isomers found, not in training",
            all_sizes,
            of(matches["test"]["scaffold"], scaffolds["test"]),
            "",
        ],
        ["*valid molecules, bond orders considered:*", "", "", ""],
        [
            "valid (neutral, closed-shell, one fragment)",
            "not stated",
            f"{ours['valid']:,}",
            f"{real['valid']:,}",
        ],
        [
            "different molecules (SMILES)",
            "not stated",
            f"{ours['unique']['smiles']:,}",
            f"{real['unique']['smiles']:,}",
        ],
        [
            "training isomers found",
            "not stated",
            of(matches["train"]["smiles"], sizes["train"]["own"]["smiles"]),
            "",
        ],
        [
            "unseen test isomers found",
            "not stated",
            of(matches["test"]["smiles"], sizes["test"]["own"]["smiles"]),
            "",
        ],
    ]
    training = record["training"]
    seconds = record["generation"]["seconds"]
    speed = (
        f" Generated at commit {record['generation']['commit']} in {seconds:,.0f} s"
        f"{record['note'] and ' (' + record['note'] + ')'}."
    )
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
