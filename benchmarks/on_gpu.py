"""Everything that needs a GPU, in one call: tests, speed, time to valid molecules, bfloat16.

    python benchmarks/on_gpu.py --out runs/on_gpu

Needs this checkout, its dependencies and one GPU, no network, and takes less than eight minutes.
Each part runs in a process of its own and writes the JSON of its table to ``--out`` when it is
done; a part whose JSON is there is not run again, so that the same call continues what was stopped
or what the budget did not allow. What cannot be done says what it lacks. ``parts.json`` lists what
became of every part, ``log.txt`` what they printed; the exit status is 0 where all are done and no
test failed.

Where there is no git, name what is measured: ``BENCHMARK_COMMIT=abc1234``. ``--peer`` names the
Python of an environment with schnetpack-gschnet (see `peers/gschnet_step.py`).
``--device cpu --tiny`` tries the script itself in a minute.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DATA = ROOT / "schnetgen_pyg" / "data" / "embedded" / "c7h10o2-xtb.extxyz.gz"
KERNELS = "tests/accelerated"
#: A part that has less time than this left is not begun (s).
LEAST = 10
#: Exit status of a part that lacks a module.
LACKS = 3


def tests(options: argparse.Namespace) -> None:
    """Tests with the marker `gpu`: Triton's kernels against the CPU, and all others."""
    import pytest  # noqa: F401  (that it is missing is to be said as of any other module)
    from common import save

    chosen = [KERNELS] if options.tiny else ["tests"]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run([*command, f"--junitxml={report}", *chosen], cwd=ROOT)
        if done.returncode not in (0, 1, 5):  # 1: some failed; 5: there were none
            sys.exit(f"pytest ended with {done.returncode}")
        cases = list(ElementTree.parse(report).iter("testcase"))
    rows = {name: {"passed": 0, "failed": 0, "skipped": 0} for name in ("kernels", "all others")}
    failures = []
    for case in cases:
        module = case.get("classname") or case.get("name", "")
        kind = "kernels" if module.startswith(KERNELS.replace("/", ".")) else "all others"
        found = {child.tag for child in case}
        bad = bool(found & {"failure", "error"})
        rows[kind]["failed" if bad else "skipped" if "skipped" in found else "passed"] += 1
        if bad:
            failures.append(f"{case.get('classname')}::{case.get('name')}")
    save("tests_gpu", {"rows": rows, "failures": failures}, 0, options.out)


def generation(options: argparse.Namespace) -> None:
    """Molecules per second."""
    import generation
    from common import save

    num, rounds, at_once = (4, 1, 4) if options.tiny else (32_768, 3, 512)
    record = generation.on_gpu(num, rounds, options.device, options.peer, at_once)
    save("generation_gpu", record, 0, options.out)


def training_step(options: argparse.Namespace) -> None:
    """Time of a training step, in bfloat16 and against the peer, too."""
    import training_step
    from common import save

    sizes = [2] if options.tiny else [20, 200]
    wanted = argparse.Namespace(
        device=options.device,
        rounds=1 if options.tiny else 3,
        repeats=1 if options.tiny else 3,
        threads=1 if options.tiny else os.cpu_count() or 1,
        peer=options.peer,
        data=DATA,
    )
    parts = [training_step.measure(size, wanted) for size in sizes]
    save("training_step_gpu", {"parts": parts}, 0, options.out)


def time_to_valid(options: argparse.Namespace) -> None:
    """From nothing until four of five molecules are valid."""
    import time_to_valid

    wanted = argparse.Namespace(
        train=str(DATA),
        preset="small",
        steps=2 if options.tiny else 250,
        enough=0.0 if options.tiny else 0.8,
        num=2 if options.tiny else 500,
        jobs=1 if options.tiny else None,
        seed=0,
        accelerator="cpu" if options.device == "cpu" else "gpu",
        note="",
        results=options.out,
    )
    time_to_valid.measure(wanted)


def bfloat16(options: argparse.Namespace) -> None:
    """The same training in single and in mixed precision."""
    import yaml
    from ablation import elements_of, network, settings
    from common import save

    from schnetgen_pyg import evaluate, fit, generate, load
    from schnetgen_pyg.generator.presets import PRESETS
    from schnetgen_pyg.training.generator import TrainingConfig

    data = load(DATA)
    steps, batch_size, num = (2, 2, 2) if options.tiny else (500, 100, 500)
    values = yaml.safe_load(PRESETS["small"].read_text())
    values |= {"steps": steps, "batch_size": batch_size, "validation_interval": steps}
    values |= {"accelerator": "cpu" if options.device == "cpu" else "gpu", "num_validation": 40}
    rows: dict[str, dict[str, float]] = {}
    for precision in ("32-true", "bf16-mixed"):
        model = network(values, elements_of(data), 0)
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            model = fit(
                model, data, folder, settings(TrainingConfig, values | {"precision": precision})
            )
            seconds = time.perf_counter() - start
        loss = model.provenance["metrics"]["validation_loss"]
        molecules = generate(model.to(options.device), "C7H10O2", num, seed=0)
        valid = evaluate(molecules, judges=()).figures()["valid"] / num
        rows[precision] = {"seconds": seconds, "validation_loss": loss, "valid": valid}
        print(precision, rows[precision], flush=True)
    record = {"preset": "small", "steps": steps, "batch_size": batch_size, "structures": num}
    save("bfloat16_gpu", record | {"rows": rows}, 0, options.out)


