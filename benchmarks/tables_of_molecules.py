"""Tables of generated molecules: how good they are, and what each part brings."""

from __future__ import annotations

import json
from typing import Any

from common import RESULTS
from markdown_tables import commits_of, markdown, source

#: Of C7H10O2 in QM9, of which we have the training isomers and most of the others.
ISOMERS = 6095


def read(name: str) -> dict[str, Any]:
    """A record of a table that others are made of, too."""
    record: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return record


def summary() -> str:
    """The few figures that a reader wants first, each from the record of its own table."""
    ours = read("quality")["rows"]["T = 1"]["summary"]
    papers = read("paper")["evaluation"]
    relaxed = read("relaxation")
    cpu, gpu = read("generation")["rows"], read("generation_gpu")["rows"]
    (step,) = read("training_step")["parts"]
    bonds = relaxed["random"]["valid"]

    def spread(key: str, form: str) -> str:
        mean, deviation = ours[key]
        return f"{mean:{form}} ± {deviation:{form}}"

    rows = [
        [
            "valid",
            spread("valid", ".2%"),
            f"{papers['valid'] / papers['n']:.1%}, the paper's model",
        ],
        [
            f"unseen isomers found, of {ours['test_size'][0]:,.0f}",
            spread("test_found", ",.0f"),
            f"{papers['matches']['test']['smiles']}, the paper's model",
        ],
        [
            "RMSD of heavy atoms when relaxed with GFN2-xTB (Å)",
            f"{bonds['rmsd_heavy']:.3f}",
            f"{relaxed['peer']['rmsd_heavy']:.3f}, G-SchNet's {_whose(relaxed['peer'])}",
        ],
        _rates("molecules per second, one process on a CPU", cpu, "one process"),
        _rates("molecules per second, one GPU", gpu, "one GPU"),
        _step(step["rows"]),
    ]
    return markdown(["10,000 structures of C7H10O2", "`c7h10o2`", "beside it"], rows)


#: Ending of the rows whose memory stays in the process: equal terms for us and the peer.
KEPT = ", memory kept"
PEER = "schnetpack-gschnet"


def _rates(title: str, rows: dict[str, Any], name: str) -> list[str]:
    """Ours beside the peer's, both with the memory kept where that was measured."""
    ours = rows.get(name + KEPT) or rows[name]
    theirs = [key for key in rows if key.startswith(PEER)]
    best = max(theirs, key=lambda key: float(rows[key]["molecules_per_second"]))
    figures = [_rounded(row["molecules_per_second"]) for row in (ours, rows[best])]
    return [title, figures[0], f"{figures[1]}, {best}"]


