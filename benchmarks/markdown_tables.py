"""What all tables share."""

from __future__ import annotations

from typing import Any


def markdown(header: list[str], rows: list[list[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def source(name: str, record: dict[str, Any]) -> str:
    versions = record["versions"]
    machine = record["processor"] if record["device"] == "cpu" else record["device"]
    return (
        f"`benchmarks/results/{name}.json`: commit {record['commit']}, {machine}, "
        f"torch {versions['torch']}, seed {record['seed']}."
    )


def commits_of(rows: dict[str, dict[str, Any]], own: str) -> str:
    """For the caption of a table: which rows are of another commit than the table's own."""
    others: dict[str, list[str]] = {}
    for name, row in rows.items():
        if row.get("commit", own) != own:
            others.setdefault(row["commit"], []).append(name)
    return "".join(f" Measured at {key}: {', '.join(names)}." for key, names in others.items())
