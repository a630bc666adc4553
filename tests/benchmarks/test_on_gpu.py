"""The script for a GPU, tried on the CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "on_gpu.py"
TABLES = ("tests", "generation", "training_step", "time_to_valid", "bfloat16")


def call(out: Path, *options: str) -> tuple[int, str, dict[str, str]]:
    command = [sys.executable, str(SCRIPT), "--out", str(out), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    record = out / "parts.json"
    parts = json.loads(record.read_text())["parts"] if record.is_file() else {}
    return done.returncode, done.stdout + done.stderr, {k: v["outcome"] for k, v in parts.items()}


def test_without_time_or_without_a_device(tmp_path):
    status, _, outcome = call(tmp_path, "--device", "cpu", "--tiny", "--budget", "0")
    assert status == 1
    assert all("out of time" in text for text in outcome.values())
    status, text, _ = call(tmp_path, "--device", "mps")
    assert status == 1
    assert "no CUDA device" in text


@pytest.mark.slow
def test_all_parts_and_none_twice(tmp_path):
    status, text, outcome = call(tmp_path, "--device", "cpu", "--tiny")
    assert status == 0, text
    assert outcome == {f"{name}_gpu": "done" for name in TABLES}
    written = {path.name: path.read_bytes() for path in tmp_path.glob("*_gpu.json")}
    assert set(written) == {f"{name}_gpu.json" for name in TABLES}
    # The tables can be made of what it writes.
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        from write_tables import TABLES as MAKERS
    finally:
        sys.path.pop(0)
    for name, content in written.items():
        assert "| --- |" in MAKERS[name.removesuffix(".json")](json.loads(content))
    status, _, outcome = call(tmp_path, "--device", "cpu", "--tiny", "--budget", "0")
    assert status == 0
    assert set(outcome.values()) == {"done before"}
    assert written == {path.name: path.read_bytes() for path in tmp_path.glob("*_gpu.json")}
