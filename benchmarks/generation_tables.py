"""The README's tables of generation, from their JSON records."""

from __future__ import annotations

from typing import Any

from markdown_tables import markdown, source


def generation(record: dict[str, Any]) -> str:
    rows = [[f"`c7h10o2`, {name}", f"{rate:,.1f}"] for name, rate in record["medians"].items()]
    if record["peer"]:
        rows.append(
            ["schnetpack-gschnet, one process", f"{record['peer']['molecules_per_second']:,.2f}"]
        )
    sizes = [
        [
            size,
            f"{row['neighbors_per_atom']:.0f}",
            f"{1000 * row['training_seconds']:,.0f}",
            f"{row['training_mib']:,.0f}",
            f"{1000 * row['seconds_per_placed_atom']:.1f}",
        ]
        for size, row in record["sizes"].items()
    ]
    header = [
        "atoms",
        "neighbours of each",
        "training step (ms)",
        "its memory (MiB)",
        "placing an atom (ms)",
    ]
    note = (
        "The peer has random weights and its stop steps are left out; what counts is the time per "
        "atom. Below: 4 molecules of growing size, 10 random partial molecules of each, cutoff "
        f"5 Å. {record['molecules']:,} molecules, an eighth of them where filters are not kept. "
        f"{source('generation', record)}"
    )
    return (
        markdown(["molecules of 19 atoms per second on the CPU", ""], rows)
        + "\n\n"
        + note
        + "\n\n"
        + markdown(header, sizes)
    )


def generation_gpu(record: dict[str, Any]) -> str:
    rows = [[f"`c7h10o2`, {name}", f"{rate:,.0f}"] for name, rate in record["medians"].items()]
    if theirs := record["peer"]:
        name = f"schnetpack-gschnet, {theirs['batch']:,} at once"
        rows.append([name, f"{theirs['molecules_per_second']:,.0f}"])
    note = (
        f"{record['molecules']:,} molecules, from the call to the list of ASE's `Atoms`; where "
        f"nothing else is said 8,192 at once. {source('generation_gpu', record)}"
    )
    return markdown(["molecules of 19 atoms per second on a GPU", ""], rows) + "\n\n" + note


def generation_profile(record: dict[str, Any]) -> str:
    rows = [[name, f"{share:.0%}"] for name, share in record["shares"].items()]
    note = (
        f"Shares of the processor's time, one process, {record['molecules']} molecules. "
        f"{source('generation_profile', record)}"
    )
    return markdown(["where the time of generation goes", ""], rows) + "\n\n" + note


def generation_batches(record: dict[str, Any]) -> str:
    rows = [
        [
            number,
            f"{1000 * row['training_seconds']:,.0f}",
            f"{row['training_mib']:,.0f}",
            f"{1000 * row['seconds_per_placed_atom']:.1f}",
        ]
        for number, row in record["rows"].items()
    ]
    header = ["molecules", "training step (ms)", "its memory (MiB)", "placing an atom (ms)"]
    note = (
        f"The same over the number of molecules of {record['atoms']} atoms, 10 partial molecules "
        f"of each. {source('generation_batches', record)}"
    )
    return markdown(header, rows) + "\n\n" + note
