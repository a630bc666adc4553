"""Settings that go together, as flat YAML files; ``--config`` takes a file of the same form."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from schnetgen_pyg.registry import Registry

PRESETS: Registry[Path] = Registry(
    "preset", {path.stem: path for path in sorted(Path(__file__).parent.glob("*.yaml"))}
)

#: The one to take.
DEFAULT_PRESET = "focus"


def preset(name: str, names: Collection[str] | None = None) -> dict[str, Any]:
    """Settings of a preset, those of the architecture and those of the training.

    Args:
        name: of the preset.
        names: of the settings that are wanted; by default all.

    Raises:
        InputError: if there is no such preset.
    """
    settings: dict[str, Any] = yaml.safe_load(PRESETS[name].read_text())
    return {k: value for k, value in settings.items() if names is None or k in names}
