"""Tables of properties that networks predict."""

from __future__ import annotations

import statistics
from typing import Any

from markdown_tables import commits_of, markdown, source

#: Whose molecules are judged, by the way of the row.
JUDGED = ("checkpoint", "generator", "joint", "continued")


def _spread(values: list[float], scale: float = 1.0, form: str = ".3g") -> str:
    """Mean and, of several seeds, standard deviation."""
    if not values:
        return ""
    text = f"{scale * statistics.mean(values):{form}}"
    return text + (f" ± {scale * statistics.stdev(values):.2g}" if len(values) > 1 else "")


def joint(record: dict[str, Any]) -> str:
    """Errors over the number of labels, by the way of learning; and the quality of the molecules
    that the generators make."""
    by_way: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for title, row in record["rows"].items():
        way, _, rest = title.partition(", ")
        by_way.setdefault((way, int(rest.partition(",")[0] or 0)), []).append(row)
    keys = {n: f"{n}_mae" + (f" ({u})" if u else "") for n, u in record["units"].items()}
    errors, judged = [], []
    for (way, size), rows in sorted(by_way.items(), key=lambda item: item[0][1]):
        label = f"{size:,}" if size else ""
        tested = [row["test"] for row in rows if "test" in row]
        if tested:
            missed = {n: [one[key] for one in tested] for n, key in keys.items()}
            scratch = [row["test"] for row in by_way.get(("scratch", size), [])]
            ratio = ""
            if scratch:
                against = {n: statistics.mean(one[k] for one in scratch) for n, k in keys.items()}
                parts = [statistics.mean(v) / against[n] for n, v in missed.items() if against[n]]
                ratio = f"{statistics.mean(parts):.2f}"
            errors.append([label, way, *(_spread(values) for values in missed.values()), ratio])
        quality = [row["quality"] for row in rows if "quality" in row]
        if way in JUDGED and quality:
            shares = [
                _spread([one[k] for one in quality], 100) for k in ("valid", "unique", "novel")
            ]
            judged.append([label, way, *shares])
    head = ["labels", "", *(f"{n} ({u})" for n, u in record["units"].items())]
    seeds = len({title.rsplit(", ", 1)[1] for title in record["rows"] if ", " in title})
    note = (
        f"Mean absolute errors on {record['tested']:,} molecules that no network has seen, the "
        f"same network in every row; over scratch: mean ratio of the errors. Below it what share "
        f"of {record['num']:,} generated molecules is valid, different and new (%), of the "
        f"checkpoint `{record['checkpoint']}`, of a generator without targets and of those that "
        f"learn both. {seeds} seed{'s' * (seeds != 1)}. "
        f"{record['note'] and record['note'] + '. '}{source('joint', record)}"
        f"{commits_of(record['rows'], record['commit'])}"
    )
    second = ["labels", "", "valid (%)", "different (%)", "new (%)"]
    return "\n\n".join([markdown([*head, "over scratch"], errors), markdown(second, judged), note])


#: By the name of its record, what makes the table.
TABLES = {"joint": joint}