def _rounded(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _step(rows: dict[str, Any]) -> list[str]:
    """The peer's training step as a multiple of ours: of the molecules, and of an edge."""
    row = rows[PEER + KEPT]
    edges = row.get("times_ours_by_edges")
    each = f" ({edges:.1f} per directed edge)" if edges else ""
    return ["training step, times ours", "1", f"{row['times_ours']:.0f}{each}, {PEER}{KEPT}"]


def paper(record: dict[str, Any]) -> str:
    ours, theirs = record["evaluation"], record["paper"]
    sizes = ours["references"]
    real = sizes["test"]
    share = f"{theirs['test_found'] / theirs['test_size']:.1%}"
    all_sizes = f"{theirs['test_found']:,} of {theirs['test_size']:,} ({share})"
    scaffolds = {name: figures["own"]["scaffold"] for name, figures in sizes.items()}
    matches = ours["matches"]
    found = matches["test"]["scaffold"]

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
            f"{theirs['test_found']:,}",
            of(found, scaffolds["test"]),
            "",
        ],
        [
            "the same by the number of test isomers, as the paper counts",
            all_sizes,
            of(found, real["n"]),
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
    speed = f" Generated at commit {record['generation']['commit']}"
    speed += f" in {seconds:,.0f} s" if seconds else ""
    speed += f"{record['note'] and ' (' + record['note'] + ')'}."
    note = (
        f"{training['step']:,} training steps of {training['training']['batch_size']} molecules, "
        f"validation loss {training['metrics']['validation_loss']:.3f} nats per distance, "
        f"T = {record['temperature']}.{speed} {source('paper', record)}"
    )
    return markdown(["", "paper", "`c7h10o2-paper`", "the real test isomers"], rows) + "\n\n" + note


def paper_steps(record: dict[str, Any]) -> str:
    """The paper's experiment over the length of the training, by the paper's own counts."""
    theirs = record["paper"]
    rows = []
    for steps, row in record["rows"].items():
        found, real = row["evaluation"], row["evaluation"]["references"]["test"]
        rows.append(
            [
                f"{int(steps):,}",
                f"{int(steps) * record['batch_size'] / row['num_training']:,.0f}",
                f"{row['validation_loss']:.3f}",
                f"{found['valid'] / found['n']:.1%}",
                f"{found['unique']['scaffold']:,}",
                f"{found['matches']['train']['scaffold']:,}",
                f"{found['matches']['test']['scaffold'] / real['n']:.1%}",
            ]
        )
    test = f"{theirs['test_found'] / theirs['test_size']:.1%}"
    paper = [f"{theirs['unique']:,}", f"{theirs['train_found']:,}", test]
    rows.append(["*paper*", "not stated", "not stated", "not stated", *paper])
    header = ["training steps", "epochs", "validation loss", "valid", "different scaffolds"]
    header += ["scaffolds of training isomers found", "of test isomers found, by their number"]
    note = (
        f"{record['structures']:,} structures after each length of one training run, "
        f"T = {record['temperature']}. {source('paper_steps', record)}"
        f"{commits_of(record['rows'], record['commit'])}"
    )
    return markdown(header, rows) + "\n\n" + note


def quality(record: dict[str, Any]) -> str:
    rows = []
    for name, row in record["rows"].items():

        def cell(key: str, form: str, row: dict[str, Any] = row) -> str:
            mean, deviation = row["summary"][key]
            spread = f" ± {deviation:{form}}" if len(row["runs"]) > 1 else ""
            return f"{mean:{form}}{spread}"

        rows.append(
            [name, cell("valid", ".2%"), *_others(row.get("judges")), cell("unique", ".1%")]
            + [cell(key, ",.0f") for key in ("train_found", "test_found", "new")]
        )
    test_size = next(iter(record["rows"].values()))["runs"][0]["test_size"]
    valid, *paper = _paper_quality()
    rows.append(["*the paper's model, `c7h10o2-paper`, T = 0.01*", valid, *_others(None), *paper])
    if real := record.get("real"):
        share = f"{real['valid']:.1f}%"
        rows.append(["*real isomers of the test set*", share, *_others(real), "", "", "", ""])
    ideal = _ideal(record["structures"], test_size)
    rows.append(
        ["*computed: each isomer in QM9 equally often*", ideal[0], *_others(None), *ideal[1:]]
    )
    header = ["", "valid", *JUDGED.values(), "different among valid"]
    header += ["training isomers found (of 2,000)"]
    header += [f"unseen test isomers found (of {test_size:,})", "different molecules in neither"]
    training = record["training"]
    first = next(iter(record["rows"].values()))
    usual = first.get("generation", first)["commit"]
    judged = first.get("judges", {}).get("structures")
    runs = "" if "recipe" in training else " in the last of several runs"
    others = f"Other judges: the first {judged:,} structures of a row. " if judged else ""
    note = (
        f"{record['structures']:,} structures for each seed, mean ± standard deviation over "
        f"{len(record['seeds'])} seeds or one. {others}{_ceiling(record)}"
        f"{training['step']:,} training steps{runs}. "
        f"Generated at commit {usual}. {source('quality', record)}"
        f"{commits_of(record['rows'], usual)}"
    )
    return markdown(header, rows) + "\n\n" + note


def _ceiling(record: dict[str, Any]) -> str:
    """What is the most that perception would find, and by which RDKit."""
    real = record.get("real", {})
    told = ""
    if "own_smiles" in real:
        told = f"{real['own_smiles']:.1f}% of the real isomers get their own SMILES back. "
    return told + (f"RDKit {real['versions']['rdkit']}. " if "versions" in real else "")


#: Judges that are not the sampler, and the titles of their columns.
JUDGED = {"edm": "EDM stable", "openbabel": "Open Babel valid", "posebusters": "PoseBusters passed"}


def _others(judged: dict[str, Any] | None) -> list[str]:
    """Percentages by the other judges; nothing where they were not asked."""
    return [f"{judged[name]:.1f}%" if judged else "" for name in JUDGED]


def _ideal(num: int, test_size: int) -> list[str]:
    """What draws from all isomers with equal probability would find on average."""
    found = 1 - (1 - 1 / ISOMERS) ** num
    counts = (2000, test_size, ISOMERS - 2000 - test_size)
    return ["100%", f"{ISOMERS * found / num:.1%}", *(f"{n * found:,.0f}" for n in counts)]


def _paper_quality() -> list[str]:
    """The row of the paper's model, from its own record."""
    figures = read("paper")["evaluation"]
    valid = figures["valid"]
    found = [figures["matches"][name]["smiles"] for name in ("train", "test")]
    return [
        f"{valid / figures['n']:.2%}",
        f"{figures['unique']['smiles'] / valid:.1%}",
        *(f"{number:,}" for number in (*found, figures["new"]["smiles"])),
    ]


def relaxation(record: dict[str, Any]) -> str:
    """The paper's Table 1, and the relaxation of structures chosen at random."""

    def cells(figures: dict[str, Any] | None) -> list[str]:
        if not figures or not figures["structures"]:
            return ["0", ""]
        return [str(figures["structures"]), f"{figures['rmsd']:.2f} / {figures['rmsd_heavy']:.2f}"]

    paper = record["paper"]
    methods = {method: part["classes"] for method, part in record["lowest"].items()}
    rows = [
        [kind, *cells(theirs), *(cell for ours in methods.values() for cell in cells(ours[kind]))]
        for kind, theirs in paper.items()
    ]
    titles = ["paper, pbe/def2-svp", *(f"ours, {method}" for method in methods)]
    lowest = markdown(["", *(c for t in titles for c in (t, "RMSD all / heavy (Å)"))], rows)
    ours, theirs = record["random"]["valid"], record["peer"]
    names = {"rmsd": "RMSD all atoms (Å)", "rmsd_heavy": "RMSD heavy atoms (Å)"}
    names |= {"released": "energy released, mean (kcal/mol)"}
    names |= {"released_median": "energy released, median (kcal/mol)"}
    beside = {name: part["valid"] for name, part in record["beside"].items()}
    columns = [ours, theirs, *beside.values()]
    random = [[name, *(f"{part[key]:.3f}" for part in columns)] for key, name in names.items()]
    kept = [f"{part['kept']:.1%}" if "kept" in part else "not stated" for part in columns]
    random.append(["constitution kept", *kept])
    peer = f"G-SchNet, {theirs['file']}" if "file" in theirs else "G-SchNet (QM9), quoted"
    titles = ["gfn2-xtb, valid structures", "ours", peer, *beside]
    second = markdown(titles, random)
    note = (
        f"{_lowest(record)} of {record['structures']:,} "
        f"generated structures{_dearer(record)}; {ours['structures']} valid ones of "
        f"{record['random']['structures']} chosen at random. {_peer_source(theirs)} "
        f"{source('relaxation', record)}"
    )
    return f"{lowest}\n\n{second}\n\n{note}"


def _whose(peer: dict[str, Any]) -> str:
    return f"structures, {peer['file']}" if "file" in peer else "published QM9 samples, quoted"


def _lowest(record: dict[str, Any]) -> str:
    """Which structures the first table is of; of an older record, how many constitutions they
    are."""
    first = next(iter(record["lowest"].values()))["relaxation"]["records"]
    number = record.get("different") or len({one["smiles_before"] for one in first})
    which = f"The {len(first)} of lowest energy ({record['rank']})"
    if number == len(first):
        return f"{which} and different constitutions"
    return f"{which}, which are {number} constitutions,"


def _dearer(record: dict[str, Any]) -> str:
    """Which of them the dearer methods have relaxed, too."""
    _, *others = record["lowest"].items()
    counts = {method: len(part["relaxation"]["records"]) for method, part in others}
    return "".join(f", the first {count} also with {method}" for method, count in counts.items())


def _peer_source(peer: dict[str, Any]) -> str:
    if "file" in peer:
        return f"The peer's structures (SHA-256 {peer['sha256'][:12]}…) by the same settings."
    said = peer.get("quoted", "the notes that this project began with, which do not state settings")
    return f"The peer's figures are quoted: {said}."


def ablation(record: dict[str, Any]) -> str:
    seconds = record["step_seconds"]
    rows = [
        [
            name,
            f"{row['parameters'] / 1e3:,.0f}",
            f"{seconds[name] / seconds['base']:.2f}",
            *(f"{row[k]['valid']:.0%}" for k in ("with rules", "every scaffold kept")),
            f"{row['without rules']['valid']:.0%}",
            f"{row['with rules']['unique']:.0%}",
            "" if row["strain_kcal"] is None else f"{row['strain_kcal']:.0f}",
        ]
        for name, row in record["rows"].items()
    ]
    header = [
        "",
        "parameters (thousands)",
        "time of a training step",
        "valid",
        "valid, every scaffold kept",
        "valid, no rules",
        "different among valid",
        "strain (kcal/mol)",
    ]
    note = (
        f"Preset `small`, {record['steps']:,} steps, one change at a time, "
        f"{record['structures']} structures each: shares have a standard error of up to "
        f"{0.5 / record['structures'] ** 0.5:.0%}. Strain is the median energy that "
        f"{record['rows']['base']['relaxed']} valid molecules lose in a relaxation with GFN2-xTB: "
        "of so few only large differences count. "
        f"{record['note'] and record['note'] + '. '}"
        f"{source('ablation', record)}"
    )
    return markdown(header, rows) + "\n\n" + note


def time_to_valid(record: dict[str, Any]) -> str:
    shares = ("valid", "valid_first_scaffolds", "valid_without_rules")
    rows = [
        [f"{row['steps']:,}", f"{row['training_seconds']:,.0f}", *(f"{row[k]:.0%}" for k in shares)]
        for row in record["rows"]
    ]
    header = ["steps", "training (s)", "valid", "valid, every scaffold kept", "valid, no rules"]
    on_gpu = record["device"] != "cpu"
    place = "a GPU" if on_gpu else f"the CPU with {record['threads']} threads"
    note = (
        f"Preset `{record['preset']}` from nothing on {place}, "
        f"{record['structures']:,} structures. {record['note'] and record['note'] + '. '}"
        f"{source('time_to_valid' + '_gpu' * on_gpu, record)}"
    )
    return markdown(header, rows) + "\n\n" + note
