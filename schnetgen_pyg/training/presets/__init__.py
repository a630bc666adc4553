"""Settings that go together, as flat YAML files; ``--config`` takes a file of the same form."""

from pathlib import Path

PRESETS = {path.stem: path for path in sorted(Path(__file__).parent.glob("*.yaml"))}
