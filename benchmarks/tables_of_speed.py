"""Tables of speed: training steps and generation, on CPUs and GPUs."""

from __future__ import annotations

from typing import Any

from markdown_tables import commits_of, markdown, source


def number(row: dict[str, Any], key: str, form: str, scale: float = 1.0) -> str:
    """A figure of a row; nothing where it was not measured."""
    return f"{scale * row[key]:{form}}" if key in row else ""


def step_rows(part: dict[str, Any]) -> list[list[str]]:
    """Of training steps on the same molecules: times, amounts, and multiples of ours."""
    return [
        [
            name,
            number(row, "prepare_seconds", ",.0f", 1e3),
            number(row, "step_seconds", ",.0f", 1e3),
            number(row, "edges", ",.0f", 1e-3),
            number(row, "times_ours", ".1f"),
            number(row, "times_ours_by_edges", ".1f"),
            number(row, "times_ours_by_nodes", ".1f"),
        ]
        for name, row in part["rows"].items()
    ]


STEP_HEADER = [
    "",
    "preparation (ms)",
    "forward, backward, Adam (ms)",
    "directed edges (thousands)",
    "times ours",
    "times ours, a directed edge",
    "times ours, a node",
]


def training_step(record: dict[str, Any]) -> str:
    (part,) = record["parts"]
    turns = len(next(iter(part["rows"].values()))["turns"])
    note = (
        f"{part['molecules']} molecules C7H10O2, all partial molecules, 9 blocks, 128 features, "
        f"{part['threads']} CPU threads, medians of {turns} turns. *Memory kept*: the C library "
        "gives nothing back to the kernel; each is compared with ours under the same setting. "
        f"{source('training_step', record)}{commits_of(part['rows'], record['commit'])}"
    )
    return markdown(STEP_HEADER, step_rows(part)) + "\n\n" + note


def training_step_profile(record: dict[str, Any]) -> str:
    shares, speeds = record["shares"], record["gflops"]
    rows = [[part, f"{share:.0%}"] for part, share in shares.items()]
    rows.append(["all else (copies, sums, Adam, …)", f"{1 - sum(shares.values()):.0%}"])
    note = (
        f"{record['molecules']} molecules, one thread. The matrix products run at "
        f"{speeds['of a step']:.0f} GFLOP/s, one of 1,024 x 1,024 numbers at "
        f"{speeds['of a large one']:.0f}. {source('training_step_profile', record)}"
    )
    return markdown(["where the time of our step goes", ""], rows) + "\n\n" + note


def training_step_gpu(record: dict[str, Any]) -> str:
    """The same for several numbers of molecules."""
    rows = [[part["molecules"], *row] for part in record["parts"] for row in step_rows(part)]
    note = (
        "On a GPU; the peer prepares on the CPU, by default in several processes beside the "
        f"training. {source('training_step_gpu', record)}"
    )
    return markdown(["molecules", *STEP_HEADER], rows) + "\n\n" + note


def made_rows(record: dict[str, Any], form: str) -> list[list[str]]:
    """Rates of generation: molecules, and atoms, which all rows have to place alike."""
    return [
        [
            name if name.startswith("schnetpack") else f"`c7h10o2`, {name}",
            number(row, "molecules_per_second", form),
            number({"ms": 1e3 / (19 * row["molecules_per_second"])}, "ms", ".3g"),
        ]
        for name, row in record["rows"].items()
    ]


def generation(record: dict[str, Any]) -> str:
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
        "The peer has one process and random weights, and its stop steps are left out; what counts "
        "is the time per atom. *Memory kept*: the C library gives nothing back to the kernel. "
        "Medians over turns. Below: 4 molecules of growing size, 10 random partial molecules of "
        f"each, cutoff 5 Å. {record['molecules']:,} molecules, an eighth of them where filters are "
        f"not kept. {source('generation', record)}{commits_of(record['rows'], record['commit'])}"
    )
    titles = ["on the CPU", "molecules of 19 atoms per second", "placing an atom (ms)"]
    table = markdown(titles, made_rows(record, ",.2f"))
    return f"{table}\n\n{note}\n\n{markdown(header, sizes)}"


def generation_gpu(record: dict[str, Any]) -> str:
    note = (
        f"{record['molecules']:,} molecules, from the call to the list of ASE's `Atoms`; where "
        f"nothing else is said 8,192 at once. {source('generation_gpu', record)}"
    )
    titles = ["on a GPU", "molecules of 19 atoms per second", "placing an atom (ms)"]
    return markdown(titles, made_rows(record, ",.0f")) + "\n\n" + note


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


def accelerated(record: dict[str, Any]) -> str:
    tricks = list(next(iter(record["works"].values()))["without"])
    rows = [
        [name, f"{row['seconds']:.3f}", *(f"{row['without'][trick]:.2f}" for trick in tricks)]
        for name, row in record["works"].items()
    ]
    note = (
        "Times as long without the trick: above 1 it pays. One thread, medians of the ratios of "
        f"{record['rounds']} turns. {source('accelerated', record)}"
    )
    header = ["", "seconds", *(f"without {trick}" for trick in tricks)]
    return markdown(header, rows) + "\n\n" + note


def compare(record: dict[str, Any]) -> str:
    rows = [
        [name, f"{row['seconds']:.4f}", f"{row['base_seconds']:.4f}", f"{row['ratio']:.2f}"]
        for name, row in record["tasks"].items()
    ]
    note = (
        f"Base: commit {record['base']}. One thread, both in turn, medians of {record['rounds']} "
        f"turns. {source('compare', record)}"
    )
    return markdown(["", "seconds", "of the base", "ratio"], rows) + "\n\n" + note


def bfloat16(record: dict[str, Any]) -> str:
    rows = [
        [
            f"`--precision {precision}`",
            f"{row['seconds']:,.0f}",
            f"{row['validation_loss']:.2f}",
            f"{row['valid']:.0%}",
        ]
        for precision, row in record["rows"].items()
    ]
    header = ["", "training (s)", "validation loss (nats)", "valid"]
    note = (
        f"Preset `{record['preset']}`, {record['steps']:,} steps of {record['batch_size']} "
        f"molecules, {record['structures']:,} structures. {source('bfloat16_gpu', record)}"
    )
    return markdown(header, rows) + "\n\n" + note


def gpu_tests(record: dict[str, Any]) -> str:
    rows = [
        [name, *(str(row[key]) for key in ("passed", "failed", "skipped"))]
        for name, row in record["rows"].items()
    ]
    note = f"Tests with the marker `gpu`. {source('tests_gpu', record)}"
    return markdown(["tests on a GPU", "passed", "failed", "skipped"], rows) + "\n\n" + note