#: By the name of its JSON, the most important first.
PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "tests_gpu": tests,
    "generation_gpu": generation,
    "training_step_gpu": training_step,
    "time_to_valid_gpu": time_to_valid,
    "bfloat16_gpu": bfloat16,
}


def lacking() -> list[str]:
    """Dependencies of the package that are not installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[^\w-]", text)[0] for text in project["dependencies"]]
    return [name for name in names if importlib.util.find_spec(name.replace("-", "_")) is None]


def no_device(device: str) -> str:
    """Why the device cannot be used, or nothing."""
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed"
    import torch

    if device == "cpu" or (device.startswith("cuda") and torch.cuda.is_available()):
        return ""
    return f"torch {torch.__version__} finds no CUDA device (--device cpu --tiny tries the script)"


def run_part(name: str, options: argparse.Namespace, seconds: float) -> str:
    """Run one part in a process of its own; return what became of it."""
    command = [sys.executable, __file__, "--part", name]
    command += ["--device", options.device, *(["--tiny"] * options.tiny)]
    command += ["--peer", options.peer] if options.peer else []
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path}
    log = options.out / "log.txt"
    begin = log.stat().st_size if log.is_file() else 0
    with tempfile.TemporaryDirectory() as folder, log.open("a") as output:
        process = subprocess.Popen(
            [*command, "--out", folder],
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its own children, too
            process.wait()
            return "not done: out of time; call again to go on"
        if status == 0:
            (made,) = Path(folder).glob("*.json")
            shutil.copy(made, options.out / f"{name}.json")
            return "done"
    printed = log.read_bytes()[begin:].decode(errors="replace").splitlines()
    print("\n".join(printed[-30:]))
    if status == LACKS:
        return f"not done: {printed[-1]}"
    return f"failed with exit status {status}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the JSON")
    parser.add_argument("--budget", type=float, default=480.0, help="seconds for all parts")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="only try the script")
    parser.add_argument("--peer", help="Python of an environment with schnetpack-gschnet")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.out = options.out.resolve()
    if options.part:
        try:
            PARTS[options.part](options)
        except ModuleNotFoundError as error:
            print(f"the module {error.name} is not installed", flush=True)
            sys.exit(LACKS)
        return
    if reason := no_device(options.device):
        sys.exit(f"on_gpu.py: {reason}")
    missing = lacking()
    if missing:
        print(
            f"not installed: {', '.join(missing)}; parts that need them will say so. Without a "
            "network: pip download them elsewhere, then pip install --no-index --find-links FOLDER"
        )
    if not options.peer:
        print("no --peer: the rows of schnetpack-gschnet stay out")
    sys.exit(go(options, missing))


def go(options: argparse.Namespace, missing: list[str]) -> int:
    """All parts that are not done, as far as the budget goes; return the exit status."""
    start = time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    outcome: dict[str, Any] = {}
    parts = options.out / "parts.json"
    asked = {"device": options.device, "tiny": options.tiny, "peer": bool(options.peer)}
    before = json.loads(parts.read_text()).get("asked") if parts.is_file() else asked
    if before != asked:  # a trial on a CPU is no measurement on a GPU
        raise SystemExit(f"on_gpu.py: {options.out} holds parts of {before}; choose another --out")
    for name in options.only:
        began, left = time.monotonic(), options.budget - (time.monotonic() - start)
        if (options.out / f"{name}.json").is_file():
            outcome[name] = {"outcome": "done before"}
        elif left < LEAST:
            outcome[name] = {"outcome": "not begun: out of time; call again to go on"}
        else:
            print(f"== {name}: {PARTS[name].__doc__}", flush=True)
            outcome[name] = {"outcome": run_part(name, options, left)}
            outcome[name]["seconds"] = round(time.monotonic() - began, 1)
        record = {"asked": asked, "lacking": missing, "parts": outcome}
        parts.write_text(json.dumps(record, indent=2) + "\n")
    print("\n".join(f"{name:20} {row['outcome']}" for name, row in outcome.items()))
    failures: list[str] = []
    if (options.out / "tests_gpu.json").is_file():
        failures = json.loads((options.out / "tests_gpu.json").read_text())["failures"]
        print("\n".join(f"failed: {name}" for name in failures), end="\n" if failures else "")
    return int(bool(failures) or any(not r["outcome"].startswith("done") for r in outcome.values()))


if __name__ == "__main__":
    main()
