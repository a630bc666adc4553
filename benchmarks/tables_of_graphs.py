"""Tables of encoders of 2-D graphs."""

from __future__ import annotations

from typing import Any

from markdown_tables import markdown, source

#: How sets are called, and their figures.
TITLES = {
    "esol": "ESOL (RMSE, log mol/L)",
    "freesolv": "FreeSolv (RMSE, kcal/mol)",
    "lipo": "Lipophilicity (RMSE, log D)",
    "bace": "BACE (ROC AUC, %)",
    "bbbp": "BBBP (ROC AUC, %)",
}


def _cell(name: str, row: dict[str, Any], first: bool) -> str:
    scale, digits = (100, 1) if "AUC" in TITLES[name] else (1, 2)
    told = f"{scale * row['mean']:.{digits}f} ± {scale * row['std']:.{digits}f}"
    return told if first else f"{told} ({row['gain']:+.1f})"


def downstream(record: dict[str, Any]) -> str:
    shares = [one for row in record["rows"].values() for one in row.values()]
    measured = {name for one in shares for name in one["sets"]}
    names, rows = [name for name in TITLES if name in measured], []
    for share in ("1", "0.1"):
        for title, each in record["rows"].items():
            if share in each:
                cells = [_cell(n, each[share]["sets"][n], title == "scratch") for n in names]
                labels = "all" if share == "1" else f"{100 * float(share):g} %"
                rows.append([title, labels, *cells, f"{each[share]['mean_rank']:.1f}"])
    training, count = record["training"], len(record["seeds"])
    header = ["", "labels", *(TITLES[name] for name in names), "mean rank"]
    note = (
        f"Test parts of scaffold splits (80:10:10), mean ± standard deviation of {count} seeds; in "
        "brackets how many standard errors of the difference a row is better than from scratch. "
        f"Ours: {training['epochs']} epochs of batches of {training['batch_size']}, Adam with "
        f"learning rate {training['learning_rate']:g} and a cosine, average of the weights with "
        f"decay {training['ema_decay']:g}, the weights of the best validation; the same for all "
        "rows and sets. Chemprop: its command line, its defaults. "
        + (f"{record['note']}. " if record["note"] else "")
        + source("downstream", record)
    )
    return f"{markdown(header, rows)}\n\n{note}"


TABLES = {"downstream": downstream}
