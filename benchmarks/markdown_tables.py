"""What the tables of the README share."""

from __future__ import annotations

from typing import Any


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def source(name: str, record: dict[str, Any]) -> str:
    versions = record["versions"]
    return (
        f"`benchmarks/results/{name}.json`: commit {record['commit']}, {record['processor']}, "
        f"torch {versions['torch']}, seed {record['seed']}."
    )
