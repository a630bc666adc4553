"""All tables of a model that makes molecules of any composition, by one command.

    OMP_NUM_THREADS=1 python benchmarks/measure_model.py --checkpoint qm9 \\
        --train train.extxyz.gz --test test.extxyz.gz --peer PEER_ENV/bin/python

Calls `quality_any.py`, `strain.py`, `distributions_any.py` and `throughput.py` one after the other,
each of which says in its help what else it can be told. What was stopped continues, but for
`throughput.py`, which measures anew.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from common import NEW_RESULTS


def commands(options: argparse.Namespace) -> list[list[str]]:
    """What is called, and with which options."""
    common = ["--checkpoint", options.checkpoint, "--results", str(options.results)]
    common += ["--name", options.name] if options.name else []
    common += ["--note", options.note] if options.note else []
    several = common + (["--jobs", str(options.jobs)] if options.jobs else [])
    amount = ["--num", str(options.num)]
    peer = ["--peer", options.peer] if options.peer else []
    test = ["--test", options.test]
    return [
        ["quality_any.py", *several, *amount, *test, "--judged", str(options.judged)],
        ["strain.py", *several, *test, "--relaxed", str(options.relaxed)],
        ["distributions_any.py", *several, *amount, *test, "--train", options.train],
        ["throughput.py", *common, *peer],
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--checkpoint", default="qm9")
    parser.add_argument("--name", help="of the model in the tables; by default the checkpoint's")
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True, help="held-out molecules")
    parser.add_argument("--num", type=int, default=10_000, help="structures of a seed")
    parser.add_argument("--judged", type=int, default=2_000, help="structures for slow judges")
    parser.add_argument("--relaxed", type=int, default=300)
    parser.add_argument("--jobs", type=int, help="processes; by default one per core")
    parser.add_argument("--peer", help="Python of an environment with schnetpack-gschnet")
    parser.add_argument("--results", type=Path, default=NEW_RESULTS, help="folder for the JSON")
    parser.add_argument("--note", default="", help="what else the machine did meanwhile")
    options = parser.parse_args()
    failed = []
    for script, *arguments in commands(options):
        print(f"--- {script}", flush=True)
        if subprocess.run([sys.executable, Path(__file__).parent / script, *arguments]).returncode:
            failed.append(script)  # the others do not need it
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
